//! Slots: what an ensemble or a program needs, read and checked for itself.

use toml::de::DeValue;

use super::diagnostic::Findings;
use super::document::name_of;
use super::name::{InterfaceName, SlotName};
use super::table::{At, Entry, Known, Table, word};
use super::{Builtin, Code, Rights, Use};

/// A slot as far as it could be read.
#[derive(Debug)]
pub(super) struct UseDraft {
    pub(super) name: At<SlotName>,
    /// None: it was there, but wrong, and has been reported.
    pub(super) interface: Option<At<InterfaceName>>,
    pub(super) rights: Option<At<Rights>>,
    pub(super) optional: bool,
    /// Its type is one that only a later version has: nothing could fill it.
    pub(super) later: bool,
}

/// What a directory or file may be used for, where nothing is said.
pub(super) const READ_ONLY: Rights = Rights {
    read: true,
    write: false,
};

/// Interfaces that a later version knows, without a package like the built-in ones.
const LATER: [&str; 6] = ["Listener", "Timer", "Entropy", "Secret", "Exec", "Spawner"];

/// Reads a table of slots: `[use]`.
pub(super) fn read_all(entry: &Entry<'_, '_>, findings: &mut Findings) -> Vec<UseDraft> {
    let entries = entry.names(findings).map(|table| table.entries());
    entries
        .iter()
        .flatten()
        .filter_map(|entry| read_use(entry, findings))
        .collect()
}

/// Reads the slots of a child, where a slot may be its type alone.
pub(super) fn read_short(entry: &Entry<'_, '_>, findings: &mut Findings) -> Vec<UseDraft> {
    let entries = entry.names(findings).map(|table| table.entries());
    let read = |entry: &Entry<'_, '_>| match entry.value {
        DeValue::String(_) => Some(UseDraft {
            name: slot_name(entry, findings)?,
            interface: interface_named(entry, findings),
            rights: None,
            optional: false,
            later: is_later(entry),
        }),
        _ => read_use(entry, findings),
    };
    entries.iter().flatten().filter_map(read).collect()
}

fn read_use(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<UseDraft> {
    let name = slot_name(entry, findings);
    let slot = entry.table(Known::keys(&["type", "rights", "optional"]), findings)?;
    let interface = interface_of(&slot, findings);
    let rights = slot
        .entry("rights")
        .and_then(|entry| read_rights(&entry, findings));
    let optional = slot
        .entry("optional")
        .and_then(|entry| entry.boolean(findings));
    Some(UseDraft {
        name: name?,
        interface,
        rights,
        optional: optional.unwrap_or(false),
        later: slot.entry("type").is_some_and(|entry| is_later(&entry)),
    })
}

/// A slot's or exposed reference's name: the key of its table.
pub(super) fn slot_name(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<SlotName>> {
    let name = name_of(&entry.key, SlotName::parse, findings)?;
    Some(At::new(name, entry.key.span.clone()))
}

/// The interface that the `type` of a table names; it has to be there.
pub(super) fn interface_of(
    table: &Table<'_, '_>,
    findings: &mut Findings,
) -> Option<At<InterfaceName>> {
    interface_named(&table.required("type", findings)?, findings)
}

fn is_later(entry: &Entry<'_, '_>) -> bool {
    matches!(entry.value, DeValue::String(text) if LATER.contains(&text.as_ref()))
}

/// The interface that a text names.
pub(super) fn interface_named(
    entry: &Entry<'_, '_>,
    findings: &mut Findings,
) -> Option<At<InterfaceName>> {
    let text = entry.text(findings)?;
    if is_later(entry) {
        let message = format!(
            "slots of type {} are not supported by this version",
            text.value
        );
        findings
            .error(Code::NotSupported, message)
            .label(&text.span, "cannot be used yet")
            .help(format!("this version has {}", Builtin::list()));
        return None;
    }
    match InterfaceName::parse(text.value) {
        Ok(name) => Some(At::new(name, text.span)),
        Err(error) => {
            let message = format!("{:?} is not the name of an interface", text.value);
            findings
                .error(Code::BadInterface, message)
                .label(&text.span, error.to_string());
            None
        }
    }
}

pub(super) fn read_rights(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<Rights>> {
    let words = entry.texts(findings)?;
    if words.is_empty() {
        findings
            .error(
                Code::Contradiction,
                "an empty list of rights allows nothing",
            )
            .label(&entry.span, "name at least one right: \"read\", \"write\"");
        return None;
    }
    let mut rights = Rights {
        read: false,
        write: false,
    };
    for text in &words {
        let path = entry.path.as_str();
        match word(text, path, &[("read", false), ("write", true)], findings)? {
            true => rights.write = true,
            false => rights.read = true,
        }
    }
    Some(At::new(rights, entry.span.clone()))
}

/// A slot whose rights are what its own text says.
pub(super) fn check(draft: &UseDraft, findings: &mut Findings) -> Option<Use> {
    let interface = draft.interface.as_ref()?;
    let has_rights = has_rights(&interface.value);
    if let (Some(rights), false) = (&draft.rights, has_rights) {
        findings
            .error(
                Code::NoRightsHere,
                format!("a {} has no rights to choose", interface.value),
            )
            .label(&rights.span, "does not apply")
            .label(&interface.span, "only Directory and File have rights");
    }
    let declared = draft
        .rights
        .as_ref()
        .map_or(READ_ONLY, |rights| rights.value);
    Some(Use {
        name: draft.name.value.clone(),
        interface: interface.value.clone(),
        rights: has_rights.then_some(declared),
        optional: draft.optional,
    })
}

/// Whether something of this interface has rights to choose.
pub(super) fn has_rights(interface: &InterfaceName) -> bool {
    matches!(
        interface.builtin(),
        Some(Builtin::Directory | Builtin::File)
    )
}
