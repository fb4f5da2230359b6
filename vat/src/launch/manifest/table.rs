//! Reads TOML tables key by key: keeps spans, reports unknown keys and values of a wrong type.

use std::ops::Range;
use std::time::Duration;

use toml::de::{DeArray, DeTable, DeValue};

use super::Code;
use super::diagnostic::{Diagnostic, Findings};
use super::units::parse_duration;

/// A value and where it stands in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

/// Keys that a later version of the manifest has, with what to say about them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later {
    pub(super) key: &'static str,
    pub(super) what: &'static str,
}

/// The keys that a table may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) keys: &'static [&'static str],
    pub(super) later: &'static [Later],
}

impl Known {
    pub(super) const fn keys(keys: &'static [&'static str]) -> Self {
        Self { keys, later: &[] }
    }
}

/// One table whose unknown keys have been reported.
#[derive(Clone, Debug)]
pub(super) struct Table<'d, 'i> {
    table: &'d DeTable<'i>,
    /// Dotted path from the root, for messages: `run.grants`. Empty for the root.
    pub(super) path: String,
    /// Where the table stands: its key, or the whole inline table.
    pub(super) span: Range<usize>,
}

/// A key of a table and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'d, 'i> {
    pub(super) key: At<&'d str>,
    pub(super) value: &'d DeValue<'i>,
    pub(super) span: Range<usize>,
    /// Dotted path from the root, for messages.
    pub(super) path: String,
}

impl<'d, 'i> Table<'d, 'i> {
    /// Opens a table whose keys are fixed, and reports the ones that are not among them.
    pub(super) fn with_keys(
        table: &'d DeTable<'i>,
        path: &str,
        span: Range<usize>,
        known: Known,
        findings: &mut Findings,
    ) -> Self {
        let opened = Self::with_names(table, path, span);
        for entry in opened.entries() {
            if !known.keys.contains(&entry.key.value) {
                opened.report_unknown(&entry, known, findings);
            }
        }
        opened
    }

    /// Opens a table whose keys are names that the writer of the manifest chose.
    pub(super) fn with_names(table: &'d DeTable<'i>, path: &str, span: Range<usize>) -> Self {
        Self {
            table,
            path: path.to_owned(),
            span,
        }
    }

    fn report_unknown(&self, entry: &Entry<'d, 'i>, known: Known, findings: &mut Findings) {
        let key = entry.key.value;
        if let Some(later) = known.later.iter().find(|later| later.key == key) {
            findings
                .error(
                    Code::NotSupported,
                    format!("{} are not supported by this version", later.what),
                )
                .label(&entry.key.span, "cannot be used yet")
                .help("remove it, or use a version of vat that has it");
            return;
        }
        let place = match self.path.as_str() {
            "" => "at the top level".to_owned(),
            path => format!("in [{path}]"),
        };
        let finding = findings.error(Code::UnknownKey, format!("unknown key `{key}` {place}"));
        finding.label(&entry.key.span, "not known here");
        let keys = known.keys.join(", ");
        match closest(key, known.keys.iter().copied()) {
            Some(meant) => finding.help(format!("did you mean `{meant}`? Known here: {keys}")),
            None => finding.help(format!("known here: {keys}")),
        };
    }

    /// The entry of one key.
    pub(super) fn entry(&self, key: &str) -> Option<Entry<'d, 'i>> {
        self.entries()
            .into_iter()
            .find(|entry| entry.key.value == key)
    }

    /// All entries, in the order of the text.
    pub(super) fn entries(&self) -> Vec<Entry<'d, 'i>> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| Entry {
                key: At::new(key.get_ref().as_ref(), key.span()),
                value: value.get_ref(),
                span: value.span(),
                path: match self.path.as_str() {
                    "" => key.get_ref().to_string(),
                    path => format!("{path}.{}", key.get_ref()),
                },
            })
            .collect();
        entries.sort_by_key(|entry| entry.key.span.start);
        entries
    }

    /// The entry of a key that must be there; reports its absence.
    pub(super) fn required(&self, key: &str, findings: &mut Findings) -> Option<Entry<'d, 'i>> {
        let entry = self.entry(key);
        if entry.is_none() {
            let place = if self.path.is_empty() {
                String::new()
            } else {
                format!(" in [{}]", self.path)
            };
            findings
                .error(Code::MissingKey, format!("`{key}` is missing{place}"))
                .label(&self.span, format!("needs `{key}`"));
        }
        entry
    }
}

