//! What `[run.grants]` puts into the slots of the ensemble: whether it fits and may be given.

use std::path::{Path, PathBuf};

use super::diagnostic::Findings;
use super::document::Draft;
use super::files::{self, Fence};
use super::grant::{GrantDraft, PowerDraft};
use super::slots::{READ_ONLY, UseDraft, has_rights};
use super::table::{At, closest};
use super::{Builtin, Code, Grant, InterfaceName, Power, Rights};
use crate::launch::places::Places;
use crate::net::Destination;

pub(super) fn check(
    draft: &Draft,
    folder: &Path,
    fence: &Fence,
    findings: &mut Findings,
) -> Vec<Grant> {
    let mut grants = Vec::new();
    let mut writers: Vec<(PathBuf, &GrantDraft)> = Vec::new();
    for written in &draft.grants {
        let slot = find_slot(&draft.uses, written, findings);
        let Some(power) = &written.power else {
            continue;
        };
        if let Some(interface) = slot.and_then(|slot| slot.interface.as_ref()) {
            report_mismatch(interface, power, findings);
        }
        let rights = rights_of(slot, power, findings);
        let Some(power) = check_power(power, rights, folder, fence, findings) else {
            continue;
        };
        if let Power::Directory { path, rights, .. } = &power
            && rights.write
        {
            let path = files::canonical(path);
            report_two_writers(&path, written, &writers, findings);
            writers.push((path, written));
        }
        if let Some(slot) = slot {
            grants.push(Grant {
                slot: slot.name.value.clone(),
                power,
            });
        }
    }
    grants
}

fn find_slot<'u>(
    uses: &'u [UseDraft],
    grant: &GrantDraft,
    findings: &mut Findings,
) -> Option<&'u UseDraft> {
    let name = grant.slot.value.as_str();
    let slot = uses.iter().find(|slot| slot.name.value.as_str() == name);
    if slot.is_none() {
        let finding = findings.error(Code::Unused, format!("there is no slot `{name}` to fill"));
        finding.label(&grant.slot.span, "not declared in [use]");
        match closest(name, uses.iter().map(|slot| slot.name.value.as_str())) {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")),
            None => finding.help(format!("declare [use.{name}], or remove the grant")),
        };
    }
    slot
}

fn report_mismatch(interface: &At<InterfaceName>, power: &At<PowerDraft>, findings: &mut Findings) {
    let given = match &power.value {
        PowerDraft::Directory { .. } => Builtin::Directory,
        PowerDraft::Log => Builtin::LogSink,
        PowerDraft::Clock => Builtin::Clock,
        PowerDraft::Network { .. } => Builtin::Network,
        PowerDraft::Reference { .. } => return,
    };
    let wanted = &interface.value;
    if wanted.builtin() == Some(given) {
        return;
    }
    let given = given.trait_name();
    findings
        .error(
            Code::TypeMismatch,
            format!("a {given} cannot fill a slot of type {wanted}"),
        )
        .label(&power.span, format!("this is a {given}"))
        .label(&interface.span, format!("the slot takes a {wanted}"));
}

/// The rights that a directory is granted with: the slot's, as both have to agree.
fn rights_of(slot: Option<&UseDraft>, power: &At<PowerDraft>, findings: &mut Findings) -> Rights {
    let PowerDraft::Directory {
        rights: granted, ..
    } = &power.value
    else {
        return READ_ONLY;
    };
    let declared = slot.and_then(|slot| slot.rights.as_ref());
    let wanted = declared.map_or(READ_ONLY, |at| at.value);
    let Some(granted) = granted else {
        return wanted;
    };
    let is_directory = slot
        .and_then(|slot| slot.interface.as_ref())
        .is_some_and(|interface| has_rights(&interface.value));
    if !is_directory {
        return granted.value;
    }
    let given = granted.value;
    let broader = (given.read && !wanted.read) || (given.write && !wanted.write);
    let narrower = (wanted.read && !given.read) || (wanted.write && !given.write);
    let (code, message, label) = if broader {
        (
            Code::TooBroad,
            "the grant allows more than the program asks for",
            "more than is asked for",
        )
    } else if narrower {
        (
            Code::TooNarrow,
            "the grant allows less than the program needs",
            "less than is needed",
        )
    } else {
        return given;
    };
    let finding = findings.error(code, message);
    finding.label(&granted.span, label);
    if let Some(declared) = declared {
        finding.label(&declared.span, "what the program asks for");
    } else if let Some(slot) = slot {
        finding.label(&slot.name.span, "asks for \"read\", as it has no `rights`");
    }
    finding.help("leave `rights` out of the grant to give exactly what the slot declares");
    given
}

