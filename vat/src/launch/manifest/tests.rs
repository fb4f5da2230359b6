//! Whole manifests: what they become, and what is said about wrong ones.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::launch::confine::Level;
use crate::sturdy::{Seed, SturdyRef, SwissNumber, reference_file};
use crate::supervisor::{Intensity, RestartKind};

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
fn static_program() -> Vec<u8> {
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
fn a_program_is_one_child_that_is_granted_what_fills_the_slots() {
    let bench = Bench::new();
    let manifest = bench.manifest(&with(
        r#"
[use.log]
type = "LogSink"
[use.clock]
type = "Clock"
optional = true
[expose.greeter]
type = "hello::Greeter"
[run.grants]
log = "launcher.log"
[supervisor]
restart = "transient"
start = { timeout = "1m" }
stop = { grace = "2s" }
"#,
    ));
    let [child] = manifest.children.as_slice() else {
        panic!("{:?}", manifest.children)
    };
    assert_eq!(manifest.only_program(), Some(child));
    assert_eq!(child.name, manifest.name);
    assert_eq!(child.path, "hello");
    assert_eq!(child.uses, manifest.uses);
    let log = SlotName::parse("log").unwrap();
    let route = Route {
        slot: log.clone(),
        from: RouteSource::Use(log),
        tag: None,
        rights: None,
    };
    assert_eq!(child.routes, [route]);
    assert_eq!(child.exposes[0].name.as_str(), "greeter");
    assert_eq!(child.exposes[0].interface.full(), "hello::Greeter");
    let source = &manifest.exposes[0].from;
    assert_eq!(source.child, manifest.name);
    assert_eq!(source.expose.as_str(), "greeter");
    let spec = child.child_spec();
    assert_eq!(
        (spec.name.as_str(), spec.restart),
        ("hello", RestartKind::Transient)
    );
    assert_eq!(spec.shutdown, Shutdown::Grace(Duration::from_secs(2)));
    assert_eq!(spec.start_within, Some(Duration::from_secs(60)));
}

#[test]
fn a_cargo_target_is_named_by_package_and_target() {
    let bench = Bench::new();
    let text = "manifest = 1\n[vat]\nname = \"a\"\n[program]\n\
                cargo = { package = \"p\", example = \"e\" }\n";
    assert_eq!(bench.findings(text), ["5:9 V0403"]);
    fs::write(bench.path("Cargo.toml"), "").unwrap();
    let expected = CargoTarget {
        folder: bench.folder.path().to_owned(),
        package: "p".to_owned(),
        target: TargetKind::Example("e".to_owned()),
    };
    assert_eq!(
        bench.manifest(text).children[0].program.source,
        Source::Cargo(expected)
    );
    fs::rename(bench.path("Cargo.toml"), bench.path("vat/Cargo.toml")).unwrap();
    assert_eq!(bench.findings(text), ["5:9 V0403"]);
    let elsewhere = text.replace(" }", ", folder = \"./vat\" }");
    let Source::Cargo(found) = &bench.manifest(&elsewhere).children[0].program.source else {
        panic!("not a package")
    };
    assert_eq!(found.folder, bench.path("vat"));
    fs::rename(bench.path("vat/Cargo.toml"), bench.path("Cargo.toml")).unwrap();
    for (cargo, code) in [
        ("{ package = \"p\" }", "5:9 V0102"),
        ("{ bin = \"p\" }", "5:9 V0102"),
        (
            "{ package = \"p\", bin = \"b\", example = \"e\" }",
            "5:37 V0106",
        ),
        ("{ package = \"--config\", bin = \"b\" }", "5:21 V0201"),
    ] {
        let text = format!("manifest = 1\n[vat]\nname = \"a\"\n[program]\ncargo = {cargo}\n");
        assert_eq!(bench.findings(&text), [code], "{cargo}");
    }
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
        bench.findings(&with("[children.worker]\nexec = \"x\"\n")),
        ["6:2 V0105"]
    );
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
    assert_eq!(bench.findings(&strategy), ["7:12 V0105"]);
}

