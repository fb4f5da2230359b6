//! The manifest: what the programs of an ensemble are, what they need, what they give back, and who
//! fills their slots.
//!
//! A manifest is read in two steps. The first turns TOML into typed values and reports unknown
//! keys, wrong types and malformed names, each with its place. The second checks what lies
//! between the parts (unfilled slots, mismatched types, grants that are too broad) and what the
//! file system says (missing programs, reference files that others can read). Both report all
//! they find. Only a manifest without errors becomes a [`Manifest`]; nothing starts without one.
//!
//! Version 1, for one program:
//!
//! ```toml
//! manifest = 1
//!
//! [vat]
//! name    = "hello"
//! summary = "Greets people; remembers names in one directory"
//!
//! [program]
//! exec        = "./hello"
//! # instead, to have it built: cargo = { package = "hello", bin = "hello", folder = "." }
//! confinement = "L2"            # the least level it may run at: L2 (default) or L3
//!
//! [use.notes]
//! type   = "Directory"
//! rights = ["read", "write"]    # default: ["read"]
//! [use.log]
//! type     = "LogSink"
//! optional = true
//!
//! [expose.greeter]
//! type   = "hello::Greeter"
//! socket = "greeter.sock"
//!
//! [run]
//! listen = ["127.0.0.1:7447"]
//! [run.grants]
//! notes = { dir = "./notes", rights = ["read", "write"], create = true }
//! log   = "launcher.log"
//! # clock = "clock", friend = { ref = "friend.cap" }, net = { network = ["any"] }
//!
//! [supervisor]
//! strategy  = "one_for_one"
//! restart   = "permanent"
//! intensity = { restarts = 3, within = "5s" }
//! backoff   = { initial = "100ms", factor = 4, max = "30s", jitter = 0.2, settled = "10s" }
//! start     = { timeout = "10s" }
//! stop      = { grace = "5s" }
//! ```
//!
//! For several programs, `[children]` takes the place of `[program]`. `[use]` is then what the
//! ensemble needs, and the grants of each child pass it on, or what a child further up exposes:
//!
//! ```toml
//! [children.ledger]
//! exec    = "./ledger"            # or cargo = { ... }; confinement, as in [program]
//! use     = { dir = "Directory" } # or slot = { type = ..., rights = [...], optional = true }
//! restart = "permanent"           # else as in [supervisor]; also start, stop = { grace = "5s" }
//! expose  = { ledger = "shop::Ledger" }
//! [children.ledger.grants]
//! dir = "use.store"
//!
//! [children.gateway]
//! exec   = "./gateway"
//! use    = { ledger = "shop::Ledger", dir = "Directory", log = "LogSink" }
//! expose = { admin = "shop::Admin" }
//! [children.gateway.grants]
//! ledger = "children.ledger.ledger"
//! dir    = { from = "use.store", rights = ["read"] }
//! log    = { from = "use.log", tag = "gateway" }
//!
//! [expose.admin]
//! from = "children.gateway.admin" # type is the child's; socket as above
//! ```
//!
//! Children start in the order of the text, and a route leads from a child to one further down
//! only: so there are no cycles, and whatever is routed is there when it is needed. A directory
//! keeps the rights of the ensemble's slot unless the route or the child's slot names fewer. The
//! manifest passes on what it is given and has no authority of its own: paths, addresses and
//! reference files stand in `[run.grants]` only.

mod check;
mod children;
mod code;
mod diagnostic;
mod document;
mod files;
mod grant;
mod granted;
mod name;
mod narrowing;
mod program;
mod routes;
mod slots;
mod supervise;
mod table;
mod units;
mod wiring;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

pub use code::Code;
pub use diagnostic::{Diagnostic, Label, Position, Report, Severity};
pub use name::{Builtin, InterfaceName, MAX_NAME, NameError, SlotName, VatName};
pub use supervise::SupervisionRules;
pub use units::{DurationError, HumanDuration, parse_duration};

use super::confine::Level;
use super::places::Places;
use crate::net::Destination;
use crate::supervisor::{ChildSpec, RestartKind, Shutdown};
use diagnostic::Findings;
use units::serialize_duration;

/// Largest manifest that is read, in bytes. A larger one is refused with `V0003`.
pub const MAX_MANIFEST: u64 = 1 << 20;

/// Most children that one manifest describes. One with more is refused with `V0108`.
pub const MAX_CHILDREN: usize = 256;

