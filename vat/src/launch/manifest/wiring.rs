//! From the grants of a child to its routes: whether each leads from something that is there, and
//! fits.

use super::children::{ChildDraft, ChildExposeDraft};
use super::diagnostic::Findings;
use super::grant::{GrantDraft, PowerDraft};
use super::name::{InterfaceName, SlotName};
use super::routes::RouteDraft;
use super::slots::{self, UseDraft};
use super::table::{At, closest};
use super::{Builtin, Code, Rights, Route, RouteSource, Use, narrowing};

/// What routes can begin at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'d> {
    /// The slots of the ensemble.
    pub(super) uses: &'d [UseDraft],
    /// What fills them.
    pub(super) grants: &'d [GrantDraft],
    /// In start order.
    pub(super) children: &'d [ChildDraft],
}

/// What a child holds in the end.
#[derive(Debug, Default)]
pub(super) struct Wired<'d> {
    pub(super) uses: Vec<Use>,
    pub(super) routes: Vec<Route>,
    /// The directories of the ensemble that it may write, each with the grant that says so.
    pub(super) writes: Vec<(SlotName, &'d RouteDraft)>,
}

/// What a route begins at.
enum Found<'d> {
    Slot(&'d UseDraft),
    Expose(&'d ChildExposeDraft),
}

impl<'d> Found<'d> {
    fn interface(&self) -> Option<&'d At<InterfaceName>> {
        match self {
            Self::Slot(slot) => slot.interface.as_ref(),
            Self::Expose(expose) => expose.interface.as_ref(),
        }
    }
}

