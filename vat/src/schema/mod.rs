//! Interface descriptions: the model, the printed `.capnp` text, the universal describe message.

#[cfg(test)]
mod compiler;
mod describe;
pub mod id;
mod model;
mod registry;
mod system;
#[cfg(test)]
mod tests;
pub mod text;
#[cfg(test)]
mod vectors;

pub use describe::{Describe, DescribeParams, describe};
pub(crate) use model::lineage;
pub use model::{Description, Enum, Enumerant, Field, Interface, Method, Struct, Type, Value};
pub use registry::{FieldShape, InterfaceShape, Registry};
pub use system::system_files;