#[test]
fn slots_must_be_filled_by_the_right_things() {
    let bench = Bench::new();
    for (rest, codes) in [
        ("[use.log]\ntype = \"LogSink\"\n", &["6:6 V0301"][..]),
        ("[use.log]\ntype = \"LogSink\"\noptional = true\n", &[]),
        ("[run.grants]\nlog = \"launcher.log\"\n", &["7:1 V0302"]),
        (
            "[use.a]\ntype = \"LogSink\"\n[run.grants]\na = \"clock\"\n",
            &["9:5 V0303"],
        ),
        (
            "[use.a]\ntype = \"Clock\"\n[run.grants]\na = { dir = \"notes\" }\n",
            &["9:5 V0303"],
        ),
        (
            "[use.a]\ntype = \"p::T\"\n[run.grants]\na = \"launcher.log\"\n",
            &["9:5 V0303"],
        ),
        (
            "[use.a]\ntype = \"Clock\"\nrights = [\"read\"]\n[run.grants]\na = \"clock\"\n",
            &["8:10 V0306"],
        ),
        (
            "[use.a]\ntype = \"Clock\"\n[run.grants]\na = \"clocks\"\n",
            &["9:5 V0307"],
        ),
        (
            "[use.a]\ntype = \"Clock\"\n[run.grants]\na = 5\n",
            &["9:5 V0104"],
        ),
        (
            "[use.a]\ntype = \"Directory\"\n[run.grants]\na = \"./notes\"\n",
            &["9:5 V0307"],
        ),
        (
            "[use.a]\ntype = \"Directory\"\n[run.grants]\na = { dri = \"notes\" }\n",
            &["9:5 V0307"],
        ),
        ("[use.a-b]\ntype = \"Clock\"\n", &["6:6 V0201"]),
    ] {
        assert_eq!(bench.findings(&with(rest)), codes, "{rest}");
    }
}

#[test]
fn a_network_is_granted_with_its_destinations() {
    let bench = Bench::new();
    let text = |grant: &str| {
        let slot = "[use.net]\ntype = \"Network\"\n[run.grants]\n";
        with(&format!("{slot}net = {{ network = {grant} }}\n"))
    };
    let manifest = bench.manifest(&text(
        "[\"any\", \"127.0.0.1:7447\", \"unix:/run/peer.sock\"]",
    ));
    let Power::Network { to } = &manifest.grant("net").unwrap().power else {
        panic!("{manifest:?}")
    };
    let to: Vec<String> = to.iter().map(ToString::to_string).collect();
    assert_eq!(to, ["any", "127.0.0.1:7447", "unix:/run/peer.sock"]);
    let own = format!(
        "[\"unix:{}\"]",
        bench.path("vat/run/hello/vat.sock").display()
    );
    for (grant, codes) in [
        ("[]", "9:19 V0106"),
        ("\"any\"", "9:19 V0104"),
        ("[\"any\", \"http://example.net\"]", "9:27 V0211"),
        ("[\"any\", \"any\"]", "9:27 V0208"),
        ("[\"any\"], dir = \"notes\"", "9:28 V0106"),
        (&own, "9:20 V0414"),
    ] {
        assert_eq!(bench.findings(&text(grant)), [codes], "{grant}");
    }
    let slot = "[use.net]\ntype = \"Clock\"\n[run.grants]\nnet = { network = [\"any\"] }\n";
    assert_eq!(bench.findings(&with(slot)), ["9:7 V0303"]);
}

#[test]
fn rights_of_slot_and_grant_must_agree() {
    let bench = Bench::new();
    let text = |slot: &str, grant: &str| {
        with(&format!(
            "[use.a]\ntype = \"Directory\"\n{slot}\n[run.grants]\na = {{ dir = \"notes\"{grant} }}\n"
        ))
    };
    let both = ", rights = [\"read\", \"write\"]";
    let read = ", rights = [\"read\"]";
    assert_eq!(bench.findings(&text("", both)), ["10:31 V0304"]);
    assert_eq!(
        bench.findings(&text("rights = [\"read\"]", both)),
        ["10:31 V0304"]
    );
    assert_eq!(
        bench.findings(&text("rights = [\"read\", \"write\"]", read)),
        ["10:31 V0305"]
    );
    assert_eq!(
        bench.findings(&text("rights = [\"write\"]", read)),
        ["10:31 V0304"]
    );
    assert_eq!(bench.findings(&text("rights = []", read)), ["8:10 V0106"]);
    assert_eq!(
        bench.findings(&text("rights = [\"wirte\"]", "")),
        ["8:11 V0203"]
    );
    let granted = bench.manifest(&text("rights = [\"write\"]", "")).grants[0]
        .power
        .clone();
    let Power::Directory { rights, .. } = granted else {
        panic!("not a directory")
    };
    assert_eq!(
        rights,
        Rights {
            read: false,
            write: true
        }
    );
}

