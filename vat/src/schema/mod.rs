//! Interface descriptions: the model, the printed `.capnp` text, the universal describe message.

mod describe;
pub mod id;
mod model;
mod registry;
#[cfg(test)]
mod tests;
pub mod text;

pub use describe::{Describe, DescribeParams, describe};
pub use model::{Description, Enum, Enumerant, Field, Interface, Method, Struct, Type, Value};
pub use registry::{FieldShape, InterfaceShape, Registry};
