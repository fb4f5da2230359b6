//! Several programs in one manifest: what they become, and what is said about wrong ones.

use std::fs;
use std::time::Duration;

use super::super::*;
use super::{Bench, gateway, shop, with};
use crate::launch::confine::Level;
use crate::supervisor::{RestartKind, Shutdown, Strategy};

#[test]
fn children_are_read_in_the_order_of_the_text() {
    let bench = Bench::new();
    let manifest = bench.manifest(&shop(
        r#"
[children.gateway]
exec = "hello"
confinement = "L3"
restart = "temporary"
start = { timeout = "1m" }
stop = { grace = "20s" }
expose = { admin = "shop::Admin", door = "shop::Door" }
[children.gateway.use]
ledger = "shop::Ledger"
log = { type = "LogSink", optional = true }
store = { type = "Directory", rights = ["read"] }
clock = { type = "Clock", optional = true }
[children.gateway.grants]
ledger = "children.ledger.ledger"
log = { from = "use.log", tag = "gate way" }
store = { from = "use.store", rights = ["read"] }
[children.a]
exec = "hello"
[expose.admin]
from = "children.gateway.admin"
socket = "admin.sock"
[expose.book]
from = "children.ledger.ledger"
type = "shop::Ledger"
[supervisor]
strategy = "rest_for_one"
restart = "transient"
stop = { grace = "3s" }
"#,
    ));
    let paths: Vec<_> = manifest.children.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["shop/ledger", "shop/gateway", "shop/a"]);
    assert_eq!(manifest.only_program(), None);
    let gateway = manifest.child("gateway").unwrap();
    assert_eq!(gateway.program.confinement, Level::L3);
    assert_eq!(gateway.program.source, Source::Exec(bench.path("hello")));
    let spec = gateway.child_spec();
    assert_eq!(spec.name, "shop/gateway");
    assert_eq!(spec.restart, RestartKind::Temporary);
    assert_eq!(spec.start_within, Some(Duration::from_secs(60)));
    assert_eq!(spec.shutdown, Shutdown::Grace(Duration::from_secs(20)));
    let exposes: Vec<_> = gateway.exposes.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(exposes, ["admin", "door"]);
    let ledger = &manifest.children[0];
    assert_eq!(ledger.restart, RestartKind::Transient);
    assert_eq!(ledger.stop_grace, Duration::from_secs(3));
    assert_eq!(ledger.start_timeout, Duration::from_secs(10));
    let spec = manifest.supervision.supervisor_spec();
    assert_eq!(spec.strategy, Strategy::RestForOne);
    let of = |expose: &Expose| format!("{}.{}", expose.from.child, expose.from.expose);
    let exposes: Vec<_> = manifest.exposes.iter().map(of).collect();
    assert_eq!(exposes, ["gateway.admin", "ledger.ledger"]);
    assert_eq!(manifest.exposes[0].interface.full(), "shop::Admin");
    assert_eq!(manifest.exposes[0].socket, Some(bench.path("admin.sock")));
}

#[test]
fn routes_say_what_fills_each_slot_and_how() {
    let bench = Bench::new();
    let manifest = bench.manifest(&gateway(
        "ledger = \"shop::Ledger\", log = \"LogSink\", \
         store = { type = \"Directory\", rights = [\"read\"] }",
        "store = \"use.store\"\nledger = \"children.ledger.ledger\"\n\
         log = { from = \"use.log\", tag = \"gate\" }",
    ));
    let slot = |name| SlotName::parse(name).unwrap();
    let read = Rights {
        read: true,
        write: false,
    };
    let gateway = manifest.child("gateway").unwrap();
    let store = gateway.route("store").unwrap();
    assert_eq!(store.from, RouteSource::Use(slot("store")));
    assert_eq!((&store.tag, store.rights), (&None, Some(read)));
    let ledger = RouteSource::Child {
        child: VatName::parse("ledger").unwrap(),
        expose: slot("ledger"),
    };
    assert_eq!(gateway.route("ledger").unwrap().from, ledger);
    assert_eq!(gateway.route("ledger").unwrap().rights, None);
    assert_eq!(gateway.route("log").unwrap().tag.as_deref(), Some("gate"));
    // A type alone takes what the ensemble's slot has.
    let whole = &manifest.children[0];
    assert_eq!(whole.route("store").unwrap().rights, None);
    let held = whole.uses[0].rights.unwrap();
    assert!(held.read && held.write, "{held:?}");
    assert_eq!(gateway.uses[2].rights, Some(read));
}

