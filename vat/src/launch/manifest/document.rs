//! The first step: from TOML to typed values with their places.

use std::net::SocketAddr;
use std::ops::Range;

use toml::de::DeTable;

use super::Code;
use super::Rights;
use super::diagnostic::Findings;
use super::grant::{self, GrantDraft};
use super::name::{InterfaceName, NameError, SlotName, VatName};
use super::supervise::{self, SupervisionRules};
use super::table::{At, Entry, Known, Later, Table, word};
use crate::launch::confine::Level;

/// What the text says, each part as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<VatName>,
    pub(super) summary: Option<String>,
    pub(super) source: Option<SourceDraft>,
    pub(super) confinement: Level,
    pub(super) uses: Vec<UseDraft>,
    pub(super) exposes: Vec<ExposeDraft>,
    pub(super) listen: Vec<At<SocketAddr>>,
    pub(super) grants: Vec<GrantDraft>,
    pub(super) supervision: SupervisionRules,
}

#[derive(Debug)]
pub(super) enum SourceDraft {
    Exec(At<String>),
    Cargo {
        /// Where Cargo runs; without it, in the manifest's folder.
        folder: Option<At<String>>,
        package: At<String>,
        kind: CargoKind,
        target: At<String>,
        span: Range<usize>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CargoKind {
    Bin,
    Example,
}

#[derive(Debug)]
pub(super) struct UseDraft {
    pub(super) name: At<SlotName>,
    /// None: it was there, but wrong, and has been reported.
    pub(super) interface: Option<At<InterfaceName>>,
    pub(super) rights: Option<At<Rights>>,
    pub(super) optional: bool,
}

#[derive(Debug)]
pub(super) struct ExposeDraft {
    pub(super) name: At<SlotName>,
    pub(super) interface: Option<At<InterfaceName>>,
    pub(super) socket: Option<At<String>>,
}

const ROOT: Known = Known {
    keys: &[
        "manifest",
        "vat",
        "program",
        "use",
        "expose",
        "run",
        "supervisor",
    ],
    later: &[
        Later {
            key: "children",
            what: "children",
        },
        Later {
            key: "pool",
            what: "pools",
        },
        Later {
            key: "upgrade",
            what: "upgrade rules",
        },
        Later {
            key: "kind",
            what: "kinds of manifests other than a program's",
        },
        Later {
            key: "site",
            what: "sites",
        },
        Later {
            key: "machines",
            what: "sites and their machines",
        },
        Later {
            key: "import",
            what: "imports of a site",
        },
        Later {
            key: "deploy",
            what: "deployments of a site",
        },
        Later {
            key: "export",
            what: "exports of a site",
        },
        Later {
            key: "balancer",
            what: "balancers of a site",
        },
        Later {
            key: "console",
            what: "consoles of a site",
        },
    ],
};

const PROGRAM: Known = Known {
    keys: &["exec", "cargo", "confinement"],
    later: &[
        Later {
            key: "durable",
            what: "durable stores",
        },
        Later {
            key: "health",
            what: "health checks",
        },
        Later {
            key: "limits",
            what: "resource limits",
        },
        Later {
            key: "replicas",
            what: "replicas",
        },
    ],
};

const EXPOSE: Known = Known {
    keys: &["type", "socket"],
    later: &[Later {
        key: "from",
        what: "references exposed by children",
    }],
};

/// Reads the text, as far as it goes.
pub(super) fn read(text: &str, findings: &mut Findings) -> Draft {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        report_syntax(&errors, text, findings);
        return Draft::default();
    }
    let root = Table::with_keys(document.get_ref(), "", 0..0, ROOT, findings);
    let mut draft = Draft::default();
    read_version(&root, findings);
    if let Some(vat) = root.required("vat", findings) {
        read_vat(&vat, &mut draft, findings);
    }
    if root.entry("program").is_some() || root.entry("children").is_none() {
        read_program(&root, &mut draft, findings);
    }
    if let Some(uses) = root.entry("use").and_then(|entry| entry.names(findings)) {
        draft.uses = uses
            .entries()
            .iter()
            .filter_map(|e| read_use(e, findings))
            .collect();
    }
    if let Some(exposes) = root.entry("expose").and_then(|entry| entry.names(findings)) {
        draft.exposes = exposes
            .entries()
            .iter()
            .filter_map(|e| read_expose(e, findings))
            .collect();
    }
    if let Some(run) = root.entry("run") {
        read_run(&run, &mut draft, findings);
    }
    if let Some(entry) = root.entry("supervisor") {
        draft.supervision = supervise::read(&entry, findings);
    }
    draft
}

fn report_syntax(errors: &[toml::de::Error], text: &str, findings: &mut Findings) {
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        // The parser's message may have lines of its own about what it expected.
        let mut lines = error.message().lines();
        let first = lines.next().unwrap_or("malformed");
        let finding = findings.error(Code::Syntax, format!("not TOML: {first}"));
        finding.label(&span, "here");
        let rest: Vec<_> = lines.collect();
        if !rest.is_empty() {
            finding.help(rest.join("; "));
        }
    }
}

