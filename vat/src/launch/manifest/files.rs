//! What the file system says about the paths in a manifest.

use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use super::diagnostic::Findings;
use super::grant::{GrantDraft, PowerDraft};
use super::table::At;
use super::{Code, Rights, Source};
use crate::launch::build::package_folder;
use crate::launch::confine::{Reason, SealedProgram, Unsuitable};
use crate::launch::places::Places;
use crate::sturdy::{ReferenceFileProblem, reference_file};

/// Longest path of a Unix socket, in bytes: `sun_path` holds 108 with the final NUL.
const MAX_SOCKET_PATH: usize = 107;

type Span = Range<usize>;

/// The absolute path of what the manifest names, without looking at it.
pub(super) fn resolve(
    folder: &Path,
    written: &At<String>,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let text = written.value.as_str();
    // Neither message repeats the text, as it may hold a secret.
    let (message, help) = if text.starts_with('~') {
        (
            "`~` is not expanded in a manifest",
            "write the whole path, or one relative to the manifest",
        )
    } else if text.trim_start().starts_with("vat:") {
        (
            "a reference is a secret and does not belong into a manifest",
            "name the file that holds it",
        )
    } else {
        return Some(normalize(&folder.join(text)));
    };
    findings
        .error(Code::BadPath, message)
        .label(&written.span, "not a path")
        .help(help);
    None
}

/// Drops `.`; keeps `..`, which means something else where links are involved.
fn normalize(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

/// The path without links and `..`; what does not exist yet keeps its name below what does.
pub(super) fn canonical(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => canonical(parent).join(name),
        _ => path.to_owned(),
    }
}

pub(super) fn check_program(path: &Path, span: &Span, findings: &mut Findings) {
    if let Err(error) = fs::metadata(path) {
        findings
            .error(
                Code::ProgramMissing,
                format!("the program {} is missing", path.display()),
            )
            .label(span, reason(&error))
            .help("build it first, or name its package with `cargo` and let vat build it");
        return;
    }
    let error = match SealedProgram::load(path) {
        Err(error) => error,
        Ok(_) if rustix::fs::access(path, Access::EXEC_OK).is_ok() => return,
        Ok(_) => {
            findings
                .error(
                    Code::ProgramNotExecutable,
                    format!("you may not execute {}", path.display()),
                )
                .label(span, "not executable")
                .help(format!("chmod +x {}", path.display()));
            return;
        }
    };
    let (code, why) = match &error.reason {
        Reason::Unsuitable(Unsuitable::NotFile) => {
            (Code::ProgramNotExecutable, Unsuitable::NotFile.to_string())
        }
        Reason::Unsuitable(unsuitable) => (Code::ProgramUnsuitable, unsuitable.to_string()),
        Reason::Io { source, .. } => (Code::ProgramNotExecutable, reason(source)),
    };
    let finding = findings.error(code, format!("{} cannot be started", path.display()));
    finding.label(span, why);
    if let Some(remedy) = error.remedy() {
        finding.help(remedy);
    }
}

pub(super) fn check_socket(path: &Path, span: &Span, findings: &mut Findings) {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH {
        findings
            .error(
                Code::BadSocket,
                format!("the socket's path has {length} bytes; {MAX_SOCKET_PATH} are possible"),
            )
            .label(span, format!("is {}", path.display()));
        return;
    }
    if !path.parent().is_some_and(Path::is_dir) {
        findings
            .error(Code::BadSocket, "the socket's folder does not exist")
            .label(span, format!("is {}", path.display()));
    } else if let Ok(meta) = fs::symlink_metadata(path)
        && !meta.file_type().is_socket()
    {
        findings
            .error(
                Code::BadSocket,
                format!("{} exists and is not a socket", path.display()),
            )
            .label(span, "would have to be replaced");
    }
}

pub(super) fn check_directory(
    path: &Path,
    rights: Rights,
    create: bool,
    span: &Span,
    findings: &mut Findings,
) {
    let unusable = |what: &str, findings: &mut Findings| {
        findings
            .error(
                Code::DirectoryUnusable,
                format!("{} {what}", path.display()),
            )
            .label(span, "cannot be granted");
    };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_dir() => unusable("is not a directory", findings),
        Ok(_) => {
            let mut access = Access::EXEC_OK;
            access.set(Access::READ_OK, rights.read);
            access.set(Access::WRITE_OK, rights.write);
            if rustix::fs::access(path, access).is_err() {
                unusable("is not open to you in the way the grant says", findings);
            }
        }
        Err(_) if create => {
            if !path.parent().is_some_and(Path::is_dir) {
                unusable("cannot be created: the folder above is missing", findings);
            }
        }
        Err(error) => {
            findings
                .error(
                    Code::DirectoryMissing,
                    format!("the directory {} is missing", path.display()),
                )
                .label(span, reason(&error))
                .help("create it, or add `create = true` to the grant");
        }
    }
}

