//! Where records come from.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::rate::Rate;
use super::record::text;
use super::writer::{Shared, note};
use super::{Level, Lines, Record, Timestamp};

/// Records of one child. Clones and [tagged](Self::tagged) sources share its budget.
///
/// # Authority
///
/// To add to the log in this child's name. It cannot read the log.
#[derive(Clone)]
pub struct LogSource {
    budgets: Arc<Budgets>,
    tag: Option<Arc<str>>,
}

/// What one child may log per second: itself, and by its outputs.
pub(super) struct Budgets {
    from: String,
    log: Arc<Shared>,
    rates: Mutex<[Rate; 3]>,
}

/// An output of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; its lines are records of level info.
    Stdout,
    /// Standard error; its lines are records of level warn.
    Stderr,
}

impl LogSource {
    pub(super) fn new(log: Arc<Shared>, from: &str) -> (Self, Weak<Budgets>) {
        let rate = Rate::new(log.per_second(), log.now());
        let rates = Mutex::new([rate.clone(), rate.clone(), rate]);
        let budgets = Arc::new(Budgets {
            from: from.to_owned(),
            log,
            rates,
        });
        let weak = Arc::downgrade(&budgets);
        (Self { budgets, tag: None }, weak)
    }

    /// Logs a record. Never blocks: beyond the budget, or when the disk is slower than what comes,
    /// it is counted instead, and the count is logged later.
    ///
    /// Messages are cut at 8 KiB, fields at 1 KiB each and at 32 of them.
    pub fn log<'a>(
        &self,
        level: Level,
        message: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        self.budgets.admit(OWN, || {
            let mut record = Record::new(Timestamp::now(), level, &self.budgets.from, message);
            record.tag = self.tag.as_deref().map(str::to_owned);
            fields
                .into_iter()
                .fold(record, |record, (name, value)| record.with(name, value))
        });
    }

    /// The same source, whose records carry a tag. A tag of a tagged source is appended with a
    /// slash. It is cut at 64 bytes.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Self {
        let whole = match &self.tag {
            Some(outer) => format!("{outer}/{tag}"),
            None => tag.to_owned(),
        };
        Self {
            budgets: Arc::clone(&self.budgets),
            tag: Some(text(&whole, MAX_TAG).into()),
        }
    }

    /// Takes up one of the child's outputs.
    #[must_use]
    pub fn capture(&self, stream: Stream) -> Capture {
        Capture {
            source: self.clone(),
            stream,
            lines: Lines::default(),
        }
    }

    fn line(&self, stream: Stream, line: &str) {
        let (budget, level, name) = match stream {
            Stream::Stdout => (STDOUT, Level::Info, "stdout"),
            Stream::Stderr => (STDERR, Level::Warn, "stderr"),
        };
        self.budgets.admit(budget, || {
            let mut record = Record::new(Timestamp::now(), level, &self.budgets.from, line);
            record.stream = Some(name.to_owned());
            record
        });
    }
}

impl fmt::Debug for LogSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource")
            .field("from", &self.budgets.from)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// One output of a program on its way to lines of the log. What is left when this is dropped is
/// the last line.
#[derive(Debug)]
pub struct Capture {
    source: LogSource,
    stream: Stream,
    lines: Lines,
}

impl Capture {
    /// Takes in what the program wrote. Never blocks.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self {
            source,
            stream,
            lines,
        } = self;
        lines.feed(bytes, |line| source.line(*stream, line));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let Self {
            source,
            stream,
            lines,
        } = self;
        lines.finish(|line| source.line(*stream, line));
    }
}

impl Budgets {
    /// Sends the record if there is room for one of this kind.
    fn admit(&self, kind: usize, record: impl FnOnce() -> Record) {
        let now = self.log.now();
        let mut rates = self.rates();
        let Some(rate) = rates.get_mut(kind) else {
            return;
        };
        let suppressed = rate.take_suppressed(now);
        let admitted = rate.admit(now);
        drop(rates);
        if let Some(count) = suppressed {
            self.log.send(self.note(kind, count));
        }
        if admitted {
            self.log.send(record());
        }
    }

    /// What was suppressed and can be told by now.
    pub(super) fn suppressed(&self, now: Duration) -> Vec<Record> {
        let mut rates = self.rates();
        let told = rates.iter_mut().enumerate().filter_map(|(kind, rate)| {
            let count = rate.take_suppressed(now)?;
            Some(self.note(kind, count))
        });
        told.collect()
    }

    fn note(&self, kind: usize, count: u64) -> Record {
        let mut record = note(&self.from, "records suppressed", count);
        record.stream = STREAMS.get(kind).copied().flatten().map(str::to_owned);
        record
    }

    fn rates(&self) -> MutexGuard<'_, [Rate; 3]> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was suppressed last is told when the source goes, whatever the budget.
impl Drop for Budgets {
    fn drop(&mut self) {
        for kind in [OWN, STDOUT, STDERR] {
            let count = self.rates().get(kind).map_or(0, Rate::suppressed);
            if count > 0 {
                self.log.send(self.note(kind, count));
            }
        }
    }
}

const OWN: usize = 0;
const STDOUT: usize = 1;
const STDERR: usize = 2;
const STREAMS: [Option<&str>; 3] = [None, Some("stdout"), Some("stderr")];
const MAX_TAG: usize = 64;
