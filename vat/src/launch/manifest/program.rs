//! A program: how a manifest names it, and whether it is there.

use std::ops::Range;
use std::path::Path;

use super::diagnostic::Findings;
use super::document::path_of;
use super::files;
use super::table::{At, Entry, Known, Later, Table};
use super::{CargoTarget, Code, Program, Source, TargetKind};
use crate::launch::build::package_folder;
use crate::launch::confine::Level;

/// A program as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct ProgramDraft {
    /// None: missing or wrong, and reported.
    pub(super) source: Option<SourceDraft>,
    pub(super) confinement: Level,
    pub(super) durable: bool,
}

#[derive(Debug)]
pub(super) enum SourceDraft {
    Exec(At<String>),
    Cargo {
        /// Where Cargo runs; without it, in the manifest's folder.
        folder: Option<At<String>>,
        package: At<String>,
        kind: CargoKind,
        target: At<String>,
        span: Range<usize>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CargoKind {
    Bin,
    Example,
}

/// The keys of a program, in `[program]` and among those of a child.
pub(super) const KEYS: [&str; 4] = ["exec", "cargo", "confinement", "durable"];

/// What a program will be able to have.
pub(super) const LATER: [Later; 3] = [
    Later {
        key: "health",
        what: "health checks",
    },
    Later {
        key: "limits",
        what: "resource limits",
    },
    Later {
        key: "replicas",
        what: "replicas",
    },
];

/// Reads `[program]`.
pub(super) fn read(entry: &Entry<'_, '_>, findings: &mut Findings) -> ProgramDraft {
    let known = Known {
        keys: &KEYS,
        later: &LATER,
    };
    entry
        .table(known, findings)
        .map(|table| read_table(&table, findings))
        .unwrap_or_default()
}

/// Reads what says which program it is from its table, which may have other keys too.
pub(super) fn read_table(program: &Table<'_, '_>, findings: &mut Findings) -> ProgramDraft {
    let durable = program.entry("durable");
    ProgramDraft {
        durable: durable.and_then(|entry| entry.boolean(findings)) == Some(true),
        confinement: read_confinement(program, findings),
        source: read_source(program, findings),
    }
}

fn read_source(program: &Table<'_, '_>, findings: &mut Findings) -> Option<SourceDraft> {
    match (program.entry("exec"), program.entry("cargo")) {
        (Some(exec), None) => return Some(SourceDraft::Exec(path_of(&exec, findings)?)),
        (None, Some(cargo)) => return read_cargo(&cargo, findings),
        (Some(exec), Some(cargo)) => {
            findings
                .error(
                    Code::Contradiction,
                    "a program is named by `exec` or by `cargo`, not both",
                )
                .label(&cargo.key.span, "one of the two has to go")
                .label(&exec.key.span, "the other one");
        }
        (None, None) => {
            findings
                .error(
                    Code::MissingKey,
                    format!("[{}] does not say which program", program.path),
                )
                .label(&program.span, "needs `exec` or `cargo`")
                .help("exec = \"./hello\", or cargo = { package = \"hello\", bin = \"hello\" }");
        }
    }
    None
}

/// L2 and L3; the weaker levels are words too, but nothing starts with them.
fn read_confinement(program: &Table<'_, '_>, findings: &mut Findings) -> Level {
    let levels = [
        ("L2", Level::L2),
        ("L3", Level::L3),
        ("L1", Level::L1),
        ("L0", Level::L0),
    ];
    let entry = program.entry("confinement");
    let Some(level) = entry.and_then(|entry| entry.word(&levels, findings)) else {
        return Level::default();
    };
    if level.value >= Level::L2 {
        return level.value;
    }
    findings
        .error(
            Code::WeakConfinement,
            "no program starts below confinement level L2",
        )
        .label(&level.span, "too weak")
        .help("write \"L2\" or \"L3\", or leave it out: the default is \"L2\"");
    Level::default()
}

fn read_cargo(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<SourceDraft> {
    let cargo = entry.table(
        Known::keys(&["package", "bin", "example", "folder"]),
        findings,
    )?;
    let package = cargo
        .required("package", findings)
        .and_then(|e| cargo_name(&e, findings));
    let folder = cargo.entry("folder").map(|entry| path_of(&entry, findings));
    let (kind, target) = match (cargo.entry("bin"), cargo.entry("example")) {
        (Some(bin), None) => (CargoKind::Bin, cargo_name(&bin, findings)?),
        (None, Some(example)) => (CargoKind::Example, cargo_name(&example, findings)?),
        (Some(bin), Some(example)) => {
            findings
                .error(
                    Code::Contradiction,
                    "a target is a `bin` or an `example`, not both",
                )
                .label(&example.key.span, "one of the two has to go")
                .label(&bin.key.span, "the other one");
            return None;
        }
        (None, None) => {
            findings
                .error(
                    Code::MissingKey,
                    "`cargo` does not say which target of the package",
                )
                .label(&entry.span, "needs `bin` or `example`");
            return None;
        }
    };
    // A folder that could not be read must not become the manifest's.
    let folder = match folder {
        Some(None) => return None,
        Some(Some(folder)) => Some(folder),
        None => None,
    };
    Some(SourceDraft::Cargo {
        folder,
        package: package?,
        kind,
        target,
        span: entry.span.clone(),
    })
}

/// A name that Cargo accepts and that cannot be taken for one of its options.
fn cargo_name(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<String>> {
    let text = entry.text(findings)?;
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if text.value.is_empty() || text.value.starts_with('-') || !text.value.chars().all(fits) {
        findings
            .error(
                Code::BadName,
                format!("{:?} cannot be a name in Cargo", text.value),
            )
            .label(&text.span, "letters, digits, `-` and `_`");
        return None;
    }
    Some(At::new(text.value.to_owned(), text.span))
}

/// Whether the program is there and can be started.
pub(super) fn check(
    draft: &ProgramDraft,
    folder: &Path,
    findings: &mut Findings,
) -> Option<Program> {
    Some(Program {
        source: check_source(draft.source.as_ref()?, folder, findings)?,
        confinement: draft.confinement,
        durable: draft.durable,
    })
}

fn check_source(source: &SourceDraft, folder: &Path, findings: &mut Findings) -> Option<Source> {
    match source {
        SourceDraft::Exec(path) => {
            let program = files::resolve(folder, path, findings)?;
            files::check_program(&program, &path.span, findings);
            Some(Source::Exec(program))
        }
        SourceDraft::Cargo {
            folder: written,
            package,
            kind,
            target,
            span,
        } => {
            let folder = match written {
                Some(written) => files::resolve(folder, written, findings)?,
                None => folder.to_owned(),
            };
            if package_folder(&folder).is_none() {
                findings
                    .error(Code::NoCargoPackage, "there is no Cargo.toml here or above")
                    .label(span, "nothing to build it from");
            }
            let target = match kind {
                CargoKind::Bin => TargetKind::Bin(target.value.clone()),
                CargoKind::Example => TargetKind::Example(target.value.clone()),
            };
            Some(Source::Cargo(CargoTarget {
                folder,
                package: package.value.clone(),
                target,
            }))
        }
    }
}