fn read_version(root: &Table<'_, '_>, findings: &mut Findings) {
    let Some(entry) = root.entry("manifest") else {
        findings
            .error(
                Code::Version,
                "the manifest does not say which version it is",
            )
            .label(&(0..0), "begins without it")
            .help("begin with `manifest = 1`");
        return;
    };
    let version = entry.number(u32::MAX, findings);
    if let Some(version) = version.filter(|version| version.value != 1) {
        findings
            .error(
                Code::Version,
                format!("manifest version {} is not known", version.value),
            )
            .label(&version.span, "not a version this program reads")
            .help("this program reads `manifest = 1`");
    }
}

fn read_vat(entry: &Entry<'_, '_>, draft: &mut Draft, findings: &mut Findings) {
    let Some(vat) = entry.table(Known::keys(&["name", "summary"]), findings) else {
        return;
    };
    let name = vat
        .required("name", findings)
        .and_then(|entry| entry.text(findings));
    draft.name = name.and_then(|text| name_of(&text, VatName::parse, findings));
    draft.summary = vat
        .entry("summary")
        .and_then(|entry| entry.text(findings))
        .map(|text| text.value.to_owned());
}

/// Parses a name, or reports it.
fn name_of<T>(
    text: &At<&str>,
    parse: fn(&str) -> Result<T, NameError>,
    findings: &mut Findings,
) -> Option<T> {
    match parse(text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            findings
                .error(Code::BadName, format!("{:?} cannot be a name", text.value))
                .label(&text.span, error.to_string());
            None
        }
    }
}

fn read_program(root: &Table<'_, '_>, draft: &mut Draft, findings: &mut Findings) {
    let Some(entry) = root.required("program", findings) else {
        return;
    };
    let Some(program) = entry.table(PROGRAM, findings) else {
        return;
    };
    read_confinement(&program, draft, findings);
    let (exec, cargo) = (program.entry("exec"), program.entry("cargo"));
    match (exec, cargo) {
        (Some(exec), None) => draft.source = read_exec(&exec, findings),
        (None, Some(cargo)) => draft.source = read_cargo(&cargo, findings),
        (Some(exec), Some(cargo)) => {
            findings
                .error(
                    Code::Contradiction,
                    "a program is named by `exec` or by `cargo`, not both",
                )
                .label(&cargo.key.span, "one of the two has to go")
                .label(&exec.key.span, "the other one");
        }
        (None, None) => {
            findings
                .error(Code::MissingKey, "[program] does not say which program")
                .label(&program.span, "needs `exec` or `cargo`")
                .help("exec = \"./hello\", or cargo = { package = \"hello\", bin = \"hello\" }");
        }
    }
}

/// L2 and L3; the weaker levels are words too, but nothing starts with them.
fn read_confinement(program: &Table<'_, '_>, draft: &mut Draft, findings: &mut Findings) {
    let levels = [
        ("L2", Level::L2),
        ("L3", Level::L3),
        ("L1", Level::L1),
        ("L0", Level::L0),
    ];
    let entry = program.entry("confinement");
    let Some(level) = entry.and_then(|entry| entry.word(&levels, findings)) else {
        return;
    };
    if level.value >= Level::L2 {
        draft.confinement = level.value;
        return;
    }
    findings
        .error(
            Code::WeakConfinement,
            "no program starts below confinement level L2",
        )
        .label(&level.span, "too weak")
        .help("write \"L2\" or \"L3\", or leave it out: the default is \"L2\"");
}

