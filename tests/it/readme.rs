//! Every command of the README does what it says, in the order of the README.
//!
//! The test command itself is run by `.ci/run`, which takes it from the README too.

use std::process::Command;

use crate::harness::{Ensemble, texts, vat_binary, workspace};

/// The commands of all `console` blocks.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            line if inside => commands.extend(line.strip_prefix("$ ").map(str::to_owned)),
            _ => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_succeeds() {
    let ensemble = Ensemble::new();
    let commands = commands();
    assert!(
        commands.iter().any(|command| command.ends_with("-- demo")),
        "{commands:?}"
    );
    let path = format!(
        "{}:{}",
        vat_binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    for command in commands
        .iter()
        .filter(|command| !command.starts_with("cargo test"))
    {
        let output = Command::new("sh")
            .args(["-ec", command])
            .env("PATH", &path)
            .env("XDG_STATE_HOME", ensemble.path("state"))
            .env("XDG_RUNTIME_DIR", ensemble.path("run"))
            .current_dir(workspace())
            .output()
            .unwrap();
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success(), "$ {command}\n{stdout}{stderr}");
    }
}
