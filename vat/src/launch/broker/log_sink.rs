//! The object behind `LogSink` references.

use std::collections::BTreeMap;

use super::log::{Level, LogSource, Record};
use crate::power::{LogLevel, LogRecord, LogSink, LogSinkRef};
use crate::prelude::*;

/// A reference to the log, for a program's slot.
///
/// # Authority
///
/// Its holder adds to the log in the name of this source.
pub fn log_sink(turn: &Turn, source: LogSource) -> LogSinkRef {
    LogSinkRef::new(turn, GrantedLog { source })
}

#[derive(vat::Object)]
#[object(external)]
struct GrantedLog {
    source: LogSource,
}

impl LogSink for GrantedLog {
    fn log(
        &self,
        _turn: &Turn,
        level: LogLevel,
        message: String,
        fields: BTreeMap<String, String>,
    ) -> Result<()> {
        let fields = fields
            .iter()
            // By this field the launcher marks its own remarks.
            .filter(|(name, _)| name.as_str() != "by")
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.source.log(level.into(), &message, fields);
        Ok(())
    }

    fn tagged(&self, turn: &Turn, tag: String) -> Result<LogSinkRef> {
        Ok(log_sink(turn, self.source.tagged(&tag)))
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<Record> for LogRecord {
    fn from(record: Record) -> Self {
        Self {
            time_us: record.time.micros(),
            level: record.level.into(),
            from: record.from,
            tag: record.tag.unwrap_or_default(),
            stream: record.stream.unwrap_or_default(),
            message: record.message,
            fields: record.fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::log::{Log, LogLimits, LogReader};
    use super::super::tests::{Far, block_on};
    use super::*;

    #[test]
    fn what_another_vat_logs_carries_its_path() {
        block_on(async {
            let dir = TempDir::new().unwrap();
            let log = Log::open(dir.path(), LogLimits::default()).unwrap();
            let source = log.source("shop/ledger");
            let far = Far::new(move |turn| log_sink(turn, source).into());
            let granted = LogSinkRef::from(far.granted());
            granted.info("open").await.unwrap();
            let fields = BTreeMap::from([("n".to_owned(), "1".to_owned())]);
            granted
                .tagged("db")
                .log(LogLevel::Error, "broken", fields.clone())
                .await
                .unwrap();
            log.flush().await;
            let records = LogReader::oldest(dir.path()).read().unwrap();
            let records: Vec<LogRecord> = records.into_iter().map(LogRecord::from).collect();
            assert_eq!(records.len(), 2);
            assert!(records.iter().all(|record| record.from == "shop/ledger"));
            assert_eq!(
                (records[0].level, records[0].message.as_str()),
                (LogLevel::Info, "open")
            );
            assert_eq!(
                (records[1].level, records[1].tag.as_str()),
                (LogLevel::Error, "db")
            );
            assert_eq!(records[1].fields, fields);
        });
    }
}
