//! `vat check`: what is shown of valid and of wrong manifests.

use crate::run::{Folder, assert_text};

const VALID: &str = r#"manifest = 1

[vat]
name    = "hello"
summary = "Greets people; remembers names in one directory"

[program]
exec = "./hello"

[use.notes]
type   = "Directory"
rights = ["read", "write"]
[use.log]
type = "LogSink"
[use.friend]
type     = "chat::Friend"
optional = true

[expose.greeter]
type   = "hello::Greeter"
socket = "greeter.sock"

[run]
listen = ["127.0.0.1:7447"]
[run.grants]
notes = { dir = "./notes", create = true }
log   = "launcher.log"
"#;

#[test]
fn a_valid_manifest_is_summed_up() {
    let folder = Folder::new();
    folder.write("hello.vat.toml", VALID);
    let ran = folder.vat(&["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_text(
        &ran.stdout,
        "\
hello.vat.toml is valid

hello: Greets people; remembers names in one directory
  runs      [FOLDER]/hello, confined at level L2 or better
  may use   notes: Directory, [FOLDER]/notes (read, write)
            log: LogSink, the launcher's log
            friend: chat::Friend, nothing (optional)
  gives     greeter: hello::Greeter, also on [FOLDER]/greeter.sock
  listens   127.0.0.1:7447
  restarts  permanent; gives up after more than 3 restarts within 5s",
    );
    let (code, kind, data) = folder.json(&["check", "hello.vat.toml"]);
    assert_eq!((code, kind.as_str()), (Some(0), "check"));
    assert_eq!(data["valid"], true);
    assert_eq!(data["manifest"]["grants"][1]["power"], "log");
    let child = &data["manifest"]["children"][0];
    assert_eq!(child["path"], "hello");
    assert_eq!(child["routes"][0]["from"]["use"], "notes");
    assert_eq!(child["program"], data["manifest"]["program"]);
}

const SHOP: &str = r#"manifest = 1

[vat]
name    = "shop"
summary = "A ledger behind a gateway"

[use.store]
type   = "Directory"
rights = ["read", "write"]
[use.log]
type = "LogSink"

[supervisor]
strategy = "rest_for_one"

[children.ledger]
exec   = "./hello"
use    = { dir = "Directory", log = "LogSink" }
expose = { ledger = "shop::Ledger" }
[children.ledger.grants]
dir = "use.store"
log = { from = "use.log", tag = "ledger" }

[children.gateway]
exec        = "./hello"
confinement = "L3"
restart     = "transient"
expose      = { admin = "shop::Admin" }
[children.gateway.use]
ledger = "shop::Ledger"
dir    = "Directory"
time   = { type = "Clock", optional = true }
[children.gateway.grants]
ledger = "children.ledger.ledger"
dir    = { from = "use.store", rights = ["read"] }

[expose.admin]
from   = "children.gateway.admin"
socket = "admin.sock"

[run.grants]
store = { dir = "./store", create = true }
log   = "launcher.log"
"#;

#[test]
fn several_programs_are_summed_up_one_by_one() {
    let folder = Folder::new();
    folder.write("shop.vat.toml", SHOP);
    let ran = folder.vat(&["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_text(
        &ran.stdout,
        "\
shop.vat.toml is valid

shop: A ledger behind a gateway
  granted   store: Directory, [FOLDER]/store (read, write)
            log: LogSink, the launcher's log
  shop/ledger
    runs      [FOLDER]/hello, confined at level L2 or better
    may use   dir: Directory, use.store (read, write)
              log: LogSink, use.log, with the tag \"ledger\"
    gives     ledger: shop::Ledger
    restarts  permanent
  shop/gateway
    runs      [FOLDER]/hello, confined at level L3 or better
    may use   ledger: shop::Ledger, children.ledger.ledger
              dir: Directory, use.store (read)
              time: Clock, nothing (optional)
    gives     admin: shop::Admin
    restarts  transient
  gives     admin: shop::Admin, children.gateway.admin, also on [FOLDER]/admin.sock
  restarts  rest_for_one; gives up after more than 3 restarts within 5s",
    );
    let (code, _, data) = folder.json(&["check", "shop.vat.toml"]);
    assert_eq!((code, &data["valid"]), (Some(0), &true.into()));
    let manifest = &data["manifest"];
    assert_eq!(manifest.get("program"), None);
    assert_eq!(manifest["supervision"]["strategy"], "rest_for_one");
    let gateway = &manifest["children"][1];
    assert_eq!(gateway["path"], "shop/gateway");
    assert_eq!(gateway["program"]["confinement"], "L3");
    assert_eq!(gateway["routes"][1]["rights"]["write"], false);
    assert_eq!(manifest["exposes"][0]["from"]["child"], "gateway");
}

#[test]
fn a_grant_from_a_later_child_shows_both_places() {
    let folder = Folder::new();
    let text = SHOP.replace("children.ledger.ledger", "children.gateway.admin");
    let text = text.replace(
        "ledger = \"shop::Ledger\"\ndir",
        "ledger = \"shop::Admin\"\ndir",
    );
    folder.write("shop.vat.toml", &text);
    let ran = folder.vat_with(&["check"], &[("LANG", "C.UTF-8")]);
    assert_eq!(ran.code, Some(9));
    assert!(ran.stderr.contains("V0311"), "{}", ran.stderr);
    let text = SHOP.replace("\"use.store\"\nlog", "\"children.gateway.admin\"\nlog");
    folder.write("shop.vat.toml", &text);
    let ran = folder.vat_with(&["check"], &[("LANG", "C.UTF-8")]);
    assert_eq!(ran.code, Some(9));
    assert_text(
        &ran.stderr,
        r#"V0310

  × `gateway` starts later than `ledger`
    ╭─[shop.vat.toml:21:7]
 20 │ [children.ledger.grants]
 21 │ dir = "children.gateway.admin"
    ·       ────────────┬───────────
    ·                   ╰── not there yet when it is needed
 22 │ log = { from = "use.log", tag = "ledger" }
 23 │ 
 24 │ [children.gateway]
    ·           ───┬───
    ·              ╰── declared here, further down
 25 │ exec        = "./hello"
    ╰────
  help: children start in the order of the text: move [children.gateway] above [children.ledger]

error: 1 error in shop.vat.toml
hint: `vat help V0310` says more about it"#,
    );
}

#[test]
fn errors_are_shown_with_their_place() {
    let folder = Folder::new();
    let text = VALID
        .replace("rights =", "right =")
        .replace("log   =", "lgo   =");
    folder.write("hello.vat.toml", &text);
    let ran = folder.vat_with(&["check"], &[("LANG", "C.UTF-8")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(9), ""));
    assert_text(
        &ran.stderr,
        r#"V0103

  × unknown key `right` in [use.notes]
    ╭─[hello.vat.toml:12:1]
 11 │ type   = "Directory"
 12 │ right = ["read", "write"]
    · ──┬──
    ·   ╰── not known here
 13 │ [use.log]
    ╰────
  help: did you mean `rights`? Known here: type, rights, optional

V0301

  × nobody fills the slot `log`
    ╭─[hello.vat.toml:13:6]
 12 │ right = ["read", "write"]
 13 │ [use.log]
    ·      ─┬─
    ·       ╰── declared here, and not optional
 14 │ type = "LogSink"
    ╰────
  help: write into [run.grants]: log = "launcher.log"

V0302

  × there is no slot `lgo` to fill
    ╭─[hello.vat.toml:27:1]
 26 │ notes = { dir = "./notes", create = true }
 27 │ lgo   = "launcher.log"
    · ─┬─
    ·  ╰── not declared in [use]
    ╰────
  help: did you mean `log`?

error: 3 errors in hello.vat.toml
hint: `vat help V0103` says more about it"#,
    );
}

#[test]
fn errors_are_readable_without_unicode_and_on_dumb_terminals() {
    let folder = Folder::new();
    folder.write(
        "hello.vat.toml",
        &VALID.replace("manifest = 1", "manifest = 2"),
    );
    let plain = folder.vat(&["check"]).stderr;
    assert!(
        plain.is_ascii() && plain.contains("hello.vat.toml:1:12"),
        "{plain}"
    );
    let dumb = folder
        .vat_with(&["check"], &[("TERM", "dumb"), ("LANG", "C.UTF-8")])
        .stderr;
    assert!(dumb.is_ascii(), "{dumb}");
    assert!(dumb.contains("manifest version 2 is not known"), "{dumb}");
    assert!(dumb.contains("line 1, column 12"), "{dumb}");
}

#[test]
fn errors_are_data_with_json() {
    let folder = Folder::new();
    folder.write(
        "hello.vat.toml",
        &VALID.replace("\"LogSink\"", "\"LogSnik\""),
    );
    let (code, kind, data) = folder.json(&["check"]);
    assert_eq!((code, kind.as_str()), (Some(9), "check"));
    assert_eq!(
        (&data["valid"], &data["manifest"]),
        (&false.into(), &().into())
    );
    let found = &data["diagnostics"][0];
    assert_eq!(
        (&found["code"], &found["severity"]),
        (&"V0202".into(), &"error".into())
    );
    assert_eq!(found["labels"][0]["from"]["line"], 14);
    assert_eq!(found["labels"][0]["from"]["column"], 8);
}

#[test]
fn warnings_do_not_fail() {
    let folder = Folder::new();
    folder.write("hello.vat.toml", &VALID.replace("127.0.0.1", "0.0.0.0"));
    let ran = folder.vat(&["check"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("V0209") && ran.stdout.contains("is valid"));
}

#[test]
fn the_manifest_is_found_when_there_is_only_one() {
    let folder = Folder::new();
    let ran = folder.vat(&["check"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("there is no manifest (*.vat.toml) here"),
        "{}",
        ran.stderr
    );
    folder.write("a.vat.toml", VALID);
    assert_eq!(folder.vat(&["check"]).code, Some(0));
    assert_eq!(folder.vat(&["check", "."]).code, Some(0));
    folder.write("b.vat.toml", VALID);
    let ran = folder.vat(&["check"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("name one of them: a.vat.toml, b.vat.toml"),
        "{}",
        ran.stderr
    );
    let ran = folder.vat(&["check", "c.vat.toml"]);
    assert_eq!(ran.code, Some(9));
    assert!(ran.stderr.contains("V0001"), "{}", ran.stderr);
}

#[test]
fn a_package_can_be_built_for_the_check() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("src")).unwrap();
    folder.write(
        "Cargo.toml",
        "[package]\nname = \"tiny\"\nedition = \"2024\"\n[workspace]\n",
    );
    folder.write("src/main.rs", "fn main() {}");
    let manifest = VALID.replace(
        "exec = \"./hello\"",
        "cargo = { package = \"tiny\", bin = \"tiny\" }",
    );
    folder.write("hello.vat.toml", &manifest);
    let path = std::env::var("PATH").unwrap();
    let home = std::env::var("HOME").unwrap_or_default();
    let environment = [
        ("PATH", path.as_str()),
        ("HOME", &home),
        ("CARGO", env!("CARGO")),
    ];
    let ran = folder.vat_with(&["check", "--build"], &environment);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("runs      the program tiny of package tiny"),
        "{}",
        ran.stdout
    );

    folder.write("src/main.rs", "fn main() { let x: u8 = \"text\"; }");
    let ran = folder.vat_with(&["check", "--build"], &environment);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(125), ""));
    assert!(
        ran.stderr
            .contains("error: the package tiny cannot be built"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("src/main.rs:1:25"), "{}", ran.stderr);
}
