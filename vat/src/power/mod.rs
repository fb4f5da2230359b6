//! The system capabilities as interfaces.

mod program;
mod supervisor;

pub use program::{Exposed, Grant, Program, ProgramRef, Stream, StreamRef};
pub use supervisor::{
    ChildState, ChildStatus, EnsembleStatus, Follow, FollowRef, LogReader, LogReaderRef, LogRecord,
    Supervisor, SupervisorRef,
};
