//! One record of the log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mask::masked;

/// How much a record matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every step, for whoever looks for a mistake.
    Trace,
    /// What helps to understand an oddity.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What should not happen and was coped with.
    Warn,
    /// What went wrong.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// One record: who said what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// When the launcher received it.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// The supervision path of the child, set by the launcher.
    pub from: String,
    /// What the holder of the log reference was told to be called, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `stdout` or `stderr` if it is a line of the child's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The text.
    pub message: String,
    /// Named values beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl Record {
    /// A record without fields. Texts are cut to their limits and masked.
    pub(super) fn new(time: Timestamp, level: Level, from: &str, message: &str) -> Self {
        Self {
            time,
            level,
            from: from.to_owned(),
            tag: None,
            stream: None,
            message: text(message, MAX_MESSAGE),
            fields: BTreeMap::new(),
        }
    }

    /// The same record with one more field. Beyond the limit of fields it is left out.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if self.fields.len() < MAX_FIELDS {
            self.fields
                .insert(text(name, MAX_NAME), text(value, MAX_VALUE));
        }
        self
    }

    /// The record as a line of JSON, with its line feed.
    pub(super) fn to_line(&self) -> Vec<u8> {
        // A map of strings and two enums: there is nothing in it that JSON cannot say.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    pub(super) fn from_line(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// One line for a terminal. Control characters of the program are shown, not carried out.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:5} {}", self.time, self.level, self.from)?;
        if let Some(tag) = &self.tag {
            write!(f, "[{}]", Shown(tag))?;
        }
        write!(f, ": {}", Shown(&self.message))?;
        for (name, value) in &self.fields {
            write!(f, " {}={}", Shown(name), Shown(value))?;
        }
        Ok(())
    }
}

/// Text without effects on a terminal.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            match part
                .char_indices()
                .next_back()
                .filter(|(_, last)| last.is_control())
            {
                Some((at, '\t')) => write!(f, "{}\t", part.get(..at).unwrap_or_default())?,
                Some((at, last)) => {
                    write!(
                        f,
                        "{}{}",
                        part.get(..at).unwrap_or_default(),
                        last.escape_default()
                    )?;
                }
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Microseconds since 1970 in UTC, written as `2026-11-22T03:45:48.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The host's wall clock. Before 1970 it is 1970.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// So many microseconds after the beginning of 1970.
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the beginning of 1970.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// The text is not a time as [`Timestamp`] writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time like 2026-11-22T03:45:48.123456Z")]
pub struct NotATime;

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let number = |range| -> Result<u64, NotATime> {
            let digits: &str = text.get(range).ok_or(NotATime)?;
            digits.parse().map_err(|_| NotATime)
        };
        let days = days(number(0..4)?, number(5..7)?, number(8..10)?).ok_or(NotATime)?;
        let of_day = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
        let time = Self((days * 86_400 + of_day) * 1_000_000 + number(20..26)?);
        // Whatever else is wrong with the text shows when it is written again.
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(NotATime)
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Year, month and day of the so-many-th day since 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, and in eras of 400
/// years, which all have the same 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil`]; `None` before 1970 or beyond what a time can hold.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = era * ERA_DAYS + year * 365 + year / 4 - year / 100 + day;
    days.checked_sub(DAYS_TO_1970)
}

const ERA_DAYS: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

/// `text` masked, and cut to so many bytes with a mark.
pub(super) fn text(text: &str, limit: usize) -> String {
    let cut = text.floor_char_boundary(limit);
    let head = text.get(..cut).unwrap_or_default();
    let mark = if cut < text.len() { "…" } else { "" };
    masked(head) + mark
}

/// Bytes of a message.
const MAX_MESSAGE: usize = 8192;
const MAX_FIELDS: usize = 32;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_200_000_001, "2024-03-01T00:00:00.000001Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (1_795_319_148_123_456, "2026-11-22T03:45:48.123456Z"),
        ];
        for (micros, text) in cases {
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(micros)));
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "2026-11-22",
            "2026-13-01T00:00:00.000000Z",
            "2026-11-22T03:45:48Z",
            "2026-02-30T00:00:00.000000Z",
            "2026-11-22T25:45:48.123456Z",
            "ä026-11-22T03:45:48.12345",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn a_record_is_one_line_of_json() {
        let record = Record::new(Timestamp(0), Level::Warn, "shop/ledger", "two\nlines")
            .with("entries", "12");
        let line = String::from_utf8(record.to_line()).unwrap();
        let expected = concat!(
            r#"{"time":"1970-01-01T00:00:00.000000Z","level":"warn","from":"shop/ledger","#,
            r#""message":"two\nlines","fields":{"entries":"12"}}"#,
            "\n"
        );
        assert_eq!(line, expected);
        assert_eq!(Record::from_line(line.as_bytes()), Some(record));
    }

    #[test]
    fn texts_and_fields_are_cut_to_their_limits() {
        let mut record = Record::new(Timestamp(0), Level::Info, "a", &"é".repeat(10_000));
        assert_eq!(record.message.len(), MAX_MESSAGE + "…".len());
        for n in 0..100 {
            record = record.with(&n.to_string(), &"x".repeat(5000));
        }
        assert_eq!(record.fields.len(), MAX_FIELDS);
        assert!(record.to_line().len() < 64 * 1024);
    }

    #[test]
    fn control_characters_have_no_effect_on_a_terminal() {
        let record = Record::new(
            Timestamp(0),
            Level::Info,
            "a",
            "\u{1b}[31mred\r\nx\ty\u{9b}",
        )
        .with("k", "\u{7}");
        let shown = record.to_string();
        assert!(
            shown.ends_with(r"a: \u{1b}[31mred\r\nx	y\u{9b} k=\u{7}"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn any_time_is_read_as_written(micros in 0u64..253_402_300_800_000_000) {
            prop_assert_eq!(Timestamp(micros).to_string().parse(), Ok(Timestamp(micros)));
        }

        #[test]
        fn no_text_makes_the_time_parser_panic(text in ".{0,30}") {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert_eq!(time.to_string(), text);
            }
        }

        #[test]
        fn any_record_is_one_line_and_read_as_written(
            message in any::<String>(),
            name in any::<String>(),
            value in any::<String>(),
        ) {
            let record = Record::new(Timestamp(1), Level::Info, "a", &message).with(&name, &value);
            let line = record.to_line();
            prop_assert_eq!(line.iter().position(|b| *b == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(Record::from_line(&line), Some(record.clone()));
            prop_assert!(!record.to_string().contains(|c: char| c.is_control() && c != '\t'));
        }
    }
}
