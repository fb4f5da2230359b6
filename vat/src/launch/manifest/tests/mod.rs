//! Whole manifests: what they become, and what is said about wrong ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::launch::confine::Level;
use crate::sturdy::{Seed, SturdyRef, SwissNumber, reference_file};
use crate::supervisor::{Intensity, RestartKind};

mod children;
mod grants;
mod program;
mod routes;
mod shop;

/// A folder with a program, a directory, and places beside it.
struct Bench {
    folder: TempDir,
    places: Places,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("hello"), static_program()).unwrap();
        fs::set_permissions(at("hello"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("notes")).unwrap();
        fs::create_dir(at("vat")).unwrap();
        let places = Places::at(&at("vat/run"), &at("vat/state"));
        Self { folder, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn check(&self, text: &str) -> Checked {
        check_text(&self.path("hello.vat.toml"), text.to_owned(), &self.places)
    }

    /// The findings as `line:column code`, in order.
    fn findings(&self, text: &str) -> Vec<String> {
        let checked = self.check(text);
        assert_eq!(checked.manifest.is_none(), checked.report.has_errors());
        let line = |d: &Diagnostic| {
            let at = d.position().map(|at| format!("{}:{} ", at.line, at.column));
            format!("{}{}", at.unwrap_or_default(), d.code)
        };
        checked.report.diagnostics().iter().map(line).collect()
    }

    /// The findings as `code marked text`, errors with a help line each, in order.
    fn marked(&self, text: &str) -> Vec<String> {
        let checked = self.check(text);
        let mark = |d: &Diagnostic| {
            assert!(d.help.is_some(), "{} says not what to do", d.message);
            let span = d.labels[0].span.clone();
            let warning = match d.severity {
                Severity::Error => "",
                Severity::Warning => "warning ",
            };
            format!("{warning}{} {}", d.code, &text[span])
        };
        checked.report.diagnostics().iter().map(mark).collect()
    }

    /// What is advised about the only finding.
    fn help(&self, text: &str) -> String {
        let checked = self.check(text);
        let [finding] = checked.report.diagnostics() else {
            panic!("{:?}", checked.report)
        };
        finding.help.clone().unwrap()
    }

    fn manifest(&self, text: &str) -> Manifest {
        let (manifest, report) = self.check(text).into_result().unwrap();
        assert_eq!(report.diagnostics(), []);
        manifest
    }

    fn write_reference(&self, name: &str) {
        let vat = crate::sturdy::Identity::from_seed(&Seed::from_bytes([7; 32])).id();
        let swiss = SwissNumber::from_bytes([9; 16]);
        let address = "127.0.0.1:7447".parse().unwrap();
        let sturdy = SturdyRef::new(vat, swiss, [address]).unwrap();
        reference_file::write(self.path(name), &sturdy).unwrap();
    }
}

/// The headers of a static, position-independent program: what is looked at before a start.
pub(in crate::launch) fn static_program() -> Vec<u8> {
    let machine = if cfg!(target_arch = "x86_64") {
        62
    } else {
        183
    };
    let mut program = vec![0_u8; 64 + 56];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, byte) in [
        (16, 3),
        (18, machine),
        (32, 64),
        (54, 56),
        (56, 1),
        (64, 1),
        (68, 5),
    ] {
        program[at] = byte;
    }
    program
}

/// An ensemble of one child with slots of its own, and more text after it.
fn shop(rest: &str) -> String {
    let text = r#"
manifest = 1
[vat]
name = "shop"
[use.store]
type = "Directory"
rights = ["read", "write"]
[use.log]
type = "LogSink"
[run.grants]
store = { dir = "notes" }
log = "launcher.log"
[children.ledger]
exec = "./hello"
use = { store = "Directory", log = "LogSink" }
expose = { ledger = "shop::Ledger" }
[children.ledger.grants]
store = "use.store"
log = "use.log"
"#;
    text.trim_start().to_owned() + rest
}

/// A second child behind the ledger, with this `use` and these grants.
fn gateway(uses: &str, grants: &str) -> String {
    shop(&format!(
        "[children.gateway]\nexec = \"./hello\"\nuse = {{ {uses} }}\n\
         [children.gateway.grants]\n{grants}\n"
    ))
}

/// A minimal manifest with more text after it; the text begins on line 6.
fn with(rest: &str) -> String {
    format!("manifest = 1\n[vat]\nname = \"hello\"\n[program]\nexec = \"./hello\"\n{rest}")
}

#[test]
fn a_minimal_manifest_has_every_default() {
    let bench = Bench::new();
    let manifest = bench.manifest(&with(""));
    assert_eq!(manifest.name.as_str(), "hello");
    assert_eq!(manifest.folder, bench.folder.path());
    assert_eq!(
        manifest.children[0].program.source,
        Source::Exec(bench.path("hello"))
    );
    assert_eq!(manifest.children[0].program.confinement, Level::L2);
    assert_eq!(manifest.supervision, SupervisionRules::default());
    assert!(manifest.uses.is_empty() && manifest.grants.is_empty() && manifest.listen.is_empty());
}

