//! Log records for people and for scripts, and the log of an ensemble in this process.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use vat::launch::broker::log::{LogReader, Timestamp};
use vat::power::{LogLevel, LogRecord};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A record as one line.
#[derive(Debug)]
pub(crate) struct Line<'a>(pub(crate) &'a LogRecord);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        let (time, level) = (Timestamp::from_micros(record.time_us), word(record.level));
        write!(f, "{time} {level:<5} {}", printable(&record.from))?;
        if !record.tag.is_empty() {
            write!(f, "/{}", printable(&record.tag))?;
        }
        match record.stream.as_str() {
            "" => f.write_str(": ")?,
            stream => write!(f, " {stream}| ")?,
        }
        f.write_str(&printable(&record.message))?;
        for (name, value) in &record.fields {
            write!(f, " {}={}", printable(name), printable(value))?;
        }
        Ok(())
    }
}

/// A record's fields in the envelope of kind `log`.
pub(crate) fn json(record: &LogRecord) -> Json {
    json!({
        "time": Timestamp::from_micros(record.time_us).to_string(),
        "level": word(record.level),
        "from": record.from,
        "tag": record.tag,
        "stream": record.stream,
        "message": record.message,
        "fields": record.fields,
    })
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// Whether the launcher said it, in the child's name.
pub(crate) fn is_launchers(record: &LogRecord) -> bool {
    record.fields.get("by").is_some_and(|by| by == "launcher")
}

/// Texts come from programs: what could move the cursor of a terminal is not shown.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    text.chars().map(shown).collect()
}

/// What is written to a log from now on.
#[derive(Debug, Default)]
pub(crate) struct Follower(Option<LogReader>);

impl Follower {
    pub(crate) fn new(dir: &Path) -> Self {
        // A log that cannot be read is not shown; nothing else depends on it.
        Self(
            LogReader::last(dir, 0, |_| true)
                .ok()
                .map(|(_, reader)| reader),
        )
    }

    /// What was written since the last call.
    pub(crate) fn take(&mut self) -> Vec<LogRecord> {
        let records = self.0.as_mut().and_then(|reader| reader.read().ok());
        records
            .unwrap_or_default()
            .into_iter()
            .map(LogRecord::from)
            .collect()
    }

    /// Gives every new record to `show`, for ever.
    pub(crate) async fn each(&mut self, mut show: impl FnMut(&LogRecord)) {
        loop {
            self.take().iter().for_each(&mut show);
            tokio::time::sleep(LOOK).await;
        }
    }
}
