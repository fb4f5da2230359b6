//! One program: what it is, where it listens, how it is restarted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::super::*;
use super::{Bench, static_program, with};
use crate::supervisor::{RestartKind, Shutdown};

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
