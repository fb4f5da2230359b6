//! An object-capability runtime: vats, promises, powers and a confined launcher.

extern crate self as vat;

mod core;
pub mod data;
pub mod dynamic;
mod error;
#[cfg(feature = "launch")]
pub mod launch;
pub mod net;
pub mod power;
pub mod schema;
pub mod sturdy;
pub mod supervisor;
mod sys;
