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
mod model;
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
use std::path::Path;

pub use code::Code;
pub use diagnostic::{Diagnostic, Label, Position, Report, Severity};
pub use model::{
    CargoTarget, ChildExpose, ChildRules, ChildSource, Expose, Grant, Manifest, Power, Program,
    Rights, Route, RouteSource, Source, TargetKind, Use,
};
pub use name::{Builtin, InterfaceName, MAX_NAME, NameError, SlotName, VatName};
pub use supervise::SupervisionRules;
pub use units::{DurationError, HumanDuration, parse_duration};

use super::places::Places;
use diagnostic::Findings;

/// Largest manifest that is read, in bytes. A larger one is refused with `V0003`.
pub const MAX_MANIFEST: u64 = 1 << 20;

/// Most children that one manifest describes. One with more is refused with `V0108`.
pub const MAX_CHILDREN: usize = 256;

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