fn check_power(
    power: &At<PowerDraft>,
    rights: Rights,
    folder: &Path,
    fence: &Fence,
    findings: &mut Findings,
) -> Option<Power> {
    match &power.value {
        PowerDraft::Log => Some(Power::Log),
        PowerDraft::Clock => Some(Power::Clock),
        PowerDraft::Network { to } => Some(Power::Network {
            to: to.iter().map(|at| at.value.clone()).collect(),
        }),
        PowerDraft::Directory {
            path: written,
            create,
            ..
        } => {
            let path = files::resolve(folder, written, findings)?;
            files::check_directory(&path, rights, *create, &written.span, findings);
            fence.check(&path, rights, &written.span, findings);
            Some(Power::Directory {
                path,
                rights,
                create: *create,
            })
        }
        PowerDraft::Reference { path: written } => {
            let path = files::resolve(folder, written, findings)?;
            files::check_reference(&path, &written.span, findings);
            Some(Power::Reference { path })
        }
    }
}

/// Reports grants that lead to sockets of the ensemble itself: the launcher's, and those of
/// exposed references.
pub(super) fn report_own_sockets(
    draft: &Draft,
    sockets: &[PathBuf],
    places: &Places,
    findings: &mut Findings,
) {
    let of_launcher = draft
        .name
        .as_ref()
        .map(|name| places.runtime(name.as_str()));
    let of_launcher = of_launcher.map(|folder| files::canonical(&folder));
    let exposed: Vec<_> = sockets.iter().map(|path| files::canonical(path)).collect();
    for at in draft.grants.iter().flat_map(destinations) {
        let Destination::Unix(path) = &at.value else {
            continue;
        };
        let path = files::canonical(path.as_path());
        let is_own = of_launcher
            .as_ref()
            .is_some_and(|own| path.starts_with(own));
        if is_own || exposed.contains(&path) {
            findings
                .error(Code::OwnSocket, "the grant leads back to its own launcher")
                .label(&at.span, "a socket of this ensemble");
        }
    }
}

fn destinations(grant: &GrantDraft) -> &[At<Destination>] {
    match grant.power.as_ref().map(|at| &at.value) {
        Some(PowerDraft::Network { to }) => to,
        _ => &[],
    }
}

fn report_two_writers(
    path: &Path,
    grant: &GrantDraft,
    writers: &[(PathBuf, &GrantDraft)],
    findings: &mut Findings,
) {
    let overlap = writers
        .iter()
        .find(|(other, _)| path.starts_with(other) || other.starts_with(path));
    let Some((_, other)) = overlap else { return };
    let span = |grant: &GrantDraft| {
        grant
            .power
            .as_ref()
            .map_or(0..0, |power| power.span.clone())
    };
    findings
        .error(
            Code::TwoWriters,
            format!(
                "`{}` and `{}` may both write to the same directory",
                other.slot.value, grant.slot.value
            ),
        )
        .label(&span(grant), "writes here too")
        .label(&span(other), "writes here")
        .help("grant separate directories, or \"write\" to one slot only");
}

/// Reports slots that need a grant and have none.
pub(super) fn report_unfilled(uses: &[UseDraft], grants: &[GrantDraft], findings: &mut Findings) {
    for slot in uses.iter().filter(|slot| !slot.optional && !slot.later) {
        let name = slot.name.value.as_str();
        if grants.iter().any(|grant| grant.slot.value == name) {
            continue;
        }
        let finding = findings.error(Code::Unfilled, format!("nobody fills the slot `{name}`"));
        finding.label(&slot.name.span, "declared here, and not optional");
        if let Some(interface) = &slot.interface {
            finding.help(format!(
                "write into [run.grants]: {}",
                example(name, &interface.value)
            ));
        }
    }
}

/// A grant that would fill a slot of this interface.
fn example(slot: &str, interface: &InterfaceName) -> String {
    match interface.builtin() {
        Some(Builtin::Directory) => format!("{slot} = {{ dir = \"./{slot}\", create = true }}"),
        Some(Builtin::LogSink) => format!("{slot} = \"launcher.log\""),
        Some(Builtin::Clock) => format!("{slot} = \"clock\""),
        Some(Builtin::Network) => format!("{slot} = {{ network = [\"any\"] }}"),
        Some(Builtin::File) | None => format!("{slot} = {{ ref = \"{slot}.cap\" }}"),
    }
}