pub(super) fn check_reference(path: &Path, span: &Span, findings: &mut Findings) {
    let Err(error) = reference_file::read(path) else {
        return;
    };
    use ReferenceFileProblem as Problem;
    let code = match error.problem() {
        Problem::OpenToOthers { .. } | Problem::NotOurs { .. } => Code::ReferenceExposed,
        Problem::Io(_) => Code::ReferenceMissing,
        _ => Code::ReferenceMalformed,
    };
    let finding = findings.error(code, error.to_string());
    finding.label(span, "cannot be granted");
    if code == Code::ReferenceMissing {
        finding.help("`vat up` of the program that exposes it writes the file");
    }
}

/// What the system says, without its number.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_owned()
}

/// What no granted directory may contain: what decides over the program, and secrets.
#[derive(Debug)]
pub(super) struct Fence {
    folder: PathBuf,
    /// The program must not write these.
    deciding: Vec<(PathBuf, String)>,
    /// The program must not even read these.
    secret: Vec<(PathBuf, String)>,
}

impl Fence {
    pub(super) fn new(manifest: &Path, folder: &Path, places: &Places) -> Self {
        let secret = vec![
            (
                canonical(places.runtime_root()),
                "the control references of your ensembles".to_owned(),
            ),
            (
                canonical(places.state_root()),
                "the keys of your ensembles".to_owned(),
            ),
        ];
        Self {
            folder: folder.to_owned(),
            deciding: vec![(canonical(manifest), "its own manifest".to_owned())],
            secret,
        }
    }

    /// A program of the ensemble: the only one, or the child of that name. No child may change
    /// what it or another one runs.
    pub(super) fn add_program(&mut self, source: &Source, child: Option<&str>) {
        let (path, what) = match (source, child) {
            (Source::Exec(program), None) => (program.as_path(), "its own executable".to_owned()),
            (Source::Exec(program), Some(child)) => {
                (program.as_path(), format!("the executable of `{child}`"))
            }
            (Source::Cargo(target), child) => {
                let workspace = package_folder(&target.folder).unwrap_or(&self.folder);
                let what = match child {
                    None => "the package it is built from".to_owned(),
                    Some(child) => format!("the package that `{child}` is built from"),
                };
                (workspace, what)
            }
        };
        self.deciding.push((canonical(path), what));
    }

    /// A granted reference file is a secret towards the program that it is granted to.
    pub(super) fn add_reference(&mut self, grant: &GrantDraft) {
        if let Some(At {
            value: PowerDraft::Reference { path },
            ..
        }) = &grant.power
        {
            let path = canonical(&self.folder.join(&path.value));
            self.secret
                .push((path, "a reference file that is granted to it".to_owned()));
        }
    }

    /// Reports a directory that nobody may be granted, or not this program.
    pub(super) fn check(&self, path: &Path, rights: Rights, span: &Span, findings: &mut Findings) {
        let real = canonical(path);
        if real.parent().is_none() {
            findings
                .error(Code::RootGranted, "the root directory cannot be granted")
                .label(span, "is the whole machine")
                .help("grant the directory that the program works in");
            return;
        }
        if is_of_kernel(&real) {
            findings
                .error(
                    Code::KernelGranted,
                    format!("{} is the kernel's", real.display()),
                )
                .label(span, "not an ordinary directory");
            return;
        }
        let inside = |(secret, _): &&(PathBuf, String)| secret.starts_with(&real);
        let reached = self
            .secret
            .iter()
            .find(|known| inside(known) || real.starts_with(&known.0));
        let decided = self.deciding.iter().filter(|_| rights.write).find(inside);
        let (what, verb) = match (reached, decided) {
            (Some((_, what)), _) => (what, "reach"),
            (None, Some((_, what))) => (what, "change"),
            (None, None) => return,
        };
        findings
            .error(
                Code::SelfGranted,
                format!("with this directory the program could {verb} {what}"),
            )
            .label(span, format!("covers {what}"))
            .help("put the program's data into a directory of its own");
    }
}

fn is_of_kernel(path: &Path) -> bool {
    path.starts_with("/proc")
        || path.starts_with("/sys")
        || (path.starts_with("/dev") && !path.starts_with("/dev/shm"))
}