#[test]
fn an_empty_optional_slot_is_routed_nowhere() {
    let bench = Bench::new();
    let text = |optional: bool| {
        shop(&format!(
            "[children.b]\nexec = \"hello\"\n\
             use = {{ time = {{ type = \"Clock\", optional = {optional} }} }}\n\
             [children.b.grants]\ntime = \"use.time\"\n\
             [use.time]\ntype = \"Clock\"\noptional = true\n"
        ))
    };
    let manifest = bench.manifest(&text(true));
    assert_eq!(manifest.child("b").unwrap().routes, []);
    assert_eq!(bench.marked(&text(false)), ["V0301 \"use.time\""]);
    let filled = text(false).replace("log = \"launcher.log\"", "$0\ntime = \"clock\"");
    let filled = filled.replace("$0", "log = \"launcher.log\"");
    assert_eq!(bench.manifest(&filled).child("b").unwrap().routes.len(), 1);
}

#[test]
fn a_manifest_has_one_program_or_children() {
    let bench = Bench::new();
    let both = with("[children.worker]\nexec = \"hello\"\n");
    assert_eq!(bench.marked(&both), ["V0106 children"]);
    let neither = "manifest = 1\n[vat]\nname = \"hello\"\n";
    let checked = bench.check(neither);
    let [finding] = checked.report.diagnostics() else {
        panic!("{:?}", checked.report)
    };
    assert_eq!(finding.code, Code::MissingKey);
    let help = finding.help.as_deref().unwrap();
    assert!(help.contains("[program]") && help.contains("[children.<name>]"));
    let empty = format!("{neither}[children]\n");
    assert_eq!(bench.marked(&empty), ["V0102 [children]"]);
    let number = neither.replace("[vat]", "children = 5\n[vat]");
    assert_eq!(bench.findings(&number), ["2:12 V0104"]);
}

#[test]
fn a_name_stands_for_one_child() {
    let bench = Bench::new();
    let twice = shop("[children.ledger]\nexec = \"hello\"\n");
    let checked = bench.check(&twice);
    assert_eq!(checked.report.diagnostics()[0].code, Code::Syntax);
    let at = checked.report.diagnostics()[0].position().unwrap();
    assert_eq!(at.line, 1 + shop("").lines().count());
    let slot = gateway("log = \"LogSink\", log = \"LogSink\"", "log = \"use.log\"");
    assert_eq!(
        bench.check(&slot).report.diagnostics()[0].code,
        Code::Syntax
    );
}

#[test]
fn children_have_well_formed_names_and_keys() {
    let bench = Bench::new();
    for (child, code) in [
        ("[children.Worker]\nexec = \"hello\"\n", "V0201"),
        ("[children.\"a/b\"]\nexec = \"hello\"\n", "V0201"),
        ("[children.a]\n", "V0102"),
        ("[children.a]\nexec = \"missing\"\n", "V0401"),
        ("[children.a]\nexec = \"hello\"\ncargo = {}\n", "V0106"),
        ("[children.a]\nexec = \"hello\"\nexpos = {}\n", "V0103"),
        ("[children.a]\nexec = \"hello\"\nreplicas = 4\n", "V0105"),
        ("[children.a]\nexec = \"hello\"\ndurable = 1\n", "V0104"),
        ("[children.a]\nexec = \"hello\"\nlabels = {}\n", "V0105"),
        (
            "[children.a]\nexec = \"hello\"\nmanifest = \"a\"\n",
            "V0105",
        ),
        (
            "[children.a]\nexec = \"hello\"\nrestart = \"no\"\n",
            "V0203",
        ),
        (
            "[children.a]\nexec = \"hello\"\nstop = { order = \"reverse\" }\n",
            "V0103",
        ),
        (
            "[children.a]\nexec = \"hello\"\nstart = { timeout = \"0s\" }\n",
            "V0107",
        ),
        (
            "[children.a]\nexec = \"hello\"\nconfinement = \"L1\"\n",
            "V0210",
        ),
        (
            "[children.a]\nexec = \"hello\"\nexpose = { a = \"Thing\" }\n",
            "V0202",
        ),
        (
            "[children.a]\nexec = \"hello\"\nexpose = { A = \"a::A\" }\n",
            "V0201",
        ),
        (
            "[children.a]\nexec = \"hello\"\nuse = { a = \"Thing\" }\n[children.a.grants]\n\
             a = \"use.log\"\n",
            "V0202",
        ),
    ] {
        let checked = bench.check(&shop(child));
        let codes: Vec<_> = checked
            .report
            .errors()
            .map(|d| d.code.to_string())
            .collect();
        assert_eq!(codes, [code], "{child}");
    }
}

