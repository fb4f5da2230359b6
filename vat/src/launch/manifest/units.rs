//! Durations as a person writes them: `200ms`, `15s`, `2m`.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The longest duration a manifest may name: 365 days. Longer ones are mistakes, and a clock
/// could not add them to now.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DurationError {
    /// There is no number at the beginning, or it has more than three decimals.
    #[error("it does not begin with a number of at most three decimals")]
    NotANumber,
    /// There is a number, but no unit after it.
    #[error("it has no unit")]
    NoUnit,
    /// The unit is none of ms, s, m, h, d.
    #[error("its unit is none of ms, s, m, h, d")]
    UnknownUnit,
    /// It is longer than 365 days.
    #[error("it is longer than 365 days")]
    TooLong,
    /// It is not a whole number of milliseconds.
    #[error("it is not a whole number of milliseconds")]
    TooFine,
}

/// Reads `200ms`, `1.5s`, `2m`, `12h` or `30d`.
///
/// # Errors
///
/// A missing number, a missing or unknown unit, a value over 365 days or finer than one
/// millisecond.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let thousandths = parse_thousandths(number).ok_or(DurationError::NotANumber)?;
    let unit = unit.trim_start_matches(' ');
    if unit.is_empty() {
        return Err(DurationError::NoUnit);
    }
    let Some((_, length)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(DurationError::UnknownUnit);
    };
    let scaled = thousandths
        .checked_mul(*length)
        .ok_or(DurationError::TooLong)?;
    if scaled % 1000 != 0 {
        return Err(DurationError::TooFine);
    }
    let duration = Duration::from_millis(scaled / 1000);
    if duration > LONGEST {
        Err(DurationError::TooLong)
    } else {
        Ok(duration)
    }
}

/// The number times 1000, if it has at most three decimals.
fn parse_thousandths(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction)
}

/// Prints a duration in the largest unit that needs no decimals: the reverse of
/// [`parse_duration`] for whole milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct HumanDuration(pub Duration);

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let unit = UNITS
            .iter()
            .rev()
            .find(|(_, length)| millis > 0 && millis.is_multiple_of(u128::from(*length)));
        match unit {
            Some((name, length)) => write!(f, "{}{name}", millis / u128::from(*length)),
            None => f.write_str(if millis == 0 { "0s" } else { "0ms" }),
        }
    }
}

impl serde::Serialize for HumanDuration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Writes a duration into JSON as a person would: `"200ms"`.
pub(super) fn serialize_duration<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&HumanDuration(*duration), serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("200ms", 200),
            ("15s", 15_000),
            ("1.5s", 1500),
            ("0.25s", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("30d", 30 * 86_400_000),
            ("10 s", 10_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_durations_say_why() {
        for (text, error) in [
            ("", DurationError::NotANumber),
            ("fast", DurationError::NotANumber),
            ("-1s", DurationError::NotANumber),
            (".5s", DurationError::NotANumber),
            ("1.s", DurationError::NotANumber),
            ("1.2345s", DurationError::NotANumber),
            ("1.2.3s", DurationError::NotANumber),
            ("15", DurationError::NoUnit),
            ("15 seconds", DurationError::UnknownUnit),
            ("0.5ms", DurationError::TooFine),
            ("366d", DurationError::TooLong),
            ("99999999999999999999s", DurationError::NotANumber),
            ("99999999999999d", DurationError::TooLong),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn printing_is_the_reverse_of_reading() -> Result<(), DurationError> {
        for text in ["0s", "200ms", "15s", "2m", "1h", "30d", "1500ms"] {
            assert_eq!(HumanDuration(parse_duration(text)?).to_string(), text);
        }
        Ok(())
    }
}
