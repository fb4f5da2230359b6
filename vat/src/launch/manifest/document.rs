//! The first step: from TOML to typed values with their places.

use std::net::SocketAddr;

use toml::de::DeTable;

use super::children::{self, ChildDraft};
use super::diagnostic::Findings;
use super::grant::{self, GrantDraft};
use super::name::{InterfaceName, NameError, SlotName, VatName};
use super::program::{self, ProgramDraft};
use super::routes;
use super::slots::{self, UseDraft};
use super::supervise::{self, SupervisionRules};
use super::table::{At, Entry, Known, Later, Table};
use super::{Code, RouteSource};

/// What the text says, each part as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<VatName>,
    pub(super) summary: Option<String>,
    /// `[program]`.
    pub(super) program: Option<ProgramDraft>,
    /// `[children]`, in the order of the text. None: there is no such table.
    pub(super) children: Option<Vec<ChildDraft>>,
    pub(super) uses: Vec<UseDraft>,
    pub(super) exposes: Vec<ExposeDraft>,
    pub(super) listen: Vec<At<SocketAddr>>,
    pub(super) grants: Vec<GrantDraft>,
    pub(super) supervision: SupervisionRules,
}

/// What the ensemble gives back, as far as it could be read.
#[derive(Debug)]
pub(super) struct ExposeDraft {
    pub(super) name: At<SlotName>,
    pub(super) interface: Option<At<InterfaceName>>,
    /// Where it comes from, in a manifest with children. None: missing or wrong, and reported.
    pub(super) from: Option<At<RouteSource>>,
    pub(super) socket: Option<At<String>>,
}

const ROOT: Known = Known {
    keys: &[
        "manifest",
        "vat",
        "program",
        "children",
        "use",
        "expose",
        "run",
        "supervisor",
    ],
    later: &[
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

const EXPOSE: Known = Known::keys(&["type", "socket", "from"]);

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
    read_programs(&root, &mut draft, findings);
    if let Some(uses) = root.entry("use") {
        draft.uses = slots::read_all(&uses, findings);
    }
    let several = draft.children.is_some();
    if let Some(exposes) = root.entry("expose").and_then(|entry| entry.names(findings)) {
        draft.exposes = exposes
            .entries()
            .iter()
            .filter_map(|e| read_expose(e, several, findings))
            .collect();
    }
    if let Some(run) = root.entry("run") {
        read_run(&run, &mut draft, findings);
    }
    if let Some(entry) = root.entry("supervisor") {
        draft.supervision = supervise::read(&entry, several, findings);
    }
    draft
}

/// What runs: one program, or children.
fn read_programs(root: &Table<'_, '_>, draft: &mut Draft, findings: &mut Findings) {
    let (program, children) = (root.entry("program"), root.entry("children"));
    match (&program, &children) {
        (Some(program), Some(children)) => {
            findings
                .error(
                    Code::Contradiction,
                    "a manifest has one [program] or several [children], not both",
                )
                .label(&children.key.span, "one of the two has to go")
                .label(&program.key.span, "the other one")
                .help("make the program one of the children: [children.<name>]");
        }
        (None, None) => {
            findings
                .error(Code::MissingKey, "the manifest does not say what runs")
                .label(&root.span, "needs `program` or `children`")
                .help("write [program] for one program, [children.<name>] for each of several");
        }
        _ => {}
    }
    draft.program = program.map(|entry| program::read(&entry, findings));
    draft.children = children.map(|entry| children::read(&entry, findings));
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
pub(super) fn name_of<T>(
    text: &At<&str>,
    parse: fn(&str) -> Result<T, NameError>,
    findings: &mut Findings,
) -> Option<T> {
    match parse(text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            findings
                .error(Code::BadName, format!("{:?} cannot be a name", text.value))
                .label(&text.span, error.to_string())
                .help("lower-case letters, digits and `_`, as \"ledger_2\"; a letter first");
            None
        }
    }
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

fn read_expose(
    entry: &Entry<'_, '_>,
    several: bool,
    findings: &mut Findings,
) -> Option<ExposeDraft> {
    let name = slots::slot_name(entry, findings);
    let expose = entry.table(EXPOSE, findings)?;
    let interface = match expose.entry("type") {
        Some(entry) => slots::interface_named(&entry, findings),
        None if several => None,
        None => slots::interface_of(&expose, findings),
    };
    let socket = expose
        .entry("socket")
        .and_then(|entry| path_of(&entry, findings));
    Some(ExposeDraft {
        name: name?,
        interface,
        from: read_from(&expose, several, findings),
        socket,
    })
}

/// Of several children it has to be said whose reference it is; of one program it cannot be.
fn read_from(
    expose: &Table<'_, '_>,
    several: bool,
    findings: &mut Findings,
) -> Option<At<RouteSource>> {
    let from = expose.entry("from");
    if several {
        return match from {
            Some(from) => routes::read_source(&from, findings),
            None => {
                routes::report_no_source(expose, "children.<child>.<name>", findings);
                None
            }
        };
    }
    let from = from?;
    findings
        .error(
            Code::Contradiction,
            "`from` says which child exposes it, and there are no children",
        )
        .label(&from.key.span, "there is only [program]")
        .help("remove it: what is exposed is the program's");
    None
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