#[test]
fn at_most_256_children_are_read() {
    let bench = Bench::new();
    let children = |count: usize| {
        let mut text = "manifest = 1\n[vat]\nname = \"many\"\n".to_owned();
        for number in 0..count {
            text.push_str(&format!("[children.c{number}]\nexec = \"hello\"\n"));
        }
        text
    };
    assert_eq!(bench.manifest(&children(256)).children.len(), 256);
    assert_eq!(bench.marked(&children(257)), ["V0108 c256"]);
}

#[test]
fn strategies_for_several_programs_need_children() {
    let bench = Bench::new();
    for strategy in ["one_for_all", "rest_for_one"] {
        let rest = format!("[supervisor]\nstrategy = \"{strategy}\"\n");
        assert_eq!(bench.marked(&shop(&rest)), [""; 0]);
        let marked = format!("V0106 \"{strategy}\"");
        assert_eq!(bench.marked(&with(&rest)), [marked]);
    }
}

#[test]
fn what_is_exposed_comes_from_a_child() {
    let bench = Bench::new();
    for (expose, marked) in [
        ("from = \"children.ledger.ledger\"", &[][..]),
        ("type = \"shop::Ledger\"", &["V0102 [expose.x]"]),
        (
            "from = \"children.ledgr.ledger\"",
            &["V0309 \"children.ledgr.ledger\""],
        ),
        (
            "from = \"children.ledger.lodger\"",
            &["V0309 \"children.ledger.lodger\""],
        ),
        ("from = \"use.log\"", &["V0308 \"use.log\""]),
        ("from = \"ledger\"", &["V0308 \"ledger\""]),
        (
            "type = \"shop::Book\"\nfrom = \"children.ledger.ledger\"",
            &["V0303 \"shop::Book\""],
        ),
    ] {
        let text = shop(&format!("[expose.x]\n{expose}\n"));
        assert_eq!(bench.marked(&text), marked, "{expose}");
        let valid = bench.check(&text).manifest.is_some();
        assert_eq!(valid, marked.is_empty(), "{expose}");
    }
    let program = with("[expose.x]\ntype = \"p::T\"\nfrom = \"children.a.b\"\n");
    assert_eq!(bench.marked(&program), ["V0106 from"]);
}

#[test]
fn no_child_may_change_what_another_one_runs() {
    let bench = Bench::new();
    fs::create_dir(bench.path("bin")).unwrap();
    fs::copy(bench.path("hello"), bench.path("bin/other")).unwrap();
    let text = |dir: &str, rights: &str, other: &str| {
        shop(&format!("[children.other]\n{other}\n"))
            .replace("dir = \"notes\"", &format!("dir = \"{dir}\""))
            .replace(
                "rights = [\"read\", \"write\"]",
                &format!("rights = [{rights}]"),
            )
    };
    let exec = "exec = \"bin/other\"";
    let write = "\"read\", \"write\"";
    assert_eq!(bench.marked(&text("notes", write, exec)), [""; 0]);
    assert_eq!(bench.marked(&text("bin", write, exec)), ["V0408 \"bin\""]);
    assert_eq!(bench.marked(&text("bin", "\"read\"", exec)), [""; 0]);
    fs::write(bench.path("notes/Cargo.toml"), "").unwrap();
    let cargo = "cargo = { package = \"p\", bin = \"b\", folder = \"notes\" }";
    let marked = bench.marked(&text("notes", write, cargo));
    assert_eq!(marked, ["V0408 \"notes\""]);
    let checked = bench.check(&text("notes", write, cargo));
    let message = &checked.report.diagnostics()[0].message;
    assert!(message.contains("the package that `other`"), "{message}");
}

#[test]
fn children_can_be_printed_as_json() {
    let text = gateway(
        "ledger = \"shop::Ledger\"",
        "ledger = \"children.ledger.ledger\"",
    );
    let json = serde_json::to_value(Bench::new().manifest(&text)).unwrap();
    let gateway = &json["children"][1];
    assert_eq!(gateway["path"], "shop/gateway");
    assert_eq!(gateway["routes"][0]["from"]["child"]["expose"], "ledger");
    assert_eq!(gateway["stop_grace"], "5s");
    assert_eq!(json["children"][0]["routes"][0]["from"]["use"], "store");
}
