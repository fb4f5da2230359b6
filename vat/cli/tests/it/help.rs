//! `vat help` and `vat completions`.

use std::process::Command;

use crate::run::{Folder, assert_text};

#[test]
fn codes_are_explained() {
    let folder = Folder::new();
    let ran = folder.vat(&["help", "V0103"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_text(
        &ran.stdout,
        "\
V0103: unknown key

The manifest has a key that means nothing in this place. Unknown keys are
errors, because a misspelt key would otherwise silently take away a limit or a
check:

    [use.notes]
    type    = \"Directory\"
    right   = [\"read\"]      # wrong: the key is `rights`

The message lists the keys that are known there and names the nearest one.",
    );
    assert_eq!(folder.vat(&["help", "v0103"]).stdout, ran.stdout);
    let (_, kind, data) = folder.json(&["help", "V0103"]);
    assert_eq!(
        (kind.as_str(), data["topic"].as_str()),
        ("help", Some("V0103"))
    );
}

#[test]
fn every_topic_and_command_has_a_text() {
    let folder = Folder::new();
    for topic in [
        "codes",
        "exit-codes",
        "json",
        "manifest",
        "references",
        "check",
        "ref",
        "help",
    ] {
        let ran = folder.vat(&["help", topic]);
        assert_eq!(ran.code, Some(0), "{topic}");
        assert!(ran.stdout.lines().count() > 3, "{topic}");
        assert!(
            ran.stdout.lines().all(|line| line.chars().count() <= 100),
            "{topic}"
        );
    }
    let ran = folder.vat(&["help", "nonsense"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(
        ran.stderr.contains("topics: codes, exit-codes"),
        "{}",
        ran.stderr
    );
}

#[test]
fn exit_codes_are_listed() {
    assert_text(
        &Folder::new().vat(&["help", "exit-codes"]).stdout,
        "\
Exit codes:

    0  done
    1  the operation failed (the callee's error)
    2  the command line is wrong
    3  not running, or unhealthy
    4  no such path, petname or method (as far as known here)
    5  denied: revoked, expired, attenuated away, or never existed
    6  unreachable or disconnected
    7  timed out
    8  overloaded
    9  bad manifest, or a slot that nobody fills
   10  changes are pending
   11  some of several targets failed
   12  a supervisor gave up: too many restarts in too short a time
  125  the launcher failed
  126  the program cannot be executed
  127  the program was not found
  130  interrupted with Ctrl-C

`vat run` ends with the exit code of its program, where that has one.",
    );
}

#[test]
fn the_manifest_of_the_help_is_valid() {
    let folder = Folder::new();
    let help = folder.vat(&["help", "manifest"]).stdout;
    let example = help.lines().skip_while(|line| *line != "  manifest = 1");
    let example: Vec<_> = example
        .take_while(|line| !line.starts_with("Several programs"))
        .collect();
    std::fs::create_dir(folder.path("notes")).unwrap();
    folder.write("help.vat.toml", &example.join("\n"));
    let ran = folder.vat(&["check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn the_children_of_the_help_are_valid() {
    let folder = Folder::new();
    let help = folder.vat(&["help", "manifest"]).stdout;
    let example = help
        .lines()
        .skip_while(|line| !line.starts_with("  [children.ledger]"));
    let example: Vec<_> = example
        .take_while(|line| !line.starts_with("Nothing else"))
        .collect();
    let example = example.join("\n").replace("./ledger", "./hello");
    let example = example.replace("./gateway", "./hello");
    let before = "manifest = 1\n[vat]\nname = \"shop\"\n[use.store]\ntype = \"Directory\"\n\
                  rights = [\"read\", \"write\"]\n[use.log]\ntype = \"LogSink\"\n[run.grants]\n\
                  store = { dir = \"store\", create = true }\nlog = \"launcher.log\"\n";
    folder.write("shop.vat.toml", &format!("{before}{example}"));
    let ran = folder.vat(&["check"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("shop/gateway"), "{}", ran.stdout);
}

#[test]
fn completion_scripts_are_accepted_by_their_shells() {
    let folder = Folder::new();
    for (shell, arguments) in [
        ("bash", &["-n"][..]),
        ("zsh", &["-n"]),
        ("fish", &["--no-execute"]),
    ] {
        let script = folder.vat(&["completions", shell]).stdout;
        assert!(
            script.contains("exit") || script.contains("check"),
            "{shell}"
        );
        folder.write("script", &script);
        let checked = Command::new(shell)
            .args(arguments)
            .arg(folder.path("script"))
            .output();
        match checked {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            Err(_) => println!("not proven: {shell} is not installed"),
        }
    }
}
