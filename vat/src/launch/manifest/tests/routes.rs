//! The grants of children: each error with its place, and what to do about it.

use super::super::Code;
use super::{Bench, gateway, shop};

const LEDGER: &str = "ledger = \"shop::Ledger\"";

#[test]
fn slots_of_children_are_filled_unless_optional() {
    let bench = Bench::new();
    let text = gateway("log = \"LogSink\"", "");
    assert_eq!(bench.marked(&text), ["V0301 log"]);
    assert_eq!(
        bench.help(&text),
        "write into [children.gateway.grants]: log = \"use.log\""
    );
    let text = gateway(LEDGER, "");
    assert_eq!(
        bench.help(&text),
        "write into [children.gateway.grants]: ledger = \"children.ledger.ledger\""
    );
    let text = gateway("log = { type = \"LogSink\", optional = true }", "");
    assert_eq!(bench.marked(&text), [""; 0]);
}

#[test]
fn only_declared_slots_are_filled() {
    let bench = Bench::new();
    let text = gateway(LEDGER, "ledgr = \"children.ledger.ledger\"");
    assert_eq!(bench.marked(&text), ["V0301 ledger", "V0302 ledgr"]);
    let text = gateway(
        "log = { type = \"LogSink\", optional = true }",
        "logs = \"use.log\"",
    );
    assert_eq!(bench.help(&text), "did you mean `log`?");
}

#[test]
fn a_malformed_source_names_both_forms() {
    let bench = Bench::new();
    for source in [
        "\"log\"",
        "\"use\"",
        "\"use.a.b\"",
        "\"use.A\"",
        "\"children.ledger\"",
        "\"children.ledger.ledger.x\"",
        "\"children..ledger\"",
        "\"./notes\"",
        "\"launcher.log\"",
        "\"\"",
    ] {
        let text = gateway("log = \"LogSink\"", &format!("log = {source}"));
        assert_eq!(bench.marked(&text), [format!("V0308 {source}")]);
        let help = bench.help(&text);
        assert!(help.contains("\"use.<slot>\""), "{help}");
        assert!(help.contains("\"children.<child>.<name>\""), "{help}");
    }
    let text = gateway("log = \"LogSink\"", "log = { tag = \"a\" }");
    assert_eq!(bench.marked(&text), ["V0102 { tag = \"a\" }"]);
    let text = gateway(
        "log = \"LogSink\"",
        "log = { dir = \"x\", from = \"use.log\" }",
    );
    assert_eq!(bench.marked(&text), ["V0103 dir"]);
    let text = gateway("log = \"LogSink\"", "log = 5");
    assert_eq!(
        bench.check(&text).report.diagnostics()[0].code,
        Code::WrongType
    );
}

#[test]
fn a_reference_among_the_grants_is_refused_and_not_shown() {
    let secret = "vat://abcdefghijklmnop@127.0.0.1:1/qrstuvwx";
    let text = gateway(LEDGER, &format!("ledger = \"{secret}\""));
    let checked = Bench::new().check(&text);
    assert!(checked.report.has_errors());
    let shown = format!("{:?} {}", checked.report, checked.report);
    assert!(!shown.contains("abcdef") && !shown.contains("qrstuv"));
}

#[test]
fn unknown_sources_get_the_nearest_known_one() {
    let bench = Bench::new();
    for (source, help) in [
        ("use.lgo", "did you mean \"use.log\"?"),
        (
            "children.legder.ledger",
            "did you mean \"children.ledger.ledger\"?",
        ),
        (
            "children.ledger.ledge",
            "did you mean \"children.ledger.ledger\"?",
        ),
        (
            "use.clock",
            "declare [use.clock], and fill it in [run.grants]",
        ),
        ("children.x.y", "declare [children.x] before it is used"),
        (
            "children.ledger.x",
            "write into [children.ledger]: expose = { x = \"package::Trait\" }",
        ),
    ] {
        let text = gateway(LEDGER, &format!("ledger = \"{source}\""));
        assert_eq!(bench.marked(&text), [format!("V0309 \"{source}\"")]);
        assert_eq!(bench.help(&text), help);
    }
}

#[test]
fn a_route_leads_to_children_further_down_only() {
    let bench = Bench::new();
    let first = "[children.early]\nexec = \"hello\"\nuse = { ledger = \"shop::Ledger\" }\n\
                 [children.early.grants]\nledger = \"children.ledger.ledger\"\n";
    let text = shop("").replace("[children.ledger]", &format!("{first}[children.ledger]"));
    assert_eq!(bench.marked(&text), ["V0310 \"children.ledger.ledger\""]);
    let help = bench.help(&text);
    assert!(help.contains("order of the text"), "{help}");
    assert!(
        help.contains("[children.ledger] above [children.early]"),
        "{help}"
    );
    let own = shop("").replace("use = {", "use = { self = \"shop::Ledger\",")
        + "self = \"children.ledger.ledger\"\n";
    assert_eq!(bench.marked(&own), ["V0311 \"children.ledger.ledger\""]);
}