impl<'d> Sources<'d> {
    fn slot(&self, name: &str) -> Option<&'d UseDraft> {
        self.uses
            .iter()
            .find(|slot| slot.name.value.as_str() == name)
    }

    fn grant(&self, slot: &UseDraft) -> Option<&'d GrantDraft> {
        let name = slot.name.value.as_str();
        self.grants.iter().find(|grant| grant.slot.value == name)
    }

    /// Whether what fills the slot lies in another vat.
    fn is_elsewhere(&self, slot: &UseDraft) -> bool {
        let power = self.grant(slot).and_then(|grant| grant.power.as_ref());
        power.is_some_and(|power| matches!(power.value, PowerDraft::Reference { .. }))
    }

    /// What the child at `place` is given.
    pub(super) fn wire(&self, place: usize, findings: &mut Findings) -> Wired<'d> {
        let mut wired = Wired::default();
        let Some(child) = self.children.get(place) else {
            return wired;
        };
        wired.uses = child
            .uses
            .iter()
            .filter_map(|slot| slots::check(slot, findings))
            .collect();
        for route in &child.routes {
            self.follow(place, child, route, &mut wired, findings);
        }
        for slot in child
            .uses
            .iter()
            .filter(|slot| !slot.optional && !slot.later)
        {
            let name = slot.name.value.as_str();
            if !child.routes.iter().any(|route| route.slot.value == name) {
                self.report_unfilled(place, child, slot, findings);
            }
        }
        wired
    }

    /// One route: from its source into its slot.
    fn follow(
        &self,
        place: usize,
        child: &'d ChildDraft,
        route: &'d RouteDraft,
        wired: &mut Wired<'d>,
        findings: &mut Findings,
    ) {
        let slot = find_slot(child, route, findings);
        let found = route
            .from
            .as_ref()
            .and_then(|from| self.find(place, child, from, findings));
        let (Some(slot), Some(from), Some(found)) = (slot, &route.from, found) else {
            return;
        };
        report_tag(slot, route, &found, findings);
        if !fits(slot, from, &found, findings) {
            return;
        }
        let narrowed = match &found {
            Found::Slot(source) => {
                let source = (*source, self.is_elsewhere(source));
                narrowing::from_slot(slot, source, route, findings)
            }
            Found::Expose(_) => narrowing::from_child(slot, route, findings),
        };
        if let Found::Slot(source) = &found
            && self.grant(source).is_none()
        {
            if source.optional && !slot.optional {
                report_nothing_there(child, slot, source, from, findings);
            }
            return;
        }
        let name = slot.name.value.clone();
        if let Some(written) = wired.uses.iter_mut().find(|written| written.name == name) {
            written.rights = narrowed.held;
        }
        if let (Found::Slot(source), Some(Rights { write: true, .. })) = (&found, narrowed.held)
            && slot.interface.as_ref().and_then(|at| at.value.builtin()) == Some(Builtin::Directory)
        {
            wired.writes.push((source.name.value.clone(), route));
        }
        wired.routes.push(Route {
            slot: name,
            from: from.value.clone(),
            tag: route.tag.as_ref().map(|tag| tag.value.clone()),
            rights: narrowed.left,
        });
    }

    /// What a source names, if that is there when the child starts.
    fn find(
        &self,
        place: usize,
        to: &ChildDraft,
        from: &At<RouteSource>,
        findings: &mut Findings,
    ) -> Option<Found<'d>> {
        let (child, expose) = match &from.value {
            RouteSource::Use(name) => return self.find_slot(name, from, findings).map(Found::Slot),
            RouteSource::Child { child, expose } => (child.as_str(), expose),
        };
        let at = self
            .children
            .iter()
            .position(|other| other.key.value == child);
        if at == Some(place) {
            findings
                .error(
                    Code::OwnRoute,
                    format!("`{child}` cannot be granted what it exposes itself"),
                )
                .label(&from.span, "leads back to the same child")
                .help("a program has what it exposes without a grant; remove the slot");
            return None;
        }
        if let Some(later) = at
            .filter(|at| *at > place)
            .and_then(|at| self.children.get(at))
        {
            findings
                .error(
                    Code::LaterRoute,
                    format!("`{child}` starts later than `{}`", to.key.value),
                )
                .label(&from.span, "not there yet when it is needed")
                .label(&later.key.span, "declared here, further down")
                .help(format!(
                    "children start in the order of the text: move [children.{child}] above \
                     [children.{}]",
                    to.key.value
                ));
            return None;
        }
        self.find_expose(child, expose, from, findings)
            .map(|(_, expose)| Found::Expose(expose))
    }

    fn find_slot(
        &self,
        name: &SlotName,
        from: &At<RouteSource>,
        findings: &mut Findings,
    ) -> Option<&'d UseDraft> {
        let slot = self.slot(name.as_str());
        if slot.is_none() {
            let names = self.uses.iter().map(|slot| slot.name.value.as_str());
            let finding = findings.error(
                Code::UnknownRoute,
                format!("the ensemble has no slot `{name}`"),
            );
            finding.label(&from.span, "not declared in [use]");
            match closest(name.as_str(), names) {
                Some(meant) => finding.help(format!("did you mean \"use.{meant}\"?")),
                None => finding.help(format!("declare [use.{name}], and fill it in [run.grants]")),
            };
        }
        slot
    }

    /// What a child exposes, wherever it stands in the text.
    pub(super) fn find_expose(
        &self,
        child: &str,
        expose: &SlotName,
        from: &At<RouteSource>,
        findings: &mut Findings,
    ) -> Option<(&'d ChildDraft, &'d ChildExposeDraft)> {
        let Some(found) = self.children.iter().find(|other| other.key.value == child) else {
            let names = self.children.iter().map(|child| child.key.value.as_str());
            let finding =
                findings.error(Code::UnknownRoute, format!("there is no child `{child}`"));
            finding.label(&from.span, "not declared in [children]");
            match closest(child, names) {
                Some(meant) => finding.help(format!("did you mean \"children.{meant}.{expose}\"?")),
                None => finding.help(format!("declare [children.{child}] before it is used")),
            };
            return None;
        };
        let exposed = found.exposed(expose.as_str());
        if exposed.is_none() {
            let names = found.exposes.iter().map(|e| e.name.value.as_str());
            let finding = findings.error(
                Code::UnknownRoute,
                format!("`{child}` exposes no `{expose}`"),
            );
            finding
                .label(&from.span, "not exposed")
                .label(&found.key.span, "this child");
            match closest(expose.as_str(), names) {
                Some(meant) => finding.help(format!("did you mean \"children.{child}.{meant}\"?")),
                None => finding.help(format!(
                    "write into [children.{child}]: expose = {{ {expose} = \"package::Trait\" }}"
                )),
            };
        }
        exposed.map(|exposed| (found, exposed))
    }

    fn report_unfilled(
        &self,
        place: usize,
        child: &ChildDraft,
        slot: &UseDraft,
        findings: &mut Findings,
    ) {
        let (child, name) = (&child.key.value, &slot.name.value);
        let finding = findings.error(
            Code::Unfilled,
            format!("nobody fills the slot `{name}` of `{child}`"),
        );
        finding.label(&slot.name.span, "declared here, and not optional");
        let source = self.fitting(place, slot);
        finding.help(match source {
            Some(source) => format!("write into [children.{child}.grants]: {name} = \"{source}\""),
            None => format!(
                "write into [children.{child}.grants]: {name} = \"use.<slot>\" or \
                 \"children.<child>.<name>\""
            ),
        });
    }

    /// A source that would fit into the slot.
    fn fitting(&self, place: usize, slot: &UseDraft) -> Option<String> {
        let wanted = &slot.interface.as_ref()?.value;
        let fits = |found: &Option<At<InterfaceName>>| {
            found.as_ref().is_some_and(|found| found.value == *wanted)
        };
        if let Some(slot) = self.uses.iter().find(|slot| fits(&slot.interface)) {
            return Some(format!("use.{}", slot.name.value));
        }
        let exposed = self.children.iter().take(place).flat_map(|child| {
            let exposes = child.exposes.iter();
            exposes.map(move |expose| (&child.key.value, expose))
        });
        let mut exposed = exposed.filter(|(_, expose)| fits(&expose.interface));
        let (child, expose) = exposed.next()?;
        Some(format!("children.{child}.{}", expose.name.value))
    }
}

