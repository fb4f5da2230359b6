//! The second step: what lies between the parts, and what the file system says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::children::{ChildDraft, ChildExposeDraft};
use super::diagnostic::Findings;
use super::document::{Draft, ExposeDraft};
use super::files::{self, Fence};
use super::table::At;
use super::wiring::{self, Sources, Wired};
use super::{
    ChildExpose, ChildRules, ChildSource, Code, Expose, Grant, InterfaceName, Manifest, Program,
    Route, RouteSource, SupervisionRules, Use, VatName, granted, program, slots,
};
use crate::launch::places::Places;

/// Checks everything that can be known before starting. `path` is the manifest's, absolute.
pub(super) fn check(
    draft: &Draft,
    path: &Path,
    places: &Places,
    findings: &mut Findings,
) -> Option<Manifest> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    let uses: Vec<_> = draft
        .uses
        .iter()
        .filter_map(|slot| slots::check(slot, findings))
        .collect();
    let only = draft
        .program
        .as_ref()
        .and_then(|program| program::check(program, &folder, findings));
    let children = draft.children.as_deref().unwrap_or_default();
    let programs: Vec<_> = children
        .iter()
        .map(|child| program::check(&child.program, &folder, findings))
        .collect();
    let sockets = check_sockets(&draft.exposes, &folder, findings);
    let listen = check_listen(&draft.listen, findings);
    granted::report_unfilled(&draft.uses, &draft.grants, findings);
    let fence = fence(draft, only.as_ref(), &programs, (path, &folder), places);
    let grants = granted::check(draft, &folder, &fence, findings);
    let own: Vec<_> = sockets.iter().flatten().cloned().collect();
    granted::report_own_sockets(draft, &own, places, findings);
    let sources = Sources {
        uses: &draft.uses,
        grants: &draft.grants,
        children,
    };
    let wired = wire(&sources, draft.children.is_some(), findings);
    let name = draft.name.clone()?;
    let exposes = check_exposes(draft, &sources, sockets, findings);
    let children = match only {
        Some(program) => vec![only_child(
            &name,
            program,
            &uses,
            &exposes,
            &grants,
            draft.supervision,
        )],
        None => {
            let parts = children.iter().zip(programs).zip(wired);
            let rules = parts.map(|((child, program), wired)| {
                child_rules(&name, child, program?, wired, draft.supervision)
            });
            rules.collect::<Option<_>>()?
        }
    };
    Some(Manifest {
        path: path.to_owned(),
        folder,
        name,
        summary: draft.summary.clone(),
        uses,
        exposes,
        listen,
        grants,
        children,
        supervision: draft.supervision,
    })
}

fn fence(
    draft: &Draft,
    only: Option<&Program>,
    programs: &[Option<Program>],
    (path, folder): (&Path, &Path),
    places: &Places,
) -> Fence {
    let mut fence = Fence::new(path, folder, places);
    if let Some(program) = only {
        fence.add_program(&program.source, None);
    }
    let children = draft.children.iter().flatten();
    for (child, program) in children.zip(programs) {
        if let Some(program) = program {
            fence.add_program(&program.source, Some(&child.key.value));
        }
    }
    for grant in &draft.grants {
        fence.add_reference(grant);
    }
    fence
}

/// What each child is given, in start order.
fn wire<'d>(sources: &Sources<'d>, several: bool, findings: &mut Findings) -> Vec<Wired<'d>> {
    if !several {
        return Vec::new();
    }
    let wired: Vec<_> = (0..sources.children.len())
        .map(|place| sources.wire(place, findings))
        .collect();
    wiring::report_across(sources, &wired, findings);
    wired
}

fn child_rules(
    ensemble: &VatName,
    draft: &ChildDraft,
    program: Program,
    wired: Wired<'_>,
    rules: SupervisionRules,
) -> Option<ChildRules> {
    let name = draft.name.clone()?;
    let exposed = |expose: &ChildExposeDraft| {
        Some(ChildExpose {
            name: expose.name.value.clone(),
            interface: expose.interface.as_ref()?.value.clone(),
        })
    };
    Some(ChildRules {
        path: format!("{ensemble}/{name}"),
        name,
        program,
        uses: wired.uses,
        exposes: draft.exposes.iter().filter_map(exposed).collect(),
        routes: wired.routes,
        restart: draft.restart.unwrap_or(rules.restart),
        start_timeout: draft.start_timeout.unwrap_or(rules.start_timeout),
        stop_grace: draft.stop_grace.unwrap_or(rules.stop_grace),
    })
}

