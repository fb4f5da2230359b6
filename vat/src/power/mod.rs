//! The system capabilities as interfaces.

mod program;

pub use program::{Exposed, Grant, Program, ProgramRef, Stream, StreamRef};