/// The slot of the child that a grant is for.
fn find_slot<'d>(
    child: &'d ChildDraft,
    route: &RouteDraft,
    findings: &mut Findings,
) -> Option<&'d UseDraft> {
    let name = route.slot.value.as_str();
    let slot = child
        .uses
        .iter()
        .find(|slot| slot.name.value.as_str() == name);
    if slot.is_none() {
        let child_name = &child.key.value;
        let finding = findings.error(
            Code::Unused,
            format!("`{child_name}` has no slot `{name}` to fill"),
        );
        finding.label(&route.slot.span, "not declared in its `use`");
        let names = child.uses.iter().map(|slot| slot.name.value.as_str());
        match closest(name, names) {
            Some(meant) => finding.help(format!("did you mean `{meant}`?")),
            None => finding.help(format!(
                "declare it in the `use` of [children.{child_name}], or remove the grant"
            )),
        };
    }
    slot
}

/// Whether both ends of a route have one interface; what could not be read has been reported.
fn fits(
    slot: &UseDraft,
    from: &At<RouteSource>,
    found: &Found<'_>,
    findings: &mut Findings,
) -> bool {
    let (Some(wanted), Some(given)) = (&slot.interface, found.interface()) else {
        return false;
    };
    if wanted.value == given.value {
        return true;
    }
    findings
        .error(
            Code::TypeMismatch,
            format!(
                "a {} cannot fill a slot of type {}",
                given.value, wanted.value
            ),
        )
        .label(&from.span, format!("this is a {}", given.value))
        .label(&wanted.span, format!("the slot takes a {}", wanted.value))
        .label(&given.span, "its type is given here")
        .help("give both the same type, or grant something else");
    false
}

fn report_tag(slot: &UseDraft, route: &RouteDraft, found: &Found<'_>, findings: &mut Findings) {
    let (Some(tag), Some(interface)) = (&route.tag, &slot.interface) else {
        return;
    };
    if interface.value.builtin() != Some(Builtin::LogSink) {
        findings
            .error(
                Code::TagOnNoLog,
                format!("a {} has no tag", interface.value),
            )
            .label(&tag.span, "only a LogSink is tagged")
            .label(&interface.span, "the slot is none")
            .help("remove the tag");
    } else if matches!(found, Found::Expose(_)) {
        findings
            .error(
                Code::NotSupported,
                "tags on logs that a child exposes are not supported by this version",
            )
            .label(&tag.span, "cannot be used yet")
            .help("remove the tag, or let the child expose a log that has one");
    }
}

fn report_nothing_there(
    child: &ChildDraft,
    slot: &UseDraft,
    source: &UseDraft,
    from: &At<RouteSource>,
    findings: &mut Findings,
) {
    findings
        .error(
            Code::Unfilled,
            format!(
                "`{}` needs `{}`, and nobody fills `use.{}`",
                child.key.value, slot.name.value, source.name.value
            ),
        )
        .label(&from.span, "leads from an empty slot")
        .label(&source.name.span, "optional, and not filled")
        .label(&slot.name.span, "not optional")
        .help("fill it in [run.grants], or write `optional = true` into the child's slot");
}

/// Slots of the ensemble that no child is granted, and directories that several may write.
pub(super) fn report_across(sources: &Sources<'_>, wired: &[Wired<'_>], findings: &mut Findings) {
    let leads_from = |route: &RouteDraft, slot: &SlotName| {
        let from = route.from.as_ref().map(|from| &from.value);
        matches!(from, Some(RouteSource::Use(name)) if name == slot)
    };
    for slot in sources.uses {
        let name = &slot.name.value;
        let mut routes = sources.children.iter().flat_map(|child| &child.routes);
        if !routes.any(|route| leads_from(route, name)) {
            findings
                .warning(
                    Code::SlotUnrouted,
                    format!("no child uses the slot `{name}`"),
                )
                .label(&slot.name.span, "declared here")
                .help(format!(
                    "grant it to a child as \"use.{name}\", or remove it"
                ));
        }
    }
    let mut writers: Vec<(&SlotName, &str, &RouteDraft)> = Vec::new();
    for (child, wired) in sources.children.iter().zip(wired) {
        let child = child.key.value.as_str();
        for (slot, route) in &wired.writes {
            if let Some((_, other, first)) = writers.iter().find(|(known, ..)| *known == slot) {
                report_two_writers(slot, (other, first), (child, route), findings);
            } else {
                writers.push((slot, child, route));
            }
        }
    }
}

fn report_two_writers(
    slot: &SlotName,
    first: (&str, &RouteDraft),
    second: (&str, &RouteDraft),
    findings: &mut Findings,
) {
    let place = |route: &RouteDraft| {
        let from = route.from.as_ref();
        from.map_or_else(|| route.slot.span.clone(), |from| from.span.clone())
    };
    let message = if first.0 == second.0 {
        format!("`{}` may write to `use.{slot}` through two slots", first.0)
    } else {
        format!(
            "`{}` and `{}` may both write to `use.{slot}`",
            first.0, second.0
        )
    };
    findings
        .warning(Code::TwoWriters, message)
        .label(&place(second.1), "writes here too")
        .label(&place(first.1), "writes here")
        .help("narrow one of them with rights = [\"read\"], or use separate directories");
}