fn read_exec(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<SourceDraft> {
    Some(SourceDraft::Exec(path_of(entry, findings)?))
}

/// A path: text that is not empty and has no NUL.
pub(super) fn path_of(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<String>> {
    let text = entry.text(findings)?;
    if text.value.is_empty() || text.value.contains('\0') {
        findings
            .error(Code::BadPath, format!("`{}` is not a path", entry.path))
            .label(
                &text.span,
                if text.value.is_empty() {
                    "empty"
                } else {
                    "contains NUL"
                },
            );
        return None;
    }
    Some(At::new(text.value.to_owned(), text.span))
}

fn read_cargo(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<SourceDraft> {
    let cargo = entry.table(
        Known::keys(&["package", "bin", "example", "folder"]),
        findings,
    )?;
    let package = cargo
        .required("package", findings)
        .and_then(|e| cargo_name(&e, findings));
    let folder = cargo.entry("folder").map(|entry| path_of(&entry, findings));
    let (kind, target) = match (cargo.entry("bin"), cargo.entry("example")) {
        (Some(bin), None) => (CargoKind::Bin, cargo_name(&bin, findings)?),
        (None, Some(example)) => (CargoKind::Example, cargo_name(&example, findings)?),
        (Some(bin), Some(example)) => {
            findings
                .error(
                    Code::Contradiction,
                    "a target is a `bin` or an `example`, not both",
                )
                .label(&example.key.span, "one of the two has to go")
                .label(&bin.key.span, "the other one");
            return None;
        }
        (None, None) => {
            findings
                .error(
                    Code::MissingKey,
                    "`cargo` does not say which target of the package",
                )
                .label(&entry.span, "needs `bin` or `example`");
            return None;
        }
    };
    // A folder that could not be read must not become the manifest's.
    let folder = match folder {
        Some(None) => return None,
        Some(Some(folder)) => Some(folder),
        None => None,
    };
    Some(SourceDraft::Cargo {
        folder,
        package: package?,
        kind,
        target,
        span: entry.span.clone(),
    })
}

/// A name that Cargo accepts and that cannot be taken for one of its options.
fn cargo_name(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<String>> {
    let text = entry.text(findings)?;
    let fits = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if text.value.is_empty() || text.value.starts_with('-') || !text.value.chars().all(fits) {
        findings
            .error(
                Code::BadName,
                format!("{:?} cannot be a name in Cargo", text.value),
            )
            .label(&text.span, "letters, digits, `-` and `_`");
        return None;
    }
    Some(At::new(text.value.to_owned(), text.span))
}

/// A slot's or exposed reference's name: the key of its table.
fn slot_name(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<At<SlotName>> {
    let name = name_of(&entry.key, SlotName::parse, findings)?;
    Some(At::new(name, entry.key.span.clone()))
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
    })
}

fn read_expose(entry: &Entry<'_, '_>, findings: &mut Findings) -> Option<ExposeDraft> {
    let name = slot_name(entry, findings);
    let expose = entry.table(EXPOSE, findings)?;
    let interface = interface_of(&expose, findings);
    let socket = expose
        .entry("socket")
        .and_then(|entry| path_of(&entry, findings));
    Some(ExposeDraft {
        name: name?,
        interface,
        socket,
    })
}

fn interface_of(table: &Table<'_, '_>, findings: &mut Findings) -> Option<At<InterfaceName>> {
    let text = table.required("type", findings)?.text(findings)?;
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

fn read_run(entry: &Entry<'_, '_>, draft: &mut Draft, findings: &mut Findings) {
    let Some(run) = entry.table(Known::keys(&["listen", "grants"]), findings) else {
        return;
    };
    if let Some(listen) = run.entry("listen").and_then(|entry| entry.texts(findings)) {
        draft.listen = listen
            .iter()
            .filter_map(|text| read_listen(text, findings))
            .collect();
    }
    if let Some(grants) = run.entry("grants").and_then(|entry| entry.names(findings)) {
        draft.grants = grants
            .entries()
            .iter()
            .map(|entry| grant::read(entry, findings))
            .collect();
    }
}

fn read_listen(text: &At<&str>, findings: &mut Findings) -> Option<At<SocketAddr>> {
    if let Ok(address) = text.value.parse() {
        return Some(At::new(address, text.span.clone()));
    }
    findings
        .error(
            Code::BadAddress,
            format!("{:?} is not an address to listen on", text.value),
        )
        .label(&text.span, "needs an IP address and a port")
        .help("as \"127.0.0.1:7447\" or \"[::1]:7447\"; port 0 takes a free one and keeps it");
    None
}