#[test]
fn a_whole_manifest_is_read() {
    let bench = Bench::new();
    bench.write_reference("friend.cap");
    let manifest = bench.manifest(&with(
        r#"
confinement = "L3"
[use.notes]
type = "Directory"
rights = ["read", "write"]
[use.log]
type = "LogSink"
[use.clock]
type = "vat::Clock"
optional = true
[use.friend]
type = "chat::Friend"
[expose.greeter]
type = "hello::Greeter"
socket = "greeter.sock"
[run]
listen = ["127.0.0.1:0", "[::1]:0"]
[run.grants]
notes = { dir = "./new", create = true }
log = "launcher.log"
friend = { ref = "friend.cap" }
[supervisor]
strategy = "one_for_one"
restart = "transient"
intensity = { restarts = 100, within = "60s" }
backoff = { max = "50ms", jitter = 0 }
start = { timeout = "1m" }
stop = { order = "reverse", grace = "0s" }
"#,
    ));
    assert_eq!(manifest.children[0].program.confinement, Level::L3);
    let write = Rights {
        read: true,
        write: true,
    };
    assert_eq!(manifest.slot("notes").unwrap().rights, Some(write));
    let notes = Power::Directory {
        path: bench.path("new"),
        rights: write,
        create: true,
    };
    assert_eq!(manifest.grant("notes").unwrap().power, notes);
    assert_eq!(manifest.grant("log").unwrap().power, Power::Log);
    assert_eq!(manifest.grant("clock"), None);
    assert!(manifest.slot("clock").unwrap().optional);
    let friend = Power::Reference {
        path: bench.path("friend.cap"),
    };
    assert_eq!(manifest.grant("friend").unwrap().power, friend);
    assert_eq!(manifest.exposes[0].interface.full(), "hello::Greeter");
    assert_eq!(manifest.exposes[0].socket, Some(bench.path("greeter.sock")));
    assert_eq!(manifest.listen.len(), 2);
    let spec = manifest.supervision;
    assert_eq!(spec.restart, RestartKind::Transient);
    assert_eq!(
        spec.intensity,
        Intensity {
            restarts: 100,
            within: Duration::from_secs(60)
        }
    );
    assert_eq!(spec.backoff.max, Duration::from_millis(50));
    assert_eq!(spec.backoff.factor, 4.0);
    assert_eq!(spec.start_timeout, Duration::from_secs(60));
    assert_eq!(spec.stop_grace, Duration::ZERO);
}

#[test]
fn all_errors_are_reported_at_once_and_in_order() {
    let text = r#"manifest = 2
[vat]
name = "Hello"
sumary = "x"
[program]
exec = "./nothing"
[use.notes]
type = "Directry"
[run]
listen = ["localhost:80"]
[run.grants]
note = "clock"
"#;
    let expected = [
        "1:12 V0101",
        "3:8 V0201",
        "4:1 V0103",
        "6:8 V0401",
        "7:6 V0301",
        "8:8 V0202",
        "10:11 V0205",
        "12:1 V0302",
    ];
    assert_eq!(Bench::new().findings(text), expected);
}

#[test]
fn broken_toml_is_reported_where_it_breaks() {
    let bench = Bench::new();
    assert_eq!(
        bench.findings("manifest = 1\n[vat\nname = \"x\"\n")[0],
        "2:5 V0004"
    );
    assert_eq!(
        bench.findings("manifest = 1\nmanifest = 1\n")[0],
        "2:1 V0004"
    );
    assert_eq!(bench.findings(""), ["1:1 V0101", "1:1 V0102", "1:1 V0102"]);
}

#[test]
fn unknown_keys_get_the_nearest_known_one() {
    let bench = Bench::new();
    let checked = bench.check(&with("[use.log]\ntype = \"LogSink\"\noptionl = true\n"));
    let finding = &checked.report.diagnostics()[1];
    assert_eq!(finding.message, "unknown key `optionl` in [use.log]");
    let help = "did you mean `optional`? Known here: type, rights, optional";
    assert_eq!(finding.help.as_deref(), Some(help));
}

#[test]
fn parts_of_later_versions_are_refused_by_name() {
    let bench = Bench::new();
    assert_eq!(
        bench.findings(&with("[pool.x]\n[upgrade]\n")),
        ["6:2 V0105", "7:2 V0105"]
    );
    let site = "manifest = 1\nkind = \"site\"\n[site]\nname = \"x\"\n";
    assert_eq!(
        bench.findings(site),
        ["1:1 V0102", "1:1 V0102", "2:1 V0105", "3:2 V0105"]
    );
    let strategy = with("[supervisor]\nstrategy = \"rest_for_one\"\n");
    assert_eq!(bench.findings(&strategy), ["7:12 V0106"]);
    let listener = with("[use.socket]\ntype = \"Listener\"\noptional = true\n");
    assert_eq!(bench.findings(&listener), ["7:8 V0105"]);
}

#[test]
fn files_that_are_no_manifests_are_refused() {
    let bench = Bench::new();
    let code = |path: &Path| {
        let checked = check(path, &bench.places);
        assert!(checked.manifest.is_none());
        checked.report.diagnostics()[0].code
    };
    assert_eq!(code(&bench.path("missing.toml")), Code::Unreadable);
    assert_eq!(code(bench.folder.path()), Code::Unreadable);
    fs::write(bench.path("latin1"), b"name = \"\xe9\"").unwrap();
    assert_eq!(code(&bench.path("latin1")), Code::NotText);
    fs::write(bench.path("big"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(code(&bench.path("big")), Code::TooLarge);
}

#[test]
fn a_manifest_can_be_printed_as_json() {
    let json = serde_json::to_value(Bench::new().manifest(&with(""))).unwrap();
    assert_eq!(json["name"], "hello");
    assert_eq!(json["supervision"]["intensity"]["within"], "5s");
    assert_eq!(json["children"][0]["program"]["confinement"], "L2");
}
