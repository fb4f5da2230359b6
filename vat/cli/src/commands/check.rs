//! `vat check`

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use vat::launch::manifest::{
    self, ChildRules, Expose, Grant, HumanDuration, Manifest, Power, Program, Rights, RouteSource,
    Source, TargetKind, Use,
};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::ui::Ui;
use crate::{locate, program};

/// Check a manifest, and show what its programs would be granted
///
/// Nothing is started or changed. All errors are shown at once; `vat help <code>` explains each.
/// Exits with 9 when there are errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest; without it, the only *.vat.toml in this directory
    manifest: Option<PathBuf>,

    /// Also build programs that are named by their Cargo package, and see whether they can be
    /// confined
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

/// What runs, what it may use and what it gives back.
struct Summary<'a>(&'a Manifest);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = self.0;
        write!(f, "{}", manifest.name)?;
        if let Some(summary) = &manifest.summary {
            write!(f, ": {summary}")?;
        }
        writeln!(f)?;
        let uses: Vec<_> = manifest
            .uses
            .iter()
            .map(|slot| filled(manifest, slot))
            .collect();
        match manifest.only_program() {
            Some(only) => {
                row(f, "runs", &[runs(&only.program)])?;
                row(f, "may use", &uses)?;
            }
            None => {
                row(f, "granted", &uses)?;
                for child in &manifest.children {
                    write_child(f, child)?;
                }
            }
        }
        let exposes: Vec<_> = manifest
            .exposes
            .iter()
            .map(|expose| exposed(manifest, expose))
            .collect();
        row(f, "gives", &exposes)?;
        if !manifest.listen.is_empty() {
            let listen: Vec<_> = manifest.listen.iter().map(ToString::to_string).collect();
            row(f, "listens", &listen)?;
        }
        row(f, "restarts", &[restarts(manifest)])
    }
}

/// One of several programs, with a heading of its own.
fn write_child(f: &mut fmt::Formatter<'_>, child: &ChildRules) -> fmt::Result {
    writeln!(f, "  {}", child.path)?;
    let uses: Vec<_> = child.uses.iter().map(|slot| routed(child, slot)).collect();
    let exposes = child.exposes.iter();
    let exposes: Vec<_> = exposes
        .map(|expose| format!("{}: {}", expose.name, expose.interface))
        .collect();
    inner_row(f, "runs", &[runs(&child.program)])?;
    inner_row(f, "may use", &uses)?;
    inner_row(f, "gives", &exposes)?;
    inner_row(f, "restarts", &[word(&child.restart)])
}

/// A slot of a child and where it leads to.
fn routed(child: &ChildRules, slot: &Use) -> String {
    let name = slot.name.as_str();
    let Some(route) = child.route(name) else {
        return format!("{name}: {}, nothing (optional)", slot.interface);
    };
    let from = match &route.from {
        RouteSource::Use(slot) => format!("use.{slot}"),
        RouteSource::Child { child, expose } => format!("children.{child}.{expose}"),
    };
    let mut text = format!("{name}: {}, {from}", slot.interface);
    if let Some(rights) = slot.rights {
        text = format!("{text} ({})", words(rights));
    }
    if let Some(tag) = &route.tag {
        text = format!("{text}, with the tag {tag:?}");
    }
    text
}

/// A reference that the ensemble gives back; of several children, also whose it is.
fn exposed(manifest: &Manifest, expose: &Expose) -> String {
    let mut text = format!("{}: {}", expose.name, expose.interface);
    if manifest.only_program().is_none() {
        let from = &expose.from;
        text = format!("{text}, children.{}.{}", from.child, from.expose);
    }
    match &expose.socket {
        None => text,
        Some(socket) => format!("{text}, also on {}", socket.display()),
    }
}

/// When programs are started again; of several children, how one's end concerns the others.
fn restarts(manifest: &Manifest) -> String {
    let rules = &manifest.supervision;
    let first = match manifest.only_program() {
        Some(only) => word(&only.restart),
        None => word(&rules.strategy),
    };
    format!(
        "{first}; gives up after more than {} restarts within {}",
        rules.intensity.restarts,
        HumanDuration(rules.intensity.within),
    )
}

/// A word of the manifest's format.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
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
    rows(f, 2, heading, lines)
}

/// The same below the heading of a child.
fn inner_row(f: &mut fmt::Formatter<'_>, heading: &str, lines: &[String]) -> fmt::Result {
    rows(f, 4, heading, lines)
}

fn rows(f: &mut fmt::Formatter<'_>, indent: usize, heading: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return writeln!(f, "{:indent$}{heading:<9} nothing", "");
    }
    for (number, line) in lines.iter().enumerate() {
        let heading = if number == 0 { heading } else { "" };
        writeln!(f, "{:indent$}{heading:<9} {line}", "")?;
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
