//! Shows the findings about a manifest with the stretch of text that they mean.

use std::fmt;
use std::io::Stderr;

use anstream::{AutoStream, ColorChoice};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, NarratableReportHandler,
    SourceCode,
};
use vat::launch::manifest::{Diagnostic, Report, Severity};

use crate::environment::Environment;

/// Widest line of a finding, in columns.
const MAX_WIDTH: usize = 120;
/// Width when nobody says how wide the terminal is.
const DEFAULT_WIDTH: usize = 100;

/// How findings are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// In sentences, for terminals that only print lines.
    narrated: bool,
    pub(crate) colours: bool,
    unicode: bool,
    /// Columns of the terminal.
    pub(crate) width: usize,
}

impl Look {
    pub(crate) fn new(environment: &Environment, stderr: &AutoStream<Stderr>) -> Self {
        let size = rustix::termios::tcgetwinsize(stderr.as_inner()).ok();
        let columns = size
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 20);
        Self {
            narrated: environment.dumb_terminal,
            colours: stderr.current_choice() != ColorChoice::Never,
            unicode: environment.unicode,
            width: columns.unwrap_or(DEFAULT_WIDTH).min(MAX_WIDTH),
        }
    }

    fn theme(self) -> GraphicalTheme {
        match (self.unicode, self.colours) {
            (true, true) => GraphicalTheme::unicode(),
            (true, false) => GraphicalTheme::unicode_nocolor(),
            (false, true) => GraphicalTheme {
                styles: GraphicalTheme::unicode().styles,
                ..GraphicalTheme::ascii()
            },
            (false, false) => GraphicalTheme::none(),
        }
    }
}

/// Draws all findings of a report, each followed by an empty line.
pub(crate) fn render(report: &Report, look: Look) -> String {
    let name = report.path().display().to_string();
    let source = NamedSource::new(name, report.text().to_owned());
    let mut text = String::new();
    for diagnostic in report.diagnostics() {
        let shown = Shown {
            diagnostic,
            source: &source,
        };
        let drawn = if look.narrated {
            NarratableReportHandler::new().render_report(&mut text, &shown)
        } else {
            GraphicalReportHandler::new_themed(look.theme())
                .with_width(look.width)
                .with_links(false)
                .render_report(&mut text, &shown)
        };
        // Drawing into a String fails only for spans outside of the text: say it in one line.
        if drawn.is_err() {
            text.push_str(&shown.to_string());
        }
        text.push('\n');
    }
    text
}

/// A finding in the form that the drawing library wants.
#[derive(Debug)]
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic.help.as_deref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.diagnostic.labels.is_empty() {
            return None;
        }
        let labels = self
            .diagnostic
            .labels
            .iter()
            .enumerate()
            .map(|(number, label)| {
                let text = Some(label.text.clone()).filter(|text| !text.is_empty());
                if number == 0 {
                    LabeledSpan::new_primary_with_span(text, label.span.clone())
                } else {
                    LabeledSpan::new_with_span(text, label.span.clone())
                }
            });
        Some(Box::new(labels))
    }
}
