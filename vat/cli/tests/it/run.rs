//! Runs the command in a folder of its own and catches what it prints.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder in which commands run, with a program to name in manifests.
pub(crate) struct Folder(TempDir);

/// What one command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        fs::write(folder.path("hello"), static_program()).unwrap();
        fs::set_permissions(folder.path("hello"), fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Runs `vat` with these arguments, and nothing of this test's environment.
    pub(crate) fn vat(&self, arguments: &[&str]) -> Ran {
        self.vat_with(arguments, &[])
    }

    pub(crate) fn vat_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_vat"))
            .args(arguments)
            .env_clear()
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_STATE_HOME", self.path("state"))
            .envs(environment.iter().copied())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            let folder = self.0.path().canonicalize().unwrap();
            text.replace(&folder.display().to_string(), "[FOLDER]")
        };
        Ran {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs `vat … --json` and gives the exit code, and the kind and all of the only envelope.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Option<i32>, String, Value) {
        let ran = self.vat(&[arguments, &["--json"]].concat());
        assert_eq!(ran.stderr, "", "with --json the error is the answer");
        assert_eq!(ran.stdout.lines().count(), 1, "one envelope is one line");
        let envelope: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(envelope["vat"], "v1");
        let kind = envelope["kind"].as_str().unwrap().to_owned();
        (ran.code, kind, envelope)
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

/// Compares line by line without the spaces at the ends, which editors like to remove.
#[track_caller]
pub(crate) fn assert_text(actual: &str, expected: &str) {
    let trim = |text: &str| {
        text.lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let (actual, expected) = (trim(actual), trim(expected));
    assert!(
        actual == expected,
        "--- actual\n{actual}\n--- expected\n{expected}\n---"
    );
}
