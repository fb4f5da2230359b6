//! The log as a capability.

use std::collections::BTreeMap;

use crate::prelude::*;

/// A place to log to. What is logged carries the holder's supervision path, set by the launcher.
///
/// # Authority
///
/// To add to the log in this child's name, within a budget of 100 records per second by default.
/// What is beyond it is counted, and the count is logged. The log cannot be read through it.
#[vat::interface]
pub trait LogSink {
    /// Logs a record. Its answer means that it was taken, not that it is on disk.
    ///
    /// Messages are cut at 8 KiB, fields at 1 KiB each and at 32 of them. Log no secrets.
    fn log(
        &self,
        turn: &Turn,
        level: LogLevel,
        message: String,
        fields: BTreeMap<String, String>,
    ) -> Result<()>;

    /// The same log, whose records carry a tag. Tags of tagged ones are joined by slashes.
    fn tagged(&self, turn: &Turn, tag: String) -> Result<LogSinkRef>;
}

impl LogSinkRef {
    /// Logs a message of level debug, without fields.
    pub fn debug(&self, message: impl Into<String>) -> Promise<()> {
        self.log(LogLevel::Debug, message, BTreeMap::new())
    }

    /// Logs a message of level info, without fields.
    pub fn info(&self, message: impl Into<String>) -> Promise<()> {
        self.log(LogLevel::Info, message, BTreeMap::new())
    }

    /// Logs a message of level warn, without fields.
    pub fn warn(&self, message: impl Into<String>) -> Promise<()> {
        self.log(LogLevel::Warn, message, BTreeMap::new())
    }

    /// Logs a message of level error, without fields.
    pub fn error(&self, message: impl Into<String>) -> Promise<()> {
        self.log(LogLevel::Error, message, BTreeMap::new())
    }
}

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, vat::Data)]
pub enum LogLevel {
    /// Every step, for whoever looks for a mistake.
    Trace,
    /// What helps to understand an oddity.
    Debug,
    /// What happened.
    Info,
    /// What should not happen and was coped with.
    Warn,
    /// What went wrong.
    Error,
}

/// A record of the log, as an operator reads it.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
pub struct LogRecord {
    /// When the launcher received it: microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The supervision path of the child.
    pub from: String,
    /// The tag of the reference it was logged through; empty if it had none.
    pub tag: String,
    /// `stdout` or `stderr` if it is a line of the child's output; else empty.
    pub stream: String,
    /// The text. It may contain any character: mind a terminal.
    pub message: String,
    /// Named values beside it.
    pub fields: BTreeMap<String, String>,
}