#[test]
fn directories_that_would_let_the_program_out_are_refused() {
    let bench = Bench::new();
    symlink("/", bench.path("everything")).unwrap();
    symlink("/proc/self", bench.path("me")).unwrap();
    fs::create_dir_all(bench.path("vat/state/hello")).unwrap();
    fs::write(bench.path("file"), "").unwrap();
    for (dir, rights, code) in [
        ("/", "\"read\"", "V0406"),
        ("/../..//.", "\"read\"", "V0406"),
        ("./everything", "\"read\"", "V0406"),
        ("/proc", "\"read\"", "V0407"),
        ("./me", "\"read\"", "V0407"),
        ("/sys/kernel", "\"read\"", "V0407"),
        (".", "\"read\", \"write\"", "V0408"),
        (".", "\"read\"", "V0408"),
        ("./vat/state/hello", "\"read\"", "V0408"),
        ("./missing", "\"read\"", "V0404"),
        ("./file", "\"read\"", "V0405"),
        ("~/notes", "\"read\"", "V0206"),
        ("", "\"read\"", "V0206"),
    ] {
        let text = with(&format!(
            "[use.a]\ntype = \"Directory\"\nrights = [{rights}]\n\
             [run.grants]\na = {{ dir = \"{dir}\" }}\n"
        ));
        assert_eq!(
            bench.findings(&text),
            [format!("10:13 {code}")],
            "{dir} {rights}"
        );
    }
}

#[test]
fn a_program_may_read_its_own_folder_but_not_change_it() {
    let bench = Bench::new();
    let elsewhere = TempDir::new().unwrap();
    let places = Places::at(
        &elsewhere.path().join("run"),
        &elsewhere.path().join("state"),
    );
    let bench = Bench { places, ..bench };
    let text = |rights: &str| {
        with(&format!(
            "[use.a]\ntype = \"Directory\"\nrights = [{rights}]\n[run.grants]\na = {{ dir = \".\" }}\n"
        ))
    };
    assert_eq!(bench.findings(&text("\"read\"")), [""; 0]);
    assert_eq!(
        bench.findings(&text("\"read\", \"write\"")),
        ["10:13 V0408"]
    );
}

#[test]
fn one_directory_has_one_writer() {
    let bench = Bench::new();
    fs::create_dir(bench.path("notes/inner")).unwrap();
    symlink("notes", bench.path("alias")).unwrap();
    for (second, findings) in [
        ("./alias", &["14:5 V0409"][..]),
        ("notes/inner", &["14:5 V0409"]),
        ("notes2", &[]),
    ] {
        let slot = "type = \"Directory\"\nrights = [\"write\"]";
        let text = with(&format!(
            "[use.a]\n{slot}\n[use.b]\n{slot}\n[run.grants]\na = {{ dir = \"./notes/../notes\" }}\n\
             b = {{ dir = \"{second}\", create = true }}\n"
        ));
        assert_eq!(bench.findings(&text), findings, "{second}");
    }
}

