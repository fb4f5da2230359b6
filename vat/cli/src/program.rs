//! From a manifest's program to one that can be started: built if it is a package, then sealed.

use std::io::ErrorKind;

use vat::launch::build::{BuildError, Builder};
use vat::launch::confine::{LoadError, Reason, SealedProgram};
use vat::launch::manifest::{CargoTarget, Program, Source};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::progress::Progress;
use crate::ui::Ui;

/// Builds or reads the program and copies it into sealed memory.
pub(crate) fn seal(
    program: &Program,
    release: bool,
    environment: &Environment,
    ui: &Ui,
) -> Result<SealedProgram, CommandError> {
    match &program.source {
        Source::Exec(path) => SealedProgram::load(path).map_err(|error| unusable(&error)),
        Source::Cargo(target) => build(target, release, environment, ui),
        _ => Err(CommandError::new(
            Kind::Failed,
            "this kind of program is not known here",
        )),
    }
}

fn build(
    target: &CargoTarget,
    release: bool,
    environment: &Environment,
    ui: &Ui,
) -> Result<SealedProgram, CommandError> {
    let what = format!("building {}", target.package);
    let mut progress = Progress::new(what, environment.dumb_terminal);
    let builder = Builder::new(&environment.cargo)
        .with_release(release)
        .with_colours(ui.shows_colours());
    let built = builder.build(target, |line| progress.at(line));
    drop(progress);
    built.map_err(|error| match error {
        BuildError::Failed { output, .. } => {
            let package = &target.package;
            let message = format!(
                "the package {package} cannot be built\n\n{}",
                output.trim_end()
            );
            CommandError::new(Kind::LauncherFailed, message)
        }
        BuildError::Unavailable { cargo, source } => {
            let message = format!("{} cannot be run: {source}", cargo.display());
            CommandError::new(Kind::LauncherFailed, message)
                .hint("install Rust (https://rustup.rs), or name a built program with `exec`")
        }
        BuildError::Unusable(error) => unusable(&error),
        error => CommandError::new(Kind::LauncherFailed, error.to_string()),
    })
}

/// 127: the program is not there; 126: it is, but cannot be started.
fn unusable(error: &LoadError) -> CommandError {
    let missing = |reason: &Reason| matches!(reason, Reason::Io { source, .. } if source.kind() == ErrorKind::NotFound);
    let kind = if missing(&error.reason) {
        Kind::ProgramMissing
    } else {
        Kind::NotExecutable
    };
    let mut message = format!(
        "the program {} cannot be started: {}",
        error.path.display(),
        error.reason
    );
    if let Reason::Io { source, .. } = &error.reason {
        message = format!("{message}: {source}");
    }
    let failed = CommandError::new(kind, message);
    match error.remedy() {
        Some(remedy) => failed.hint(remedy),
        None => failed,
    }
}
