//! The second step: what lies between the parts, and what the file system says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::Findings;
use super::document::{CargoKind, Draft, ExposeDraft, SourceDraft, UseDraft};
use super::files::{self, Fence};
use super::grant::{GrantDraft, PowerDraft};
use super::table::{At, closest};
use super::{
    Builtin, CargoTarget, ChildExpose, ChildRules, ChildSource, Code, Expose, Grant, InterfaceName,
    Manifest, Power, Program, Rights, Route, RouteSource, Source, SupervisionRules, TargetKind,
    Use, VatName,
};
use crate::launch::build::package_folder;
use crate::launch::places::Places;
use crate::net::Destination;

const READ_ONLY: Rights = Rights {
    read: true,
    write: false,
};

/// Checks everything that can be known before starting. `path` is the manifest's, absolute.
pub(super) fn check(
    mut draft: Draft,
    path: &Path,
    places: &Places,
    findings: &mut Findings,
) -> Option<Manifest> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    let uses = check_uses(&draft.uses, findings);
    let source = draft
        .source
        .take()
        .and_then(|source| check_source(source, &folder, findings));
    let exposes = check_exposes(&draft.exposes, &folder, findings);
    let listen = check_listen(&draft.listen, findings);
    report_unfilled(&draft.uses, &draft.grants, findings);
    let mut fence = Fence::new(path, &folder, source.as_ref(), places);
    for grant in &draft.grants {
        fence.add_reference(grant);
    }
    let grants = check_grants(&draft, &folder, &fence, findings);
    report_own_sockets(&draft, &exposes, places, findings);
    let name = draft.name?;
    let program = Program {
        source: source?,
        confinement: draft.confinement,
    };
    let child = only_child(&name, program, &uses, &exposes, &grants, draft.supervision);
    Some(Manifest {
        path: path.to_owned(),
        folder,
        summary: draft.summary,
        uses,
        exposes: exposes
            .into_iter()
            .map(|expose| expose.of_child(&name))
            .collect(),
        listen,
        grants,
        children: vec![child],
        supervision: draft.supervision,
        name,
    })
}

/// `[program]` as a child: it has the ensemble's name and slots, and is granted what fills those.
fn only_child(
    name: &VatName,
    program: Program,
    uses: &[Use],
    exposes: &[CheckedExpose],
    grants: &[Grant],
    rules: SupervisionRules,
) -> ChildRules {
    let route = |grant: &Grant| Route {
        slot: grant.slot.clone(),
        from: RouteSource::Use(grant.slot.clone()),
        tag: None,
        rights: None,
    };
    ChildRules {
        name: name.clone(),
        path: name.to_string(),
        program,
        uses: uses.to_vec(),
        exposes: exposes.iter().map(|e| e.exposed.clone()).collect(),
        routes: grants.iter().map(route).collect(),
        restart: rules.restart,
        start_timeout: rules.start_timeout,
        stop_grace: rules.stop_grace,
    }
}

/// An exposed reference, before it is said which child's it is.
struct CheckedExpose {
    exposed: ChildExpose,
    socket: Option<PathBuf>,
}

impl CheckedExpose {
    fn of_child(self, child: &VatName) -> Expose {
        let ChildExpose { name, interface } = self.exposed;
        Expose {
            from: ChildSource {
                child: child.clone(),
                expose: name.clone(),
            },
            name,
            interface,
            socket: self.socket,
        }
    }
}

fn check_uses(drafts: &[UseDraft], findings: &mut Findings) -> Vec<Use> {
    drafts
        .iter()
        .filter_map(|draft| check_use(draft, findings))
        .collect()
}

fn check_use(draft: &UseDraft, findings: &mut Findings) -> Option<Use> {
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

fn has_rights(interface: &InterfaceName) -> bool {
    matches!(
        interface.builtin(),
        Some(Builtin::Directory | Builtin::File)
    )
}

fn check_source(source: SourceDraft, folder: &Path, findings: &mut Findings) -> Option<Source> {
    match source {
        SourceDraft::Exec(path) => {
            let program = files::resolve(folder, &path, findings)?;
            files::check_program(&program, &path.span, findings);
            Some(Source::Exec(program))
        }
        SourceDraft::Cargo {
            folder: written,
            package,
            kind,
            target,
            span,
        } => {
            let folder = match written {
                Some(written) => files::resolve(folder, &written, findings)?,
                None => folder.to_owned(),
            };
            if package_folder(&folder).is_none() {
                findings
                    .error(Code::NoCargoPackage, "there is no Cargo.toml here or above")
                    .label(&span, "nothing to build it from");
            }
            let target = match kind {
                CargoKind::Bin => TargetKind::Bin(target.value),
                CargoKind::Example => TargetKind::Example(target.value),
            };
            Some(Source::Cargo(CargoTarget {
                folder,
                package: package.value,
                target,
            }))
        }
    }
}

fn check_exposes(
    drafts: &[ExposeDraft],
    folder: &Path,
    findings: &mut Findings,
) -> Vec<CheckedExpose> {
    let mut sockets = BTreeMap::new();
    let mut exposes = Vec::new();
    for draft in drafts {
        let socket = draft.socket.as_ref().and_then(|written| {
            let path = files::resolve(folder, written, findings)?;
            files::check_socket(&path, &written.span, findings);
            if let Some(first) = sockets.insert(path.clone(), written) {
                findings
                    .error(Code::Duplicate, "two references cannot share one socket")
                    .label(&written.span, "the same socket again")
                    .label(&first.span, "given here first");
            }
            Some(path)
        });
        let Some(interface) = &draft.interface else {
            continue;
        };
        exposes.push(CheckedExpose {
            exposed: ChildExpose {
                name: draft.name.value.clone(),
                interface: interface.value.clone(),
            },
            socket,
        });
    }
    exposes
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

fn report_unfilled(uses: &[UseDraft], grants: &[GrantDraft], findings: &mut Findings) {
    for slot in uses.iter().filter(|slot| !slot.optional) {
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

fn check_grants(
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

/// Sockets of the ensemble itself: the launcher's, and those of exposed references.
fn report_own_sockets(
    draft: &Draft,
    exposes: &[CheckedExpose],
    places: &Places,
    findings: &mut Findings,
) {
    let of_launcher = draft
        .name
        .as_ref()
        .map(|name| places.runtime(name.as_str()));
    let of_launcher = of_launcher.map(|folder| files::canonical(&folder));
    let exposed: Vec<_> = exposes
        .iter()
        .filter_map(|expose| expose.socket.as_deref())
        .map(files::canonical)
        .collect();
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
