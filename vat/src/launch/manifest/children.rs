//! `[children]`: the programs of an ensemble of several, as far as they could be read.

use std::time::Duration;

use super::diagnostic::Findings;
use super::name::{InterfaceName, SlotName, VatName};
use super::program::{self, ProgramDraft};
use super::routes::{self, RouteDraft};
use super::slots::{self, UseDraft};
use super::table::{At, Entry, Known, Later, Table};
use super::{Code, MAX_CHILDREN, document, supervise};
use crate::supervisor::RestartKind;

/// A child as far as it could be read.
#[derive(Debug)]
pub(super) struct ChildDraft {
    /// Its name as written, so that routes to a malformed one are not reported too.
    pub(super) key: At<String>,
    /// None: malformed, and reported.
    pub(super) name: Option<VatName>,
    pub(super) program: ProgramDraft,
    pub(super) uses: Vec<UseDraft>,
    pub(super) exposes: Vec<ChildExposeDraft>,
    pub(super) routes: Vec<RouteDraft>,
    pub(super) restart: Option<RestartKind>,
    pub(super) start_timeout: Option<Duration>,
    pub(super) stop_grace: Option<Duration>,
}

/// What a child exposes, as far as it could be read.
#[derive(Debug)]
pub(super) struct ChildExposeDraft {
    pub(super) name: At<SlotName>,
    /// None: it was there, but wrong, and has been reported.
    pub(super) interface: Option<At<InterfaceName>>,
}

const CHILD: Known = Known {
    keys: &[
        "exec",
        "cargo",
        "confinement",
        "durable",
        "use",
        "expose",
        "grants",
        "restart",
        "start",
        "stop",
    ],
    later: &[
        program::LATER[0],
        program::LATER[1],
        program::LATER[2],
        Later {
            key: "labels",
            what: "labels",
        },
        Later {
            key: "manifest",
            what: "children with manifests of their own",
        },
    ],
};

/// Reads `[children]`.
pub(super) fn read(entry: &Entry<'_, '_>, findings: &mut Findings) -> Vec<ChildDraft> {
    let Some(table) = entry.names(findings) else {
        return Vec::new();
    };
    let entries = table.entries();
    if entries.is_empty() {
        findings
            .error(Code::MissingKey, "[children] has no child")
            .label(&table.span, "nothing would run")
            .help("describe each program as [children.<name>]");
    }
    if let Some(first) = entries.get(MAX_CHILDREN) {
        findings
            .error(
                Code::TooMany,
                format!(
                    "there are {} children; {MAX_CHILDREN} are possible",
                    entries.len()
                ),
            )
            .label(&first.key.span, "the first one that is too many")
            .help("make two ensembles of them, and grant one what the other exposes");
    }
    let children = entries.iter().take(MAX_CHILDREN);
    children
        .filter_map(|entry| read_child(entry, findings))
        .collect()
}

fn read_child(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<ChildDraft> {
    let name = document::name_of(&entry.key, VatName::parse, findings);
    let child = entry.table(CHILD, findings)?;
    let uses = child
        .entry("use")
        .map(|entry| slots::read_short(&entry, findings));
    let grants = child
        .entry("grants")
        .and_then(|entry| entry.names(findings));
    let routes = grants.map(|table| table.entries()).unwrap_or_default();
    Some(ChildDraft {
        key: At::new(entry.key.value.to_owned(), entry.key.span.clone()),
        name,
        program: program::read_table(&child, findings),
        uses: uses.unwrap_or_default(),
        exposes: read_exposes(&child, findings),
        routes: routes
            .iter()
            .map(|entry| routes::read(entry, findings))
            .collect(),
        restart: supervise::read_restart(&child, findings),
        start_timeout: supervise::read_start(&child, findings),
        stop_grace: supervise::read_stop(&child, Known::keys(&["grace"]), findings),
    })
}

/// `expose = { name = "package::Trait" }`.
fn read_exposes(child: &Table<'_, '_>, findings: &mut Findings) -> Vec<ChildExposeDraft> {
    let table = child
        .entry("expose")
        .and_then(|entry| entry.names(findings));
    let entries = table.map(|table| table.entries()).unwrap_or_default();
    let read = |entry: &Entry<'_, '_>| {
        let name = slots::slot_name(entry, findings);
        let interface = slots::interface_named(entry, findings);
        Some(ChildExposeDraft {
            name: name?,
            interface,
        })
    };
    entries.iter().filter_map(read).collect()
}

impl ChildDraft {
    /// What it exposes under that name.
    pub(super) fn exposed(&self, name: &str) -> Option<&ChildExposeDraft> {
        self.exposes
            .iter()
            .find(|expose| expose.name.value.as_str() == name)
    }
}