#[test]
fn reference_files_are_secret_and_whole() {
    let bench = Bench::new();
    let text = with("[use.a]\ntype = \"p::T\"\n[run.grants]\na = { ref = \"a.cap\" }\n");
    assert_eq!(bench.findings(&text), ["9:13 V0410"]);
    bench.write_reference("a.cap");
    assert_eq!(bench.findings(&text), [""; 0]);
    fs::set_permissions(bench.path("a.cap"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(bench.findings(&text), ["9:13 V0411"]);
    fs::set_permissions(bench.path("a.cap"), fs::Permissions::from_mode(0o600)).unwrap();
    let uri = fs::read_to_string(bench.path("a.cap")).unwrap();
    fs::write(bench.path("a.cap"), uri.replacen("vat://", "vat:/", 1)).unwrap();
    assert_eq!(bench.findings(&text), ["9:13 V0412"]);
}

#[test]
fn a_directory_with_the_programs_own_reference_files_is_refused() {
    let bench = Bench::new();
    bench.write_reference("notes/a.cap");
    let text = with(
        "[use.a]\ntype = \"p::T\"\n[use.d]\ntype = \"Directory\"\n[run.grants]\n\
         a = { ref = \"notes/a.cap\" }\nd = { dir = \"notes\" }\n",
    );
    assert_eq!(bench.findings(&text), ["12:13 V0408"]);
}

#[test]
fn a_reference_in_the_manifest_is_refused_and_not_shown() {
    let secret = "vat://abcdefghijklmnop@127.0.0.1:1/qrstuvwx";
    for grant in [format!("\"{secret}\""), format!("{{ ref = \"{secret}\" }}")] {
        let text = with(&format!(
            "[use.a]\ntype = \"p::T\"\n[run.grants]\na = {grant}\n"
        ));
        let checked = Bench::new().check(&text);
        assert!(checked.report.has_errors());
        let shown = format!("{:?} {}", checked.report, checked.report);
        assert!(
            !shown.contains("abcdef") && !shown.contains("qrstuv"),
            "{shown}"
        );
    }
}

#[test]
fn programs_must_be_executable_files() {
    let bench = Bench::new();
    fs::write(bench.path("script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(bench.path("script"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(bench.path("text"), "x").unwrap();
    fs::write(bench.path("data"), static_program()).unwrap();
    fs::set_permissions(bench.path("data"), fs::Permissions::from_mode(0o644)).unwrap();
    for (exec, code) in [
        ("./missing", "V0401"),
        ("./notes", "V0402"),
        ("./data", "V0402"),
        ("./script", "V0413"),
        ("./text", "V0413"),
        ("/proc/self/exe", "V0413"),
    ] {
        let text = with("").replace("./hello", exec);
        assert_eq!(bench.findings(&text), [format!("5:8 {code}")], "{exec}");
    }
    let both = with("cargo = { package = \"p\", bin = \"b\" }\n");
    assert_eq!(bench.findings(&both), ["6:1 V0106"]);
    assert_eq!(
        bench.findings(&with("confinement = \"L1\"\n")),
        ["6:15 V0210"]
    );
    assert_eq!(
        bench.findings(&with("limits = { memory = \"1MiB\" }\n")),
        ["6:1 V0105"]
    );
}

#[test]
fn sockets_fit_into_the_kernels_limit() {
    let bench = Bench::new();
    let text = |socket: &str| {
        with(&format!(
            "[expose.g]\ntype = \"p::G\"\nsocket = \"{socket}\"\n"
        ))
    };
    assert_eq!(bench.findings(&text("g.sock")), [""; 0]);
    assert_eq!(bench.findings(&text(&"s".repeat(100))), ["8:10 V0207"]);
    assert_eq!(bench.findings(&text("missing/g.sock")), ["8:10 V0207"]);
    assert_eq!(bench.findings(&text("hello")), ["8:10 V0207"]);
    let twice = text("g.sock") + "[expose.h]\ntype = \"p::G\"\nsocket = \"./g.sock\"\n";
    assert_eq!(bench.findings(&twice), ["11:10 V0208"]);
}

#[test]
fn addresses_are_given_once_and_can_be_dialled() {
    let bench = Bench::new();
    let text = |listen: &str| with(&format!("[run]\nlisten = [{listen}]\n"));
    let same = "\"127.0.0.1:7447\", \"127.0.0.1:7447\"";
    assert_eq!(bench.findings(&text(same)), ["7:29 V0208"]);
    assert_eq!(
        bench.findings(&text("\"127.0.0.1:0\", \"127.0.0.1:0\"")),
        [""; 0]
    );
    let checked = bench.check(&text("\"0.0.0.0:7447\""));
    assert!(checked.manifest.is_some());
    assert_eq!(checked.report.warnings().count(), 1);
}

#[test]
fn restart_rules_are_plausible() {
    let bench = Bench::new();
    for (line, findings) in [
        ("intensity = { restarts = 5 }", &["7:13 V0102"][..]),
        (
            "intensity = { restarts = -1, within = \"5s\" }",
            &["7:26 V0107"],
        ),
        (
            "intensity = { restarts = 1, within = \"0s\" }",
            &["7:38 V0107"],
        ),
        ("intensity = { restarts = 1, within = 5 }", &["7:38 V0104"]),
        (
            "backoff = { initial = \"2s\", max = \"1s\" }",
            &["7:23 V0107"],
        ),
        ("backoff = { jitter = 1.5 }", &["7:22 V0107"]),
        ("backoff = { factor = 0.5 }", &["7:22 V0107"]),
        ("backoff = { factor = nan }", &["7:22 V0107"]),
        ("backoff = { max = \"1 fortnight\" }", &["7:19 V0204"]),
        ("restart = \"always\"", &["7:11 V0203"]),
        ("stop = { order = \"forward\" }", &["7:18 V0203"]),
        ("start = { timeout = \"0s\" }", &["7:21 V0107"]),
    ] {
        let text = with(&format!("[supervisor]\n{line}\n"));
        assert_eq!(bench.findings(&text), findings, "{line}");
    }
    let long = bench.manifest(&with("[supervisor]\nbackoff = { initial = \"60s\" }\n"));
    assert_eq!(long.supervision.backoff.max, Duration::from_secs(60));
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
