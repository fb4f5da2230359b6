//! The log behind the `LogSink` power: what programs, their output and the launcher say.
//!
//! [`Log::open`] starts one thread that writes records as JSON lines to numbered files in one
//! directory and removes the oldest beyond a limit. A [`LogSource`] belongs to one child: it stamps
//! its path on every record, so that no program speaks in another's name, and it has a budget of
//! records per second. What is beyond the budget, or what the disk does not take, is counted and
//! the count is logged; nothing here ever blocks its caller. [`LogReader`] reads and follows the
//! files, also while they are written and also after a crash.
//!
//! A line is one object. Keys are only ever added:
//!
//! ```json
//! {"time":"2026-11-22T03:45:48.123456Z","level":"info","from":"shop/ledger","message":"open",
//!  "fields":{"entries":"12"}}
//! ```
//!
//! Texts that look like sturdy-ref URIs are masked before they are written.

mod files;
mod lines;
mod mask;
mod rate;
mod reader;
mod record;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub use lines::Lines;
pub use reader::LogReader;
pub use record::{Level, NotATime, Record, Timestamp};
pub use source::{Capture, LogSource, Stream};
pub use writer::{Log, LogLimits};
