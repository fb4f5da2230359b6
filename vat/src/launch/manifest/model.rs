//! What a manifest says, once it is checked: names, paths and numbers as values of their own types.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::name::{InterfaceName, SlotName, VatName};
use super::supervise::SupervisionRules;
use super::units::serialize_duration;
use crate::launch::confine::Level;
use crate::net::Destination;
use crate::supervisor::{ChildSpec, RestartKind, Shutdown};

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
    /// Whether it has a durable store: a file in the ensemble's state, which the launcher opens and
    /// passes on.
    pub durable: bool,
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