#[test]
fn both_ends_of_a_route_have_one_interface() {
    let bench = Bench::new();
    for (slot, source) in [
        ("a = \"Clock\"", "use.log"),
        ("a = \"shop::Ledger\"", "use.log"),
        ("a = \"shop::Book\"", "children.ledger.ledger"),
        ("a = \"LogSink\"", "children.ledger.ledger"),
    ] {
        let text = gateway(slot, &format!("a = \"{source}\""));
        assert_eq!(bench.marked(&text), [format!("V0303 \"{source}\"")]);
    }
    let text = gateway("a = \"vat::LogSink\"", "a = \"use.log\"");
    assert_eq!(bench.marked(&text), [""; 0]);
}

#[test]
fn only_logs_are_tagged_and_tags_are_words() {
    let bench = Bench::new();
    let text = gateway(
        LEDGER,
        "ledger = { from = \"children.ledger.ledger\", tag = \"x\" }",
    );
    assert_eq!(bench.marked(&text), ["V0312 \"x\""]);
    let long = format!("\"{}\"", "x".repeat(65));
    for (tag, code) in [
        ("\"\"", "V0212"),
        ("\"a\\tb\"", "V0212"),
        (long.as_str(), "V0212"),
        ("\"w-{index}\"", "V0105"),
    ] {
        let grant = format!("log = {{ from = \"use.log\", tag = {tag} }}");
        let text = gateway("log = \"LogSink\"", &grant);
        assert_eq!(bench.marked(&text), [format!("{code} {tag}")]);
    }
    let of_child = gateway(
        "log = \"LogSink\"",
        "log = { from = \"children.ledger.log\", tag = \"x\" }",
    )
    .replace("ledger = \"shop::Ledger\" }", "log = \"LogSink\" }");
    assert_eq!(bench.marked(&of_child), ["V0105 \"x\""]);
    let longest = format!(
        "log = {{ from = \"use.log\", tag = \"{}\" }}",
        "x".repeat(64)
    );
    let text = gateway("log = \"LogSink\"", &longest);
    assert_eq!(bench.marked(&text), [""; 0]);
}

#[test]
fn rights_on_the_way_are_never_more_than_declared() {
    let bench = Bench::new();
    let text = |ensemble: &str, slot: &str, grant: &str| {
        let uses = format!("dir = {{ type = \"Directory\"{slot} }}");
        let text = gateway(&uses, &format!("dir = {{ from = \"use.store\"{grant} }}"));
        // Without the first child's writing there is one writer only.
        text.replacen("rights = [\"read\", \"write\"]", ensemble, 1)
            .replace("use = { store = \"Directory\", ", "use = { ")
            .replacen("store = \"use.store\"\n", "", 1)
    };
    let (none, read, write) = ("", "rights = [\"read\"]", "rights = [\"write\"]");
    let both = "rights = [\"read\", \"write\"]";
    let marked = |ensemble, slot: &str, grant: &str| {
        let key = |rights: &str| match rights {
            "" => String::new(),
            rights => format!(", {rights}"),
        };
        bench.marked(&text(ensemble, &key(slot), &key(grant)))
    };
    for (ensemble, slot, grant) in [
        (both, none, none),
        (both, read, none),
        (both, none, read),
        (both, read, read),
        (both, both, both),
        (read, read, none),
        (none, none, read),
        (write, write, none),
        (both, none, write),
        (both, write, none),
    ] {
        assert_eq!(marked(ensemble, slot, grant), [""; 0], "{slot} {grant}");
    }
    for (ensemble, slot, grant, finding) in [
        (read, none, both, "V0304 [\"read\", \"write\"]"),
        (none, none, both, "V0304 [\"read\", \"write\"]"),
        (read, both, none, "V0304 [\"read\", \"write\"]"),
        (write, read, none, "V0304 [\"read\"]"),
        (both, read, both, "V0304 [\"read\", \"write\"]"),
        (both, both, read, "V0305 [\"read\"]"),
    ] {
        assert_eq!(marked(ensemble, slot, grant), [finding], "{slot} {grant}");
    }
}

