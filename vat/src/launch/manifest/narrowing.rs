//! Rights on the way from a slot of the ensemble into one of a child: never more, perhaps less.

use super::diagnostic::Findings;
use super::routes::RouteDraft;
use super::slots::{READ_ONLY, UseDraft, has_rights};
use super::table::At;
use super::{Builtin, Code, Rights};

/// What comes out of a route.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Narrowed {
    /// What the child has; None where nothing is known of rights.
    pub(super) held: Option<Rights>,
    /// What the launcher leaves of the source's rights; None: all of them.
    pub(super) left: Option<Rights>,
}

/// The rights of a slot that is filled from a slot of the ensemble. A child's slot that says
/// nothing takes what it is given: the ensemble's slot and the grant have said it already.
/// `elsewhere`: the source is in another vat, which has a facet for reading only.
pub(super) fn from_slot(
    slot: &UseDraft,
    (source, elsewhere): (&UseDraft, bool),
    route: &RouteDraft,
    findings: &mut Findings,
) -> Narrowed {
    let interface = slot.interface.as_ref().map(|at| &at.value);
    if !interface.is_some_and(has_rights) {
        report_without_rights(slot, route, findings);
        return Narrowed::default();
    }
    let ceiling = source.rights.as_ref().map_or(READ_ONLY, |at| at.value);
    let whole = Narrowed {
        held: Some(ceiling),
        left: None,
    };
    let is_file = interface.and_then(|name| name.builtin()) == Some(Builtin::File);
    let chosen = route.rights.as_ref();
    if let (true, Some(chosen)) = (is_file, chosen) {
        report_only_directories(chosen, "a File is passed on as it is", findings);
        return whole;
    }
    let asked = [chosen, slot.rights.as_ref()];
    for asked in asked.into_iter().flatten() {
        if exceeds(asked.value, ceiling) {
            report_beyond(asked, source, findings);
            return whole;
        }
    }
    if let (Some(chosen), Some(declared)) = (chosen, &slot.rights)
        && chosen.value != declared.value
    {
        report_disagreement(chosen, declared, findings);
        return whole;
    }
    let held = chosen.or(slot.rights.as_ref());
    let rights = held.map_or(ceiling, |at| at.value);
    // What lies in another vat may allow more than the slot declares: nobody has opened it with less.
    let may_be_more = elsewhere && !is_file && !(rights.read && rights.write);
    if rights == ceiling && !may_be_more {
        return whole;
    }
    if is_file || (elsewhere && !rights.read) {
        if let Some(held) = held.or(source.rights.as_ref()) {
            report_impossible(held, is_file, findings);
        }
        return whole;
    }
    Narrowed {
        held: Some(rights),
        left: Some(rights),
    }
}

/// Of what a child exposes, nobody else knows what it allows.
pub(super) fn from_child(slot: &UseDraft, route: &RouteDraft, findings: &mut Findings) -> Narrowed {
    let interface = slot.interface.as_ref().map(|at| &at.value);
    if !interface.is_some_and(has_rights) {
        report_without_rights(slot, route, findings);
        return Narrowed::default();
    }
    let why = "the child that exposes it decides what it allows";
    for rights in [&route.rights, &slot.rights].into_iter().flatten() {
        report_only_directories(rights, why, findings);
    }
    Narrowed::default()
}

fn exceeds(rights: Rights, ceiling: Rights) -> bool {
    (rights.read && !ceiling.read) || (rights.write && !ceiling.write)
}

fn report_without_rights(slot: &UseDraft, route: &RouteDraft, findings: &mut Findings) {
    if let (Some(rights), Some(interface)) = (&route.rights, &slot.interface) {
        findings
            .error(
                Code::NoRightsHere,
                format!("a {} has no rights to choose", interface.value),
            )
            .label(&rights.span, "does not apply")
            .label(&interface.span, "only a Directory is narrowed by rights")
            .help("remove `rights` from the grant");
    }
}

fn report_only_directories(rights: &At<Rights>, why: &str, findings: &mut Findings) {
    findings
        .error(
            Code::NoRightsHere,
            "only directories of the ensemble's slots are narrowed by rights",
        )
        .label(&rights.span, why)
        .help("remove `rights` here");
}

fn report_beyond(asked: &At<Rights>, source: &UseDraft, findings: &mut Findings) {
    let name = &source.name.value;
    let finding = findings.error(
        Code::TooBroad,
        format!("more than the ensemble's slot `{name}` declares"),
    );
    finding.label(&asked.span, "more than there is to pass on");
    match &source.rights {
        Some(rights) => finding.label(&rights.span, "what the ensemble asks for"),
        None => finding.label(
            &source.name.span,
            "asks for \"read\", as it has no `rights`",
        ),
    };
    finding.help(format!(
        "ask for less, or let [use.{name}] and its grant have more"
    ));
}

fn report_disagreement(chosen: &At<Rights>, declared: &At<Rights>, findings: &mut Findings) {
    let (code, message, label) = if exceeds(chosen.value, declared.value) {
        (
            Code::TooBroad,
            "the grant allows more than the child asks for",
            "more than is asked for",
        )
    } else {
        (
            Code::TooNarrow,
            "the grant allows less than the child needs",
            "less than is needed",
        )
    };
    findings
        .error(code, message)
        .label(&chosen.span, label)
        .label(&declared.span, "what the child asks for")
        .help("leave `rights` out of the grant to give exactly what the slot declares");
}

fn report_impossible(held: &At<Rights>, is_file: bool, findings: &mut Findings) {
    let (what, help) = if is_file {
        (
            "files that are narrowed on the way",
            "give both slots the same rights",
        )
    } else {
        (
            "directories of other vats that are narrowed to \"write\" alone",
            "narrow it to \"read\", or leave it whole",
        )
    };
    findings
        .error(
            Code::NotSupported,
            format!("{what} are not supported by this version"),
        )
        .label(&held.span, "less than the ensemble's slot declares")
        .help(help);
}
