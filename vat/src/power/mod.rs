//! The system capabilities as interfaces.
//!
//! A program gets them from whoever launched it, as the fields of its `Powers`; there is no other
//! way to the host. They are ordinary interfaces: a test or another vat may implement them too.
#![expect(
    clippy::missing_errors_doc,
    reason = "every call can fail with its connection; what else can go wrong is in the text"
)]

mod clock;
mod directory;
mod log;
mod network;
mod program;
mod supervisor;

pub use clock::{Clock, ClockRef};
pub use directory::{Directory, DirectoryRef, File, FileRef};
pub use log::{LogLevel, LogRecord, LogSink, LogSinkRef};
pub use network::{Network, NetworkRef};
pub use program::{
    Exposed, Grant, Program, ProgramRef, Siblings, SiblingsRef, StoreFile, StoreFileRef, Stream,
    StreamRef,
};
pub use supervisor::{
    ChildState, ChildStatus, EnsembleStatus, Follow, FollowRef, LogReader, LogReaderRef,
    Supervisor, SupervisorRef,
};
