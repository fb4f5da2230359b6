//! Why a command failed: the kind decides the exit code, the hints say what to do next.

use serde::Serialize;
use vat::launch::manifest::Report;

/// The kinds of failure, one per exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Failed,
    Usage,
    NotRunning,
    NotFound,
    Denied,
    Unreachable,
    TimedOut,
    Overloaded,
    BadManifest,
    ChangesPending,
    PartlyFailed,
    GaveUp,
    LauncherFailed,
    NotExecutable,
    ProgramMissing,
    Interrupted,
}

impl Kind {
    /// All kinds, in the order of their exit codes.
    pub(crate) const ALL: [Self; 16] = [
        Self::Failed,
        Self::Usage,
        Self::NotRunning,
        Self::NotFound,
        Self::Denied,
        Self::Unreachable,
        Self::TimedOut,
        Self::Overloaded,
        Self::BadManifest,
        Self::ChangesPending,
        Self::PartlyFailed,
        Self::GaveUp,
        Self::LauncherFailed,
        Self::NotExecutable,
        Self::ProgramMissing,
        Self::Interrupted,
    ];

    /// The exit code of the command.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NotFound => 4,
            Self::Denied => 5,
            Self::Unreachable => 6,
            Self::TimedOut => 7,
            Self::Overloaded => 8,
            Self::BadManifest => 9,
            Self::ChangesPending => 10,
            Self::PartlyFailed => 11,
            Self::GaveUp => 12,
            Self::LauncherFailed => 125,
            Self::NotExecutable => 126,
            Self::ProgramMissing => 127,
            Self::Interrupted => 130,
        }
    }

    /// What the exit code means, for `vat help exit-codes`.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Failed => "the operation failed (the callee's error)",
            Self::Usage => "the command line is wrong",
            Self::NotRunning => "not running, or unhealthy",
            Self::NotFound => "no such path, petname or method (as far as known here)",
            Self::Denied => "denied: revoked, expired, attenuated away, or never existed",
            Self::Unreachable => "unreachable or disconnected",
            Self::TimedOut => "timed out",
            Self::Overloaded => "overloaded",
            Self::BadManifest => "bad manifest, or a slot that nobody fills",
            Self::ChangesPending => "changes are pending",
            Self::PartlyFailed => "some of several targets failed",
            Self::GaveUp => "a supervisor gave up: too many restarts in too short a time",
            Self::LauncherFailed => "the launcher failed",
            Self::NotExecutable => "the program cannot be executed",
            Self::ProgramMissing => "the program was not found",
            Self::Interrupted => "interrupted with Ctrl-C",
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// The findings, when a manifest is the reason.
    pub(crate) report: Option<Box<Report>>,
    /// Everything has been said already; only the exit code is left.
    pub(crate) said: bool,
    /// Another exit code than the kind's: that of a program which was run.
    code: Option<u8>,
}

impl CommandError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message,
            hints: Vec::new(),
            report: None,
            said: false,
            code: None,
        }
    }

    /// A manifest with errors.
    pub(crate) fn bad_manifest(report: Box<Report>) -> Self {
        let errors = report.errors().count();
        let plural = if errors == 1 { "" } else { "s" };
        let message = format!("{errors} error{plural} in {}", report.path().display());
        let mut error = Self::new(Kind::BadManifest, message);
        if let Some(first) = report.errors().next() {
            error
                .hints
                .push(format!("`vat help {}` says more about it", first.code));
        }
        error.report = Some(report);
        error
    }

    /// A failure about which the answer itself has told everything.
    pub(crate) fn said(kind: Kind) -> Self {
        Self {
            said: true,
            ..Self::new(kind, "")
        }
    }

    /// A program that was run and ended with this code.
    pub(crate) fn program(code: i32) -> Self {
        Self {
            code: Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            ..Self::said(Kind::Failed)
        }
    }

    /// The exit code of the command.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code.unwrap_or_else(|| self.kind.exit_code())
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
