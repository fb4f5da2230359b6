//! `vat check`

use std::fmt;
use std::path::PathBuf;

use serde_json::json;
use vat::launch::manifest::{
    self, Grant, HumanDuration, Manifest, Power, Program, Rights, Source, TargetKind, Use,
};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::ui::Ui;
use crate::{locate, program};

/// Check a manifest, and show what its program would be granted
///
/// Nothing is started or changed. All errors are shown at once; `vat help <code>` explains each.
/// Exits with 9 when there are errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest; without it, the only *.vat.toml in this directory
    manifest: Option<PathBuf>,

    /// Also build a program that is named by its Cargo package, and see whether it can be confined
    #[arg(long)]
    build: bool,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let path = locate::manifest(args.manifest.as_deref(), &environment.directory)?;
    let checked = manifest::check(&path, environment.places()?);
    if let (true, Some(manifest)) = (args.build, &checked.manifest) {
        for child in &manifest.children {
            program::seal(&child.program, false, environment, ui)?;
        }
    }
    if ui.is_json() {
        let valid = checked.manifest.is_some();
        let data = json!({
            "path": path,
            "valid": valid,
            "diagnostics": checked.report.diagnostics(),
            "manifest": checked.manifest.as_ref().map(json_of),
        });
        ui.answer("check", &data, &"")?;
        return if valid {
            Ok(())
        } else {
            Err(CommandError::said(Kind::BadManifest))
        };
    }
    let (manifest, report) = checked.into_result().map_err(CommandError::bad_manifest)?;
    ui.findings(&report);
    ui.answer(
        "check",
        &(),
        &format_args!("{} is valid\n\n{}", path.display(), Summary(&manifest)),
    )
}

/// The manifest as data. The only program of `[program]` stands beside `children`, too: the
/// envelope's version has it there.
fn json_of(manifest: &Manifest) -> serde_json::Value {
    let mut data = json!(manifest);
    if let (Some(fields), Some(only)) = (data.as_object_mut(), manifest.only_program()) {
        fields.insert("program".to_owned(), json!(only.program));
    }
    data
}

/// What a manifest's program is, what it may use and what it gives back.
struct Summary<'a>(&'a Manifest);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = self.0;
        write!(f, "{}", manifest.name)?;
        if let Some(summary) = &manifest.summary {
            write!(f, ": {summary}")?;
        }
        writeln!(f)?;
        let programs = manifest.children.iter().map(|child| runs(&child.program));
        row(f, "runs", &programs.collect::<Vec<_>>())?;
        let uses: Vec<_> = manifest
            .uses
            .iter()
            .map(|slot| filled(manifest, slot))
            .collect();
        row(f, "may use", &uses)?;
        let exposes: Vec<_> = manifest
            .exposes
            .iter()
            .map(|expose| match &expose.socket {
                None => format!("{}: {}", expose.name, expose.interface),
                Some(socket) => {
                    format!(
                        "{}: {}, also on {}",
                        expose.name,
                        expose.interface,
                        socket.display()
                    )
                }
            })
            .collect();
        row(f, "gives", &exposes)?;
        if !manifest.listen.is_empty() {
            let listen: Vec<_> = manifest.listen.iter().map(ToString::to_string).collect();
            row(f, "listens", &listen)?;
        }
        let rules = &manifest.supervision;
        let restart = serde_json::to_value(rules.restart).unwrap_or_default();
        let limit = format!(
            "{}; gives up after more than {} restarts within {}",
            restart.as_str().unwrap_or_default(),
            rules.intensity.restarts,
            HumanDuration(rules.intensity.within),
        );
        row(f, "restarts", &[limit])
    }
}

/// What a program is, and how it is confined.
fn runs(program: &Program) -> String {
    let level = program.confinement;
    let program = match &program.source {
        Source::Exec(path) => path.display().to_string(),
        Source::Cargo(cargo) => match &cargo.target {
            TargetKind::Bin(name) => format!("the program {name} of package {}", cargo.package),
            TargetKind::Example(name) => format!("the example {name} of package {}", cargo.package),
        },
        _ => "another kind of program".to_owned(),
    };
    format!("{program}, confined at level {level:?} or better")
}

/// A heading, and the lines beside it.
fn row(f: &mut fmt::Formatter<'_>, heading: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return writeln!(f, "  {heading:<9} nothing");
    }
    for (number, line) in lines.iter().enumerate() {
        let heading = if number == 0 { heading } else { "" };
        writeln!(f, "  {heading:<9} {line}")?;
    }
    Ok(())
}

/// A slot and what fills it.
fn filled(manifest: &Manifest, slot: &Use) -> String {
    let name = slot.name.as_str();
    let given = match manifest.grant(name) {
        None => "nothing (optional)".to_owned(),
        Some(Grant { power, .. }) => match power {
            Power::Directory { path, rights, .. } => {
                format!("{} ({})", path.display(), words(*rights))
            }
            Power::Log => "the launcher's log".to_owned(),
            Power::Clock => "the clock".to_owned(),
            Power::Network { to } => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                format!("may dial {}", to.join(", "))
            }
            Power::Reference { path } => format!("what {} names", path.display()),
            _ => "another power".to_owned(),
        },
    };
    format!("{name}: {}, {given}", slot.interface)
}

fn words(rights: Rights) -> &'static str {
    match (rights.read, rights.write) {
        (true, true) => "read, write",
        (true, false) => "read",
        (false, true) => "write",
        (false, false) => "no rights",
    }
}
