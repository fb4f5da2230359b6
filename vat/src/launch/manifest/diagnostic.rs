//! What is wrong with a manifest, where, why, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Code;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing starts before this is corrected.
    Error,
    /// Legal, but probably not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A place in the manifest's text, as editors count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The position of the byte `offset` of `text`; beyond the end, that of the end.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let mut position = Self { line: 1, column: 1 };
        for (at, c) in text.char_indices() {
            if at >= offset {
                break;
            }
            if c == '\n' {
                position.line += 1;
                position.column = 1;
            } else {
                position.column += 1;
            }
        }
        position
    }
}

/// A marked stretch of the manifest and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// First byte and the byte after the last one, in the manifest's text.
    pub span: Range<usize>,
    /// Where the stretch begins.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
    /// What is to be said; may be empty.
    pub text: String,
}

/// One finding about a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Stable code, explained by `vat help <code>`.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; the first label is the principal one. Empty when the whole file is meant.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding without a place.
    pub(super) fn new(code: Code, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// Marks `span` and says `text` about it.
    pub(super) fn label(&mut self, span: &Range<usize>, text: impl Into<String>) -> &mut Self {
        self.labels.push(Label {
            span: span.clone(),
            from: Position::default(),
            to: Position::default(),
            text: text.into(),
        });
        self
    }

    /// Says what to do about it.
    pub(super) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Where the principal label begins.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.labels.first().map(|label| label.from)
    }

    fn locate(&mut self, text: &str) {
        for label in &mut self.labels {
            label.from = Position::of(text, label.span.start);
            label.to = Position::of(text, label.span.end);
        }
    }
}

/// Collects findings while a manifest is read and checked.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
}

impl Findings {
    /// Adds an error.
    pub(super) fn error(&mut self, code: Code, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::new(code, Severity::Error, message))
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, code: Code, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Diagnostic::new(code, Severity::Warning, message))
    }

    /// Whether anything found so far forbids to start.
    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        let at = self.list.len();
        self.list.push(diagnostic);
        #[expect(
            clippy::indexing_slicing,
            reason = "the element was pushed in the line above"
        )]
        &mut self.list[at]
    }
}

/// Everything found in one manifest, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    path: PathBuf,
    text: String,
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    pub(super) fn new(path: PathBuf, text: String, findings: Findings) -> Self {
        let mut diagnostics = findings.list;
        for diagnostic in &mut diagnostics {
            diagnostic.locate(&text);
        }
        diagnostics.sort_by_key(|d| d.labels.first().map_or(0, |label| label.span.start));
        Self {
            path,
            text: redact(text),
            diagnostics,
        }
    }

    /// The manifest's path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The manifest's text, which the spans of the labels refer to. Empty when it could not be
    /// read. Should somebody have written a reference into it, its bytes are asterisks here, as
    /// the text is shown with the findings.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The findings, in the order of the text.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The findings that forbid to start.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
    }

    /// The findings that do not forbid to start.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Warning)
    }

    /// Whether anything forbids to start.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }
}

impl fmt::Display for Report {
    /// One line: how many errors and warnings, and the first error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.path.display(),
            count(self.errors().count(), "error")
        )?;
        let warnings = self.warnings().count();
        if warnings > 0 {
            write!(f, ", {}", count(warnings, "warning"))?;
        }
        if let Some(first) = self.errors().next() {
            match first.position() {
                Some(Position { line, column }) => {
                    write!(f, "; {line}:{column}: {} {}", first.code, first.message)?;
                }
                None => write!(f, "; {} {}", first.code, first.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Overwrites what follows `vat://`, up to a quote or white space, and keeps every offset.
fn redact(text: String) -> String {
    const SCHEME: &str = "vat://";
    if !text.contains(SCHEME) {
        return text;
    }
    let mut redacted = String::with_capacity(text.len());
    for (number, part) in text.split(SCHEME).enumerate() {
        if number == 0 {
            redacted.push_str(part);
            continue;
        }
        let ends = |c: char| c.is_whitespace() || c == '"' || c == '\'';
        let secret = part.find(ends).unwrap_or(part.len());
        redacted.push_str(SCHEME);
        redacted.extend(std::iter::repeat_n('*', secret));
        redacted.push_str(part.get(secret..).unwrap_or_default());
    }
    redacted
}

fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_overwritten_in_place() {
        let text = "a = \"vat://abc@h:1/secret\" # vat://x é\nb = 'vat://é'";
        let redacted = redact(text.to_owned());
        assert_eq!(redacted.len(), text.len());
        assert_eq!(
            redacted,
            "a = \"vat://**************\" # vat://* é\nb = 'vat://**'"
        );
    }

    #[test]
    fn positions_count_characters_not_bytes() {
        let text = "a = 1\nü = \"é\" # x";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        let hash = text.find('#').unwrap_or_default();
        assert_eq!(Position::of(text, hash), Position { line: 2, column: 9 });
        assert_eq!(
            Position::of(text, 1000),
            Position {
                line: 2,
                column: 12
            }
        );
    }
}
