//! What holds for every command: versions, usage errors, secrets, colours.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use crate::run::{Folder, assert_text};

const URI: &str = "vat://mfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrg@h:1/secretsecret";

#[test]
fn version_is_an_answer_in_both_forms() {
    let folder = Folder::new();
    let expected = format!("vat {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["version"][..], &["--version"]] {
        let ran = folder.vat(arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(0), &*expected, "")
        );
    }
    let (code, kind, data) = folder.json(&["version"]);
    assert_eq!((code, kind.as_str()), (Some(0), "version"));
    assert_eq!(data["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    let folder = Folder::new();
    for arguments in [
        &["bogus"][..],
        &["check", "--bogus"],
        &["completions", "tcsh"],
        &[],
    ] {
        let ran = folder.vat(arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    let (code, kind, data) = folder.json(&["bogus"]);
    assert_eq!((code, kind.as_str()), (Some(2), "error"));
    assert_eq!(
        (
            data["error"]["kind"].as_str(),
            data["error"]["exit"].as_u64()
        ),
        (Some("usage"), Some(2))
    );
}

#[test]
fn a_reference_among_the_arguments_is_refused_and_not_repeated() {
    let folder = Folder::new();
    let embedded = format!("to={URI}");
    for arguments in [&["check", URI][..], &["bogus", &embedded], &["--json", URI]] {
        let ran = folder.vat(arguments);
        assert_eq!(ran.code, Some(2));
        let all = ran.stdout + &ran.stderr;
        assert!(
            all.contains("reference file") && all.contains("fd:N"),
            "{all}"
        );
        assert!(
            !all.contains("secretsecret") && !all.contains("mfrggzd"),
            "{all}"
        );
    }
    assert_text(
        &folder.vat(&["check", URI]).stderr,
        "\
error: argument 2 contains a reference (vat://…); references are secrets, and other users can read the arguments of a command
hint: name a reference file (guestbook.cap: one URI, mode 0600) instead
hint: or pass the reference on the standard input and write `-`
hint: or on an open descriptor, and write `fd:N`
hint: it may be in your shell's history now: ask who made it to revoke it and make another",
    );
}

#[test]
fn colours_appear_only_when_wanted() {
    let folder = Folder::new();
    let escaped = |environment: &[(&str, &str)]| {
        folder
            .vat_with(&["bogus"], environment)
            .stderr
            .contains('\u{1b}')
    };
    assert!(!escaped(&[]), "not a terminal");
    assert!(escaped(&[("CLICOLOR_FORCE", "1")]));
    assert!(!escaped(&[("NO_COLOR", "1")]));
}

#[test]
fn a_full_disk_is_a_failure() {
    let folder = Folder::new();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vat"))
        .arg("version")
        .current_dir(folder.path(""))
        .stdout(Stdio::from(full))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write the answer"));
}