/// `[program]` as a child: it has the ensemble's name and slots, and is granted what fills those.
fn only_child(
    name: &VatName,
    program: Program,
    uses: &[Use],
    exposes: &[Expose],
    grants: &[Grant],
    rules: SupervisionRules,
) -> ChildRules {
    let route = |grant: &Grant| Route {
        slot: grant.slot.clone(),
        from: RouteSource::Use(grant.slot.clone()),
        tag: None,
        rights: None,
    };
    let exposed = |expose: &Expose| ChildExpose {
        name: expose.name.clone(),
        interface: expose.interface.clone(),
    };
    ChildRules {
        name: name.clone(),
        path: name.to_string(),
        program,
        uses: uses.to_vec(),
        exposes: exposes.iter().map(exposed).collect(),
        routes: grants.iter().map(route).collect(),
        restart: rules.restart,
        start_timeout: rules.start_timeout,
        stop_grace: rules.stop_grace,
    }
}

/// The sockets of exposed references: one or none for each.
fn check_sockets(
    drafts: &[ExposeDraft],
    folder: &Path,
    findings: &mut Findings,
) -> Vec<Option<PathBuf>> {
    let mut sockets = BTreeMap::new();
    let mut check = |draft: &ExposeDraft| {
        let written = draft.socket.clone()?;
        let path = files::resolve(folder, &written, findings)?;
        files::check_socket(&path, &written.span, findings);
        let span = written.span.clone();
        if let Some(first) = sockets.insert(path.clone(), span) {
            findings
                .error(Code::Duplicate, "two references cannot share one socket")
                .label(&written.span, "the same socket again")
                .label(&first, "given here first");
        }
        Some(path)
    };
    drafts.iter().map(&mut check).collect()
}

fn check_exposes(
    draft: &Draft,
    sources: &Sources<'_>,
    sockets: Vec<Option<PathBuf>>,
    findings: &mut Findings,
) -> Vec<Expose> {
    let mut exposes = Vec::new();
    for (expose, socket) in draft.exposes.iter().zip(sockets) {
        let found = if draft.children.is_some() {
            expose_of_child(expose, sources, findings)
        } else {
            expose_of_program(expose, draft)
        };
        if let Some((interface, from)) = found {
            exposes.push(Expose {
                name: expose.name.value.clone(),
                interface,
                socket,
                from,
            });
        }
    }
    exposes
}

fn expose_of_program(expose: &ExposeDraft, draft: &Draft) -> Option<(InterfaceName, ChildSource)> {
    let from = ChildSource {
        child: draft.name.clone()?,
        expose: expose.name.value.clone(),
    };
    Some((expose.interface.as_ref()?.value.clone(), from))
}

/// What a child exposes is the ensemble's too, with the same interface.
fn expose_of_child(
    expose: &ExposeDraft,
    sources: &Sources<'_>,
    findings: &mut Findings,
) -> Option<(InterfaceName, ChildSource)> {
    let from = expose.from.as_ref()?;
    let RouteSource::Child {
        child,
        expose: name,
    } = &from.value
    else {
        findings
            .error(
                Code::BadRoute,
                "an ensemble gives back only what its children expose",
            )
            .label(&from.span, "a slot is what the ensemble is given")
            .help("write \"children.<child>.<name>\"");
        return None;
    };
    let (_, exposed) = sources.find_expose(child.as_str(), name, from, findings)?;
    let interface = exposed.interface.as_ref()?;
    if let Some(written) = expose
        .interface
        .as_ref()
        .filter(|written| written.value != interface.value)
    {
        findings
            .error(
                Code::TypeMismatch,
                format!(
                    "`{child}` exposes a {}, not a {}",
                    interface.value, written.value
                ),
            )
            .label(&written.span, "another type than the child's")
            .label(&interface.span, "what the child exposes")
            .help("leave `type` out: it is the child's");
    }
    let source = ChildSource {
        child: child.clone(),
        expose: name.clone(),
    };
    Some((interface.value.clone(), source))
}

fn check_listen(drafts: &[At<SocketAddr>], findings: &mut Findings) -> Vec<SocketAddr> {
    let mut seen: BTreeMap<SocketAddr, &At<SocketAddr>> = BTreeMap::new();
    for draft in drafts {
        if draft.value.ip().is_unspecified() {
            findings
                .warning(
                    Code::Undialable,
                    format!("{} cannot be dialled", draft.value.ip()),
                )
                .label(&draft.span, "references would carry this address")
                .help("listen on the address that others will dial");
        }
        // Port 0 means another port each time.
        if draft.value.port() != 0
            && let Some(first) = seen.insert(draft.value, draft)
        {
            findings
                .error(
                    Code::Duplicate,
                    format!("{} is listened on twice", draft.value),
                )
                .label(&draft.span, "the same address again")
                .label(&first.span, "given here first");
        }
    }
    drafts.iter().map(|draft| draft.value).collect()
}
