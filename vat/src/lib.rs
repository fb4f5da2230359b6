//! An object-capability runtime: vats, promises, powers and a confined launcher.
//!
//! A [`Vat`] is a heap of objects and a queue; it runs one [`Turn`] at a time. Objects of one vat
//! call each other synchronously through [`Near`]; everybody else sends through a reference, a
//! [`Ref`] with the type of its interface, and gets a [`Promise`].
//!
//! ```
//! use vat::prelude::*;
//!
//! #[vat::interface]
//! pub trait Greeter {
//!     /// Greets `name`.
//!     fn greet(&mut self, turn: &Turn, name: &str) -> Result<String>;
//! }
//!
//! #[derive(Clone, vat::Object)]
//! struct Polite {
//!     greeted: u64,
//! }
//!
//! impl Greeter for Polite {
//!     fn greet(&mut self, _: &Turn, name: &str) -> Result<String> {
//!         self.greeted += 1;
//!         Ok(format!("Hello, {name}!"))
//!     }
//! }
//!
//! let vat = vat::Vat::new("greetings");
//! let greeter = vat.turn(|turn| Ok(GreeterRef::new(turn, Polite { greeted: 0 })))?;
//! let promise = greeter.greet("Ann"); // sent, wherever the greeter is
//! vat.run(1_000);
//! assert_eq!(promise.try_take().unwrap()?, "Hello, Ann!");
//! # Ok::<(), vat::Error>(())
//! ```
//!
//! # What a turn does
//!
//! - Sends, resolutions, callbacks and new tasks are kept in a log and happen when the turn commits.
//!   If its outermost method fails or panics, they do not happen: the calls are answered with the
//!   turn's own reason, and every transactional object it touched has its old state again.
//! - The answer of a call leaves after everything its turn sent.
//! - `turn.commit_err(error)` keeps the changes if exactly this error is what the outermost method
//!   gives; wrapped into another error of the program's own it still counts, replaced it does not.
//! - The first stretch of an `async` method runs in the turn of its message; each later one is a
//!   turn of its own. A body given to `spawn_async` begins in a later turn.
//! - What goes through a program's own channels, cells and threads is not rolled back.
//! - Reads through a `Near` may overlap. Calls nest at most 128 deep.
//!
//! # References
//!
//! - A reference knows its vat; sending needs no turn. Using one vat's reference in a turn of another
//!   panics, which that turn's caller sees as an error: it would bypass the network between them.
//! - A promise whose last resolver is dropped breaks; a call that a forwarder drops is answered with
//!   an error.
//! - What is told to other vats of an error is its kind and the text that the program chose. Panic
//!   messages and source positions stay here.
//! - When a vat ends, whatever waits for it breaks as `Disconnected`.

#[cfg(not(panic = "unwind"))]
compile_error!(
    "a vat rolls a turn back when it panics: build with `panic = \"unwind\"` in the profile"
);

extern crate self as vat;

mod core;
pub mod data;
pub mod durable;
pub mod dynamic;
mod error;
#[cfg(feature = "launch")]
pub mod launch;
pub mod net;
pub mod pattern;
pub mod power;
mod program;
pub mod schema;
pub mod sturdy;
pub mod supervisor;
mod sys;

pub use crate::core::{
    AnyCall, Cancelling, Cx, Dynamic, Exposed, Exposure, Grants, Identity, Interface, Near, Object,
    Outcome, Powers, Promise, Ref, Resolver, Slot, Turn, Vat, VatConfig, WeakNear,
};
#[doc(inline)]
pub use crate::data::{Bytes, Data};
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
        Answer, Delivery, Dispatch, Exposed, Exposure, Fields, Grants, Interface, Main, Method,
        Near, NoFields, Object, Outcome, Power, Powers, Promisable, Promise, Ref, Results,
        Returned, Serves, Shared, Slot, Turn, describe, reference,
    };
    pub use crate::data;
    pub use crate::durable::{Kind, Old};
    pub use crate::error::{Error, Result};
    pub use crate::program::program_main;
    pub use crate::schema;
    pub use serde;
}
