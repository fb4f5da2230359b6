//! An object-capability runtime: vats, promises, powers and a confined launcher.

#[cfg(not(panic = "unwind"))]
compile_error!(
    "a vat rolls a turn back when it panics: build with `panic = \"unwind\"` in the profile"
);

extern crate self as vat;

mod core;
pub mod data;
pub mod dynamic;
mod error;
#[cfg(feature = "launch")]
pub mod launch;
pub mod net;
pub mod power;
mod program;
pub mod schema;
pub mod sturdy;
pub mod supervisor;
mod sys;

pub use crate::core::{
    AnyCall, Cx, Dynamic, Exposed, Exposure, Grants, Interface, Near, Object, Outcome, Powers,
    Promise, Ref, Resolver, Slot, Turn, Vat, VatConfig, WeakNear,
};
pub use crate::data::Data;
pub use crate::error::{Error, ErrorKind, Result};
pub use vat_macros::{Data, Exposed, Object, Powers, interface, main};

/// What almost every program uses: `use vat::prelude::*`.
pub mod prelude {
    pub use crate::core::{Cx, Near, Promise, Ref, Resolver, Turn, WeakNear};
    pub use crate::error::{Error, ErrorKind, Result};
}

/// What the macros need. Not stable, not for people.
#[doc(hidden)]
pub mod __private {
    pub use crate::core::{
        Delivery, Dispatch, Exposed, Exposure, Fields, Grants, Interface, Main, Method, Near,
        NoFields, Object, Outcome, Power, Powers, Promisable, Promise, Ref, Results, Returned,
        Serves, Shared, Slot, Turn, describe, reference,
    };
    pub use crate::data;
    pub use crate::error::{Error, Result};
    pub use crate::program::program_main;
    pub use crate::schema;
}