/// A manifest without errors: everything the launcher needs to start its programs.
///
/// All paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The manifest's own path.
    pub path: PathBuf,
    /// The folder that relative paths in the manifest start from.
    pub folder: PathBuf,
    /// The ensemble's name.
    pub name: VatName,
    /// What it is for, in one line.
    pub summary: Option<String>,
    /// The slots that the ensemble declares, in the order of the text.
    pub uses: Vec<Use>,
    /// The references that the ensemble gives back, in the order of the text.
    pub exposes: Vec<Expose>,
    /// Where the launcher listens for it; empty: only on its Unix socket.
    pub listen: Vec<SocketAddr>,
    /// Who fills the slots, in the order of the text. At most one per slot; every slot that is
    /// not optional has one.
    pub grants: Vec<Grant>,
    /// The programs, in the order they are started in; never empty. `[program]` is one child, named
    /// like the ensemble.
    pub children: Vec<ChildRules>,
    /// When and how fast they are started again.
    pub supervision: SupervisionRules,
}

impl Manifest {
    /// The slot of that name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Use> {
        self.uses.iter().find(|slot| slot.name.as_str() == name)
    }

    /// What fills the slot of that name. None: the slot is optional and unfilled, or not there.
    #[must_use]
    pub fn grant(&self, slot: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.slot.as_str() == slot)
    }

    /// The child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&ChildRules> {
        self.children
            .iter()
            .find(|child| child.name.as_str() == name)
    }

    /// The only child of a manifest with `[program]`; none, if the manifest has `[children]`.
    #[must_use]
    pub fn only_program(&self) -> Option<&ChildRules> {
        match self.children.as_slice() {
            [only] if only.path == self.name.as_str() => Some(only),
            _ => None,
        }
    }
}

/// One program of an ensemble: what it is, what it needs and from where it gets it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChildRules {
    /// Its name: the ensemble's for `[program]`.
    pub name: VatName,
    /// Its supervision path, unique in the ensemble: `hello` for `[program]`, `shop/ledger` for
    /// the child `ledger` of `shop`.
    pub path: String,
    /// What runs.
    pub program: Program,
    /// The slots it declares, in the order of the text.
    pub uses: Vec<Use>,
    /// The references it gives back to the launcher, in the order of the text.
    pub exposes: Vec<ChildExpose>,
    /// What fills its slots, in the order of the text. At most one per slot; every slot that is
    /// not optional has one.
    pub routes: Vec<Route>,
    /// After which ends it is started again.
    pub restart: RestartKind,
    /// How long a start may take until it is ready.
    #[serde(serialize_with = "serialize_duration")]
    pub start_timeout: Duration,
    /// How long an ordered stop may take before it is killed.
    #[serde(serialize_with = "serialize_duration")]
    pub stop_grace: Duration,
}

impl ChildRules {
    /// What fills the slot of that name. None: the slot is optional and unfilled, or not there.
    #[must_use]
    pub fn route(&self, slot: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.slot.as_str() == slot)
    }

    /// What its supervisor is told about it. Its name there is its path.
    #[must_use]
    pub fn child_spec(&self) -> ChildSpec {
        ChildSpec::new(&self.path)
            .with_restart(self.restart)
            .with_shutdown(Shutdown::Grace(self.stop_grace))
            .with_start_within(Some(self.start_timeout))
    }
}

/// A reference that a child gives back to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildExpose {
    /// Its name: the field of the program's record.
    pub name: SlotName,
    /// Its interface, compared at launch.
    pub interface: InterfaceName,
}

/// The way from what the launcher holds into a slot of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// The child's slot.
    pub slot: SlotName,
    /// What it is filled with.
    pub from: RouteSource,
    /// For logs: the tag that the child's records carry.
    pub tag: Option<String>,
    /// For directories: what is left of the rights of the ensemble's slot, less than all of them.
    /// None: all of them.
    pub rights: Option<Rights>,
}

/// Where a route begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteSource {
    /// A slot of the ensemble, which `[run.grants]` fills.
    Use(SlotName),
    /// What a child that starts earlier exposes.
    Child {
        /// The child.
        child: VatName,
        /// The name it exposes it under.
        expose: SlotName,
    },
}

/// A reference that a child of the ensemble exposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildSource {
    /// The child.
    pub child: VatName,
    /// The name it exposes it under.
    pub expose: SlotName,
}

/// The program of a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Program {
    /// Where it comes from.
    pub source: Source,
    /// The least confinement it may run at, at least L2; below, the launcher refuses to start it.
    pub confinement: Level,
}

/// Where a program comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// An executable file.
    Exec(PathBuf),
    /// A target of a Cargo package, built by the launcher.
    Cargo(CargoTarget),
}