#[test]
fn rights_are_for_directories_of_the_ensemble() {
    let bench = Bench::new();
    let text = gateway(
        "log = \"LogSink\"",
        "log = { from = \"use.log\", rights = [\"read\"] }",
    );
    assert_eq!(bench.marked(&text), ["V0306 [\"read\"]"]);
    let text = gateway(
        "log = { type = \"LogSink\", rights = [\"read\"] }",
        "log = \"use.log\"",
    );
    assert_eq!(bench.check(&text).report.errors().count(), 1);
    let given = |slot: &str, grant: &str| {
        gateway(slot, grant).replace("ledger = \"shop::Ledger\" }", "dir = \"Directory\" }")
    };
    let child = "from = \"children.ledger.dir\"";
    let text = given(
        "dir = \"Directory\"",
        &format!("dir = {{ {child}, rights = [\"read\"] }}"),
    );
    assert_eq!(bench.marked(&text), ["V0306 [\"read\"]"]);
    let text = given(
        "dir = { type = \"Directory\", rights = [\"read\"] }",
        &format!("dir = {{ {child} }}"),
    );
    assert_eq!(bench.marked(&text), ["V0306 [\"read\"]"]);
    let text = given("dir = \"Directory\"", &format!("dir = {{ {child} }}"));
    assert_eq!(bench.marked(&text), [""; 0]);
}

#[test]
fn a_directory_of_another_vat_is_narrowed_to_reading_only() {
    let bench = Bench::new();
    bench.write_reference("store.cap");
    let text = |rights: &str| {
        let grant = format!("dir = {{ from = \"use.store\", rights = [{rights}] }}");
        gateway("dir = \"Directory\"", &grant)
            .replace("{ dir = \"notes\" }", "{ ref = \"store.cap\" }")
            .replace("store = \"Directory\", ", "")
            .replacen("store = \"use.store\"\n", "", 1)
    };
    assert_eq!(bench.marked(&text("\"read\"")), [""; 0]);
    assert_eq!(bench.marked(&text("\"write\"")), ["V0105 [\"write\"]"]);
    // Nobody has opened it with what the ensemble's slot declares, so that is left on the way, too.
    let narrow = |text: String| text.replace("rights = [\"read\", \"write\"]\n", "");
    for text in [
        text("\"read\""),
        narrow(text("\"read\"")),
        narrow(text("\"read\"").replace(", rights = [\"read\"]", "")),
    ] {
        let manifest = bench.manifest(&text);
        let gateway = manifest.child("gateway").unwrap();
        let left = gateway.route("dir").unwrap().rights.unwrap();
        assert!(left.read && !left.write, "{text}");
    }
}

#[test]
fn files_are_passed_on_whole() {
    let bench = Bench::new();
    bench.write_reference("file.cap");
    let text = |slot: &str, grant: &str| {
        gateway(
            &format!("file = {{ type = \"File\"{slot} }}"),
            &format!("file = {{ from = \"use.file\"{grant} }}"),
        )
        .replace(
            "[run.grants]",
            "[use.file]\ntype = \"File\"\nrights = [\"read\", \"write\"]\n[run.grants]\n\
             file = { ref = \"file.cap\" }",
        )
    };
    let read = ", rights = [\"read\"]";
    assert_eq!(bench.marked(&text("", "")), [""; 0]);
    assert_eq!(bench.marked(&text("", read)), ["V0306 [\"read\"]"]);
    assert_eq!(bench.marked(&text(read, "")), ["V0105 [\"read\"]"]);
}

#[test]
fn a_slot_that_no_child_uses_is_a_warning() {
    let bench = Bench::new();
    let text = shop("")
        .replace("log = \"use.log\"\n", "")
        .replace(", log = \"LogSink\"", "");
    assert_eq!(bench.marked(&text), ["warning V0313 log"]);
    assert!(bench.check(&text).manifest.is_some());
}

#[test]
fn two_children_that_write_one_directory_are_a_warning() {
    let bench = Bench::new();
    let text = |grant: &str| gateway("dir = \"Directory\"", &format!("dir = {grant}"));
    let whole = text("\"use.store\"");
    assert_eq!(bench.marked(&whole), ["warning V0409 \"use.store\""]);
    let checked = bench.check(&whole);
    let finding = &checked.report.diagnostics()[0];
    assert!(
        finding.message.contains("`ledger` and `gateway`"),
        "{finding:?}"
    );
    assert!(checked.manifest.is_some());
    let narrowed = text("{ from = \"use.store\", rights = [\"read\"] }");
    assert_eq!(bench.marked(&narrowed), [""; 0]);
    let own = shop("again = \"use.store\"\n").replace("use = {", "use = { again = \"Directory\",");
    assert_eq!(bench.marked(&own), ["warning V0409 \"use.store\""]);
}
