//! What is printed: answers on stdout, everything else on stderr, as text or as JSON.

use std::fmt::Display;
use std::io::{self, ErrorKind, Stderr, Stdout, Write};
use std::process::ExitCode;

use anstream::AutoStream;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use vat::launch::manifest::{Diagnostic, Report};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::findings::{self, Look};

/// Version of the JSON envelope. Fields may be added to it; none is removed or changes meaning.
const ENVELOPE: &str = "v1";

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// The streams of the command and the form of its answers.
#[derive(Debug)]
pub(crate) struct Ui {
    json: bool,
    look: Look,
    stdout: AutoStream<Stdout>,
    stderr: AutoStream<Stderr>,
}

/// One line of JSON output: what is common to all, and the answer's own fields beside it.
#[derive(Serialize)]
struct Envelope<'a, T> {
    vat: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    fields: T,
}

/// The field of the envelope of kind `error`.
#[derive(Serialize)]
struct Failed<'a> {
    error: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
    kind: Kind,
    exit: u8,
    message: &'a str,
    hints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnostics: Option<&'a [Diagnostic]>,
}

impl Ui {
    /// The standard streams. Colours follow `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether the
    /// stream is a terminal.
    pub(crate) fn new(json: bool, environment: &Environment) -> Self {
        let stderr = AutoStream::auto(io::stderr());
        let look = Look::new(environment, &stderr);
        Self {
            json,
            look,
            stdout: AutoStream::auto(io::stdout()),
            stderr,
        }
    }

    /// Whether answers are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether stderr shows colours.
    pub(crate) fn shows_colours(&self) -> bool {
        self.look.colours
    }

    /// How many columns a line may have.
    pub(crate) fn width(&self) -> usize {
        self.look.width
    }

    /// Prints an answer: as JSON the fields of `data`, which is a struct or map; or `text`.
    pub(crate) fn answer(
        &mut self,
        kind: &str,
        data: &impl Serialize,
        text: &dyn Display,
    ) -> Result<(), CommandError> {
        let written = if self.json {
            self.write_envelope(kind, data)
        } else {
            let text = text.to_string();
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            write!(self.stdout, "{text}{end}").and_then(|()| self.stdout.flush())
        };
        written.map_err(|error| output_error(&error))
    }

    fn write_envelope(&mut self, kind: &str, data: &impl Serialize) -> io::Result<()> {
        let envelope = Envelope {
            vat: ENVELOPE,
            kind,
            fields: data,
        };
        let mut line = serde_json::to_vec(&envelope)?;
        line.push(b'\n');
        self.stdout.write_all(&line)?;
        self.stdout.flush()
    }

    /// Prints the warnings of a manifest, or all of its findings.
    pub(crate) fn findings(&mut self, report: &Report) {
        let text = findings::render(report, self.look);
        self.say(&text);
    }

    /// Prints a remark on stderr; an empty one is none.
    pub(crate) fn note(&mut self, text: &str) {
        if !text.is_empty() {
            self.say(&format!("{text}\n"));
        }
    }

    /// Prints on stderr what can be typed next.
    pub(crate) fn hint(&mut self, label: &str, text: &str) {
        self.say(&format!("{HINT}{label}:{HINT:#} {text}\n"));
    }

    /// Stderr for what goes on beside the command's own work.
    pub(crate) fn err(&self) -> Lines {
        Lines(AutoStream::auto(io::stderr()))
    }

    /// Prints why the command failed and gives its exit code.
    pub(crate) fn fail(&mut self, error: &CommandError) -> ExitCode {
        let code = ExitCode::from(error.exit_code());
        if error.said {
            return code;
        }
        if self.json {
            let failure = Failure {
                kind: error.kind,
                exit: error.exit_code(),
                message: &error.message,
                hints: &error.hints,
                diagnostics: error.report.as_deref().map(Report::diagnostics),
            };
            if self
                .write_envelope("error", &Failed { error: failure })
                .is_ok()
            {
                return code;
            }
        }
        if let Some(report) = &error.report {
            self.findings(report);
        }
        self.say(&format!("{ERROR}error:{ERROR:#} {}\n", error.message));
        for hint in &error.hints {
            self.say(&format!("{HINT}hint:{HINT:#} {hint}\n"));
        }
        code
    }

    /// When stderr is gone there is nobody left to tell.
    fn say(&mut self, text: &str) {
        let written = self
            .stderr
            .write_all(text.as_bytes())
            .and_then(|()| self.stderr.flush());
        drop(written);
    }
}

/// Writes whole lines to stderr.
#[derive(Debug)]
pub(crate) struct Lines(AutoStream<Stderr>);

impl Lines {
    /// When stderr is gone there is nobody left to tell.
    pub(crate) fn line(&mut self, text: &str) {
        drop(writeln!(self.0, "{text}").and_then(|()| self.0.flush()));
    }
}

/// A reader that has seen enough is no failure, and wants no message.
fn output_error(error: &io::Error) -> CommandError {
    if error.kind() == ErrorKind::BrokenPipe {
        return CommandError::said(Kind::Failed);
    }
    CommandError::new(Kind::Failed, format!("cannot write the answer: {error}"))
}
