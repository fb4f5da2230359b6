//! Interface descriptions: the model, the printed `.capnp` text, the universal describe message.

mod model;

pub use model::{Description, Enum, Enumerant, Field, Interface, Method, Struct, Type, Value};