impl<'d, 'i> Entry<'d, 'i> {
    /// Where the key and the value stand.
    fn wrong_type<'f>(&self, wanted: &str, findings: &'f mut Findings) -> &'f mut Diagnostic {
        let found = describe(self.value);
        findings
            .error(
                Code::WrongType,
                format!("`{}` must be {wanted}, not {found}", self.path),
            )
            .label(&self.span, format!("this is {found}"))
    }

    /// The value as text.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<At<&'d str>> {
        if let DeValue::String(text) = self.value {
            return Some(At::new(text.as_ref(), self.span.clone()));
        }
        self.wrong_type("text in quotes", findings);
        None
    }

    /// The value as true or false.
    pub(super) fn boolean(&self, findings: &mut Findings) -> Option<bool> {
        if let DeValue::Boolean(value) = self.value {
            return Some(*value);
        }
        self.wrong_type("true or false", findings);
        None
    }

    /// The value as a whole number of at most `most`.
    pub(super) fn number(&self, most: u32, findings: &mut Findings) -> Option<At<u32>> {
        let DeValue::Integer(number) = self.value else {
            self.wrong_type("a whole number", findings);
            return None;
        };
        let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| *value <= most);
        if value.is_none() {
            findings
                .error(
                    Code::OutOfRange,
                    format!("`{}` must be between 0 and {most}", self.path),
                )
                .label(&self.span, "out of range");
        }
        value.map(|value| At::new(value, self.span.clone()))
    }

    /// The value as a number between the two ends, both allowed.
    pub(super) fn real(&self, range: (f64, f64), findings: &mut Findings) -> Option<f64> {
        let value = match self.value {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
            _ => {
                self.wrong_type("a number", findings);
                return None;
            }
        };
        let value = value.filter(|value| (range.0..=range.1).contains(value));
        if value.is_none() {
            let (least, most) = range;
            findings
                .error(
                    Code::OutOfRange,
                    format!("`{}` must be between {least} and {most}", self.path),
                )
                .label(&self.span, "out of range");
        }
        value
    }

    /// The value as a duration: `"200ms"`.
    pub(super) fn duration(&self, findings: &mut Findings) -> Option<At<Duration>> {
        let DeValue::String(text) = self.value else {
            self.wrong_type("a duration in quotes", findings)
                .help("write a number and a unit, as \"200ms\", \"15s\" or \"2m\"");
            return None;
        };
        match parse_duration(text) {
            Ok(duration) => Some(At::new(duration, self.span.clone())),
            Err(error) => {
                findings
                    .error(
                        Code::BadDuration,
                        format!("`{}` is not a duration", self.path),
                    )
                    .label(&self.span, error.to_string())
                    .help("write a number and a unit, as \"200ms\", \"15s\" or \"2m\"");
                None
            }
        }
    }

    /// The value as a list of texts.
    pub(super) fn texts(&self, findings: &mut Findings) -> Option<Vec<At<&'d str>>> {
        let DeValue::Array(list) = self.value else {
            self.wrong_type("a list of texts", findings);
            return None;
        };
        Some(self.texts_of(list, findings))
    }

    fn texts_of(&self, list: &'d DeArray<'i>, findings: &mut Findings) -> Vec<At<&'d str>> {
        let mut texts = Vec::new();
        for item in list {
            let path = format!("{}[]", self.path);
            let entry = Entry {
                key: self.key.clone(),
                value: item.get_ref(),
                span: item.span(),
                path,
            };
            texts.extend(entry.text(findings));
        }
        texts
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(
        &self,
        words: &[(&'static str, T)],
        findings: &mut Findings,
    ) -> Option<At<T>> {
        let text = self.text(findings)?;
        word(&text, &self.path, words, findings).map(|value| At::new(value, text.span))
    }

    /// The value as a table with fixed keys.
    pub(super) fn table(&self, known: Known, findings: &mut Findings) -> Option<Table<'d, 'i>> {
        let table = self.any_table(findings)?;
        Some(Table::with_keys(
            table,
            &self.path,
            self.span_of_table(),
            known,
            findings,
        ))
    }

    /// The value as a table whose keys are chosen names.
    pub(super) fn names(&self, findings: &mut Findings) -> Option<Table<'d, 'i>> {
        let table = self.any_table(findings)?;
        Some(Table::with_names(table, &self.path, self.span_of_table()))
    }

    fn any_table(&self, findings: &mut Findings) -> Option<&'d DeTable<'i>> {
        if let DeValue::Table(table) = self.value {
            return Some(table);
        }
        self.wrong_type("a table", findings);
        None
    }

    /// A header's table has the header as its span; of an inline table, the key says more.
    fn span_of_table(&self) -> Range<usize> {
        if self.span.is_empty() {
            self.key.span.clone()
        } else {
            self.span.clone()
        }
    }
}

/// Finds a word among the allowed ones, or reports it with the nearest.
pub(super) fn word<T: Copy>(
    text: &At<&str>,
    path: &str,
    words: &[(&'static str, T)],
    findings: &mut Findings,
) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(name, _)| *name == text.value) {
        return Some(*value);
    }
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let finding = findings
        .error(
            Code::UnknownWord,
            format!("`{path}` cannot be {:?}", text.value),
        )
        .label(&text.span, "not one of the words allowed here");
    let all = names.join(", ");
    match closest(text.value, names.into_iter()) {
        Some(meant) => finding.help(format!("did you mean \"{meant}\"? Allowed: {all}")),
        None => finding.help(format!("allowed: {all}")),
    };
    None
}

/// The candidate that a misspelt word most probably meant.
pub(super) fn closest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
