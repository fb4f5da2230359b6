//! Slots of the ensemble and what `[run.grants]` puts into them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::super::{Places, Power, Rights};
use super::{Bench, with};

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