/// A target of a Cargo package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CargoTarget {
    /// The folder Cargo runs in: the manifest's, unless it names another.
    pub folder: PathBuf,
    /// The package's name.
    pub package: String,
    /// Which of its programs.
    pub target: TargetKind,
}

/// Which program of a Cargo package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A `[[bin]]` target.
    Bin(String),
    /// An `[[example]]` target.
    Example(String),
}

/// A slot: something that an ensemble or one of its programs needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Use {
    /// The slot's name: the field of the program's record of powers.
    pub name: SlotName,
    /// The interface of what fills it.
    pub interface: InterfaceName,
    /// For directories and files: what the program does with it.
    pub rights: Option<Rights>,
    /// Whether the program starts without it.
    pub optional: bool,
}

/// What may be done with a directory or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rights {
    /// Reading files and listing directories.
    pub read: bool,
    /// Creating, changing and removing files.
    pub write: bool,
}

/// A reference that the ensemble gives back to whoever launched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expose {
    /// Its well-known name.
    pub name: SlotName,
    /// Its interface, compared at launch.
    pub interface: InterfaceName,
    /// A plain Unix socket that serves it to local programs of the same user.
    pub socket: Option<PathBuf>,
    /// Which child's reference it is.
    pub from: ChildSource,
}

/// What fills one slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Grant {
    /// The slot it fills.
    pub slot: SlotName,
    /// What it is.
    pub power: Power,
}

/// What an operator may grant at the shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Power {
    /// A directory and everything below it.
    Directory {
        /// The directory. It exists, unless `create`.
        path: PathBuf,
        /// What may be done there; never more than the slot declares.
        rights: Rights,
        /// Whether the launcher creates it when it is missing (mode 0700).
        create: bool,
    },
    /// The launcher's log.
    Log,
    /// The time of day and timers.
    Clock,
    /// The right to dial out. The launcher connects, and passes the stream.
    Network {
        /// Where it leads.
        to: Vec<Destination>,
    },
    /// The object that a reference file names. The launcher enlivens it; the program never sees
    /// the file's content.
    Reference {
        /// The reference file.
        path: PathBuf,
    },
}

/// What came of checking a manifest.
#[derive(Clone, Debug)]
#[must_use]
pub struct Checked {
    /// The manifest, unless the report has errors.
    pub manifest: Option<Manifest>,
    /// Everything that was found.
    pub report: Report,
}

impl Checked {
    /// The manifest and its warnings.
    ///
    /// # Errors
    ///
    /// The report, when it has errors.
    pub fn into_result(self) -> Result<(Manifest, Report), Box<Report>> {
        match self.manifest {
            Some(manifest) => Ok((manifest, self.report)),
            None => Err(Box::new(self.report)),
        }
    }
}

/// Reads and checks the manifest at `path`.
///
/// # Authority
///
/// Reads the manifest and looks at the files it names, with the caller's own rights. `places`
/// are the directories where this user's ensembles keep their secrets: no grant may reach them.
pub fn check(path: &Path, places: &Places) -> Checked {
    match read(path) {
        Ok(text) => check_text(path, text, places),
        Err((code, message)) => {
            let mut findings = Findings::default();
            findings.error(code, message);
            let report = Report::new(path.to_owned(), String::new(), findings);
            Checked {
                manifest: None,
                report,
            }
        }
    }
}

/// Checks a manifest's text as if it stood in the file `path`.
///
/// # Authority
///
/// As [`check`](fn@check), without reading `path`.
pub fn check_text(path: &Path, text: String, places: &Places) -> Checked {
    let mut findings = Findings::default();
    let manifest = match std::path::absolute(path) {
        Ok(absolute) => {
            let draft = document::read(&text, &mut findings);
            check::check(&draft, &absolute, places, &mut findings)
        }
        Err(error) => {
            findings.error(
                Code::Unreadable,
                format!("the manifest's path is unusable: {error}"),
            );
            None
        }
    };
    let manifest = manifest.filter(|_| !findings.has_errors());
    Checked {
        manifest,
        report: Report::new(path.to_owned(), text, findings),
    }
}

fn read(path: &Path) -> Result<String, (Code, String)> {
    let unreadable = |error: io::Error| {
        (
            Code::Unreadable,
            format!("cannot read {}: {}", path.display(), files::reason(&error)),
        )
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_MANIFEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_MANIFEST {
        let message = format!("{} is larger than {MAX_MANIFEST} bytes", path.display());
        return Err((Code::TooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        (
            Code::NotText,
            format!("{} is not UTF-8 text, from byte {at} on", path.display()),
        )
    })
}

#[cfg(test)]
pub(super) mod tests;
