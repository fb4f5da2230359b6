//! `[children.<name>.grants]`: what is put into the slots of a child, as far as it could be read.

use toml::de::DeValue;

use super::diagnostic::Findings;
use super::name::{NameError, SlotName, VatName};
use super::slots;
use super::table::{At, Entry, Known, Later, Table};
use super::{Code, Rights, RouteSource};

/// Longest tag of a route's log, in bytes: what the log keeps of it.
const MAX_TAG: usize = 64;

/// A route as far as it could be read.
#[derive(Debug)]
pub(super) struct RouteDraft {
    /// The slot's name as written: whether there is such a slot is a later question.
    pub(super) slot: At<String>,
    /// None: missing or wrong, and reported.
    pub(super) from: Option<At<RouteSource>>,
    pub(super) tag: Option<At<String>>,
    pub(super) rights: Option<At<Rights>>,
}

const ROUTE: Known = Known {
    keys: &["from", "tag", "rights"],
    later: &[
        Later {
            key: "attenuate",
            what: "attenuated grants",
        },
        Later {
            key: "label",
            what: "labels of grants",
        },
    ],
};

const FORMS: &str = "a grant of a child is \"use.<slot>\" (a slot of [use]) or \
                     \"children.<child>.<name>\" (what another child exposes)";

/// Reads one entry of a child's grants.
pub(super) fn read(entry: &Entry<'_, '_>, findings: &mut Findings) -> RouteDraft {
    let mut route = RouteDraft {
        slot: At::new(entry.key.value.to_owned(), entry.key.span.clone()),
        from: None,
        tag: None,
        rights: None,
    };
    if !matches!(entry.value, DeValue::Table(_)) {
        route.from = read_source(entry, findings);
        return route;
    }
    let Some(table) = entry.table(ROUTE, findings) else {
        return route;
    };
    match table.entry("from") {
        Some(from) => route.from = read_source(&from, findings),
        None => report_no_source(
            &table,
            "use.<slot>\" or \"children.<child>.<name>",
            findings,
        ),
    }
    route.tag = table.entry("tag").and_then(|tag| read_tag(&tag, findings));
    route.rights = table
        .entry("rights")
        .and_then(|rights| slots::read_rights(&rights, findings));
    route
}

/// Reports that it is not said where something comes from.
pub(super) fn report_no_source(table: &Table<'_, '_>, forms: &str, findings: &mut Findings) {
    findings
        .error(
            Code::MissingKey,
            format!("`from` is missing in [{}]", table.path),
        )
        .label(&table.span, "needs `from`")
        .help(format!("write from = \"{forms}\""));
}

/// Where a route begins: `"use.store"` or `"children.ledger.ledger"`.
pub(super) fn read_source(
    entry: &Entry<'_, '_>,
    findings: &mut Findings,
) -> Option<At<RouteSource>> {
    let text = entry.text(findings)?;
    let (message, label, help) = match parse(text.value) {
        Ok(source) => return Some(At::new(source, text.span)),
        Err(Malformed::Later(what)) => {
            findings
                .error(
                    Code::NotSupported,
                    format!("{what} are not supported by this version"),
                )
                .label(&text.span, "cannot be used yet")
                .help(FORMS);
            return None;
        }
        // The text is not repeated: it may hold a secret.
        Err(Malformed::Secret) => (
            "a reference is a secret and does not belong into a manifest",
            "this is a reference itself".to_owned(),
            "grant { ref = \"that-file.cap\" } in [run.grants] to a slot of [use]",
        ),
        Err(Malformed::Name(error)) => (
            "a part of this source cannot be a name",
            error.to_string(),
            FORMS,
        ),
        Err(Malformed::Form) => (
            "this does not say where it comes from",
            "neither a slot of [use] nor what a child exposes".to_owned(),
            FORMS,
        ),
    };
    findings
        .error(Code::BadRoute, message)
        .label(&text.span, label)
        .help(help);
    None
}

/// Why a text is no source of a route.
enum Malformed {
    Form,
    Name(NameError),
    Secret,
    /// A later version may know it.
    Later(&'static str),
}

impl From<NameError> for Malformed {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

fn parse(text: &str) -> Result<RouteSource, Malformed> {
    if text.trim_start().starts_with("vat:") {
        return Err(Malformed::Secret);
    }
    let parts: Vec<_> = text.split('.').collect();
    match parts.as_slice() {
        ["use", slot] => Ok(RouteSource::Use(SlotName::parse(slot)?)),
        ["children", child, _] if child.ends_with(']') && child.contains('[') => {
            Err(Malformed::Later("replicas"))
        }
        ["children", child, expose] => Ok(RouteSource::Child {
            child: VatName::parse(child)?,
            expose: SlotName::parse(expose)?,
        }),
        ["pool", ..] => Err(Malformed::Later("pools")),
        ["import", ..] => Err(Malformed::Later("imports of a site")),
        _ => Err(Malformed::Form),
    }
}

fn read_tag(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<String>> {
    let text = entry.text(findings)?;
    let wrong = match text.value {
        "" => "is empty",
        long if long.len() > MAX_TAG => "is longer than 64 bytes",
        text if text.chars().any(char::is_control) => "contains a control character",
        text if text.contains(['{', '}']) => {
            findings
                .error(
                    Code::NotSupported,
                    "placeholders in tags are not supported by this version",
                )
                .label(&entry.span, "cannot be used yet")
                .help("write the tag without braces");
            return None;
        }
        _ => return Some(At::new(text.value.to_owned(), text.span)),
    };
    findings
        .error(Code::BadTag, format!("`{}` is not a tag", entry.path))
        .label(&text.span, wrong)
        .help("a tag is a word that the records of one child carry, as \"ledger\"");
    None
}
