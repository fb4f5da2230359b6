//! `[run.grants]`: what the operator at the shell puts into the slots.

use toml::de::{DeTable, DeValue};

use super::diagnostic::Findings;
use super::document::path_of;
use super::slots::read_rights;
use super::table::{At, Entry, Known, Later, Table};
use super::{Code, Rights};
use crate::net::Destination;

#[derive(Debug)]
pub(super) struct GrantDraft {
    /// The slot's name as written: whether there is such a slot is a later question.
    pub(super) slot: At<String>,
    /// None: it was there, but wrong, and has been reported.
    pub(super) power: Option<At<PowerDraft>>,
}

#[derive(Debug)]
pub(super) enum PowerDraft {
    Directory {
        path: At<String>,
        rights: Option<At<Rights>>,
        create: bool,
    },
    Log,
    Clock,
    Network {
        to: Vec<At<Destination>>,
    },
    Reference {
        path: At<String>,
    },
}

const DIRECTORY_GRANT: Known = Known {
    keys: &["dir", "rights", "create"],
    later: &[Later {
        key: "attenuate",
        what: "attenuated grants",
    }],
};

const REFERENCE_GRANT: Known = Known {
    keys: &["ref"],
    later: &[Later {
        key: "attenuate",
        what: "attenuated grants",
    }],
};

const NETWORK_GRANT: Known = Known {
    keys: &["network"],
    later: &[Later {
        key: "attenuate",
        what: "attenuated grants",
    }],
};

const DIRECTORY_EXAMPLE: &str =
    "a directory is granted as { dir = \"./notes\", rights = [\"read\", \"write\"] }";
const GRANT_FORMS: &str = "a grant is { dir = \"./notes\", rights = [\"read\"] }, \
                           \"launcher.log\", \"clock\", { ref = \"friend.cap\" } \
                           or { network = [\"any\"] }";

/// Reads one entry of `[run.grants]`.
pub(super) fn read(entry: &Entry<'_, '_>, findings: &mut Findings) -> GrantDraft {
    let slot = At::new(entry.key.value.to_owned(), entry.key.span.clone());
    let power = match entry.value {
        DeValue::Table(table) => read_power(entry, table, findings),
        _ => entry
            .text(findings)
            .and_then(|text| read_named_power(&text, findings)),
    };
    GrantDraft {
        slot,
        power: power.map(|power| At::new(power, entry.span.clone())),
    }
}

fn read_power(
    entry: &Entry<'_, '_>,
    table: &DeTable<'_>,
    findings: &mut Findings,
) -> Option<PowerDraft> {
    let bare = Table::with_names(table, &entry.path, entry.span.clone());
    let given = ["dir", "ref", "network"].map(|key| bare.entry(key));
    match given {
        [Some(_), None, None] => read_directory(&entry.table(DIRECTORY_GRANT, findings)?, findings),
        [None, Some(_), None] => {
            let grant = entry.table(REFERENCE_GRANT, findings)?;
            let path = path_of(&grant.entry("ref")?, findings)?;
            Some(PowerDraft::Reference { path })
        }
        [None, None, Some(_)] => {
            let grant = entry.table(NETWORK_GRANT, findings)?;
            read_network(&grant.entry("network")?, findings)
        }
        [None, None, None] => {
            findings
                .error(
                    Code::UnknownGrant,
                    format!("`{}` does not say what is granted", entry.path),
                )
                .label(&entry.span, "needs `dir`, `ref` or `network`")
                .help(GRANT_FORMS);
            None
        }
        several => {
            let what = "a grant is a directory, a reference or a network, and only one of them";
            let finding = findings.error(Code::Contradiction, what);
            for entry in several.iter().flatten() {
                finding.label(&entry.key.span, "only one can stay");
            }
            None
        }
    }
}

fn read_network(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<PowerDraft> {
    let texts = entry.texts(findings)?;
    if texts.is_empty() {
        findings
            .error(
                Code::Contradiction,
                "an empty list of destinations allows nothing",
            )
            .label(&entry.span, "name at least one")
            .help("[\"any\"] allows every TCP address but special ones");
        return None;
    }
    let mut to: Vec<At<Destination>> = Vec::new();
    for text in &texts {
        match text.value.parse::<Destination>() {
            Ok(value) => match to.iter().find(|other| other.value == value) {
                Some(first) => {
                    findings
                        .error(Code::Duplicate, format!("{value} is given twice"))
                        .label(&text.span, "the same destination again")
                        .label(&first.span, "given here first");
                }
                None => to.push(At::new(value, text.span.clone())),
            },
            Err(error) => {
                findings
                    .error(Code::BadDestination, "this is not a destination to dial")
                    .label(&text.span, error.to_string())
                    .help("as \"any\", \"example.net:7447\", \"10.0.0.0/8\" or \"unix:/path\"");
            }
        }
    }
    // Fewer than were meant is not what was meant.
    (to.len() == texts.len()).then_some(PowerDraft::Network { to })
}

fn read_directory(grant: &Table<'_, '_>, findings: &mut Findings) -> Option<PowerDraft> {
    let path = grant
        .entry("dir")
        .and_then(|entry| path_of(&entry, findings));
    let rights = grant
        .entry("rights")
        .map(|entry| read_rights(&entry, findings));
    let create = grant
        .entry("create")
        .and_then(|entry| entry.boolean(findings));
    // Rights that could not be read must not become the slot's rights.
    let rights = match rights {
        Some(None) => return None,
        Some(Some(rights)) => Some(rights),
        None => None,
    };
    Some(PowerDraft::Directory {
        path: path?,
        rights,
        create: create.unwrap_or(false),
    })
}

fn read_named_power(text: &At<&str>, findings: &mut Findings) -> Option<PowerDraft> {
    let (message, label, help) = match text.value {
        "launcher.log" => return Some(PowerDraft::Log),
        "clock" => return Some(PowerDraft::Clock),
        // The text is not repeated: it may hold a secret.
        secret if secret.trim_start().starts_with("vat:") => (
            "a reference is a secret and does not belong into a manifest".to_owned(),
            "this is a reference itself",
            "write it into a file of mode 0600, and grant { ref = \"that-file.cap\" }",
        ),
        path if path.starts_with(['.', '/', '~']) => (
            format!("{path:?} is not a grant"),
            "a path alone does not say enough",
            DIRECTORY_EXAMPLE,
        ),
        cap if cap.ends_with(".cap") => (
            format!("{cap:?} is not a grant"),
            "a path alone does not say enough",
            "a reference file is granted as { ref = \"friend.cap\" }",
        ),
        other => (
            format!("{other:?} is not a grant"),
            "not known",
            GRANT_FORMS,
        ),
    };
    findings
        .error(Code::UnknownGrant, message)
        .label(&text.span, label)
        .help(help);
    None
}
