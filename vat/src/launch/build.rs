//! Builds programs that a manifest names by Cargo package, statically linked.
//!
//! Only the last step differs from an ordinary build: `cargo rustc` passes
//! `-C target-feature=+crt-static` to the program's own crate, so that dependencies, procedural
//! macros and build scripts are shared with every other build of the workspace, and nothing has to
//! be configured in it.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use serde::Deserialize;
use thiserror::Error;

use super::confine::{LoadError, SealedProgram};
use super::manifest::{CargoTarget, TargetKind};

/// How much of Cargo's output is kept for an error, in bytes: the last part of it.
const KEPT_OUTPUT: usize = 256 * 1024;

/// Longest line of Cargo's JSON that is understood, in bytes; longer ones are skipped.
const MAX_MESSAGE: u64 = 4 << 20;

/// How to build.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Builder {
    /// The `cargo` to run: a path, or a name to be found in `PATH`. Cargo sets the environment
    /// variable `CARGO` to itself for programs that it runs.
    pub cargo: PathBuf,
    /// Whether to optimise.
    pub release: bool,
    /// Whether the compiler's messages are coloured.
    pub colours: bool,
}

impl Builder {
    /// An unoptimised build with this `cargo`.
    #[must_use]
    pub fn new(cargo: impl Into<PathBuf>) -> Self {
        Self {
            cargo: cargo.into(),
            release: false,
            colours: false,
        }
    }

    /// The same, optimised or not.
    #[must_use]
    pub fn with_release(mut self, release: bool) -> Self {
        self.release = release;
        self
    }

    /// The same, with coloured messages or without.
    #[must_use]
    pub fn with_colours(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }

    /// Builds a program and copies it into sealed memory, before another build can replace it.
    ///
    /// Blocks, possibly for minutes. `progress` is called on this thread with each line that Cargo
    /// prints, without its line break: what it compiles, that it waits for another build, and the
    /// compiler's messages.
    ///
    /// # Authority
    ///
    /// Runs `cargo` with the environment and the rights of this process. Build scripts and macros
    /// of the package run with them too: who builds a package trusts it.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: Cargo cannot be run, the build fails, or its result is not a program that
    /// can be confined.
    pub fn build(
        &self,
        target: &CargoTarget,
        mut progress: impl FnMut(&str),
    ) -> Result<SealedProgram, BuildError> {
        let unavailable = |source| BuildError::Unavailable {
            cargo: self.cargo.clone(),
            source,
        };
        let child = self.command(target).spawn().map_err(unavailable)?;
        let outcome = follow(child, target, &mut progress).map_err(unavailable)?;
        if !outcome.status.success() {
            return Err(BuildError::Failed {
                package: target.package.clone(),
                output: outcome.output,
            });
        }
        let Some(path) = outcome.executable else {
            return Err(BuildError::NoProgram {
                package: target.package.clone(),
            });
        };
        SealedProgram::load(&path).map_err(BuildError::Unusable)
    }

    fn command(&self, target: &CargoTarget) -> Command {
        let mut command = Command::new(&self.cargo);
        command
            .current_dir(&target.folder)
            .args(["rustc", "--package", &target.package])
            .arg("--message-format=json-render-diagnostics")
            .args(["--color", if self.colours { "always" } else { "never" }]);
        match &target.target {
            TargetKind::Bin(name) => command.args(["--bin", name]),
            TargetKind::Example(name) => command.args(["--example", name]),
        };
        if self.release {
            command.arg("--release");
        }
        command
            .args(["--", "-C", "target-feature=+crt-static"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Why a program could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Cargo is not there, cannot be run, or cannot be read from.
    #[error("{} cannot be run", cargo.display())]
    Unavailable {
        /// What was run.
        cargo: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Cargo says that the build failed.
    #[error("the package {package} cannot be built")]
    Failed {
        /// The package.
        package: String,
        /// What Cargo and the compiler printed; of a long output the last part.
        output: String,
    },
    /// The build succeeded without making a program.
    #[error("building the package {package} made no program of that name")]
    NoProgram {
        /// The package.
        package: String,
    },
    /// What was built cannot be started confined.
    #[error(transparent)]
    Unusable(LoadError),
}

struct Outcome {
    status: ExitStatus,
    executable: Option<PathBuf>,
    output: String,
}

/// Reads both of Cargo's streams to their ends, then waits for it.
fn follow(
    mut child: Child,
    target: &CargoTarget,
    progress: &mut impl FnMut(&str),
) -> io::Result<Outcome> {
    let (messages, lines) = (child.stdout.take(), child.stderr.take());
    let (executable, output) = thread::scope(|scope| {
        let messages = scope.spawn(|| messages.and_then(|stream| executable_in(stream, target)));
        let output = lines.map(|stream| read_lines(stream, progress));
        // That thread only reads; it has no reason to panic.
        let executable = messages.join().unwrap_or_default();
        (executable, output.unwrap_or_default())
    });
    let status = child.wait()?;
    Ok(Outcome {
        status,
        executable,
        output,
    })
}

/// The part of Cargo's messages that is of interest here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<MessageTarget>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

/// Finds the wanted target's executable among Cargo's JSON lines.
fn executable_in(stream: impl Read, wanted: &CargoTarget) -> Option<PathBuf> {
    let (kind, name) = match &wanted.target {
        TargetKind::Bin(name) => ("bin", name),
        TargetKind::Example(name) => ("example", name),
    };
    let mut reader = BufReader::new(stream);
    let mut executable = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_MESSAGE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return executable,
            Ok(_) => {}
        }
        // Lines that a build script or a wrapper printed in between are not ours to judge.
        let Ok(message) = serde_json::from_slice::<Message>(&line) else {
            continue;
        };
        let is_wanted = |target: &MessageTarget| {
            target.name == *name && target.kind.iter().any(|word| word == kind)
        };
        if message.reason == "compiler-artifact" && message.target.as_ref().is_some_and(is_wanted) {
            executable = message.executable.or(executable);
        }
    }
}

/// Passes lines on, and keeps the last part of them.
fn read_lines(stream: impl Read, progress: &mut impl FnMut(&str)) -> String {
    let mut reader = BufReader::new(stream);
    let mut output = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_MESSAGE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return output,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        progress(text.trim_end());
        output.push_str(&text);
        if output.len() > 2 * KEPT_OUTPUT {
            keep_end(&mut output);
        }
    }
}

/// Drops whole lines from the beginning, until no more than [`KEPT_OUTPUT`] is left.
fn keep_end(output: &mut String) {
    let mut from = output.len().saturating_sub(KEPT_OUTPUT);
    while !output.is_char_boundary(from) {
        from += 1;
    }
    let line = output.get(from..).and_then(|rest| rest.find('\n'));
    from += line.map_or(0, |at| at + 1);
    output.replace_range(..from, "");
}

/// The folder of the nearest `Cargo.toml` at or above `folder`: what a build would use.
#[must_use]
pub fn package_folder(folder: &Path) -> Option<&Path> {
    folder
        .ancestors()
        .find(|folder| folder.join("Cargo.toml").is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A package with a program and an example, without dependencies.
    fn package(main: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "Cargo.toml",
            "[package]\nname = \"tiny\"\nedition = \"2024\"\n[workspace]\n",
        );
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::create_dir(folder.path().join("examples")).unwrap();
        write("src/main.rs", main);
        write("examples/other.rs", "fn main() {}");
        folder
    }

    fn cargo() -> Builder {
        Builder::new(env!("CARGO"))
    }

    fn target(folder: &TempDir, target: TargetKind) -> CargoTarget {
        CargoTarget {
            folder: folder.path().to_owned(),
            package: "tiny".to_owned(),
            target,
        }
    }

    #[test]
    fn a_package_becomes_a_program_that_can_be_confined() {
        let folder = package("fn main() {}");
        let mut lines = Vec::new();
        let bin = target(&folder, TargetKind::Bin("tiny".to_owned()));
        let program = cargo()
            .build(&bin, |line| lines.push(line.to_owned()))
            .unwrap();
        assert!(program.path().ends_with("tiny"));
        assert!(
            lines.iter().any(|line| line.contains("Compiling tiny")),
            "{lines:?}"
        );
        let example = target(&folder, TargetKind::Example("other".to_owned()));
        let other = cargo().build(&example, |_| ()).unwrap();
        assert!(other.path().ends_with("examples/other"));
        assert_ne!(program.hash(), other.hash());
    }

    #[test]
    fn the_compilers_message_is_kept() {
        let folder = package("fn main() { let x: u8 = \"text\"; }");
        let bin = target(&folder, TargetKind::Bin("tiny".to_owned()));
        let error = cargo().build(&bin, |_| ()).unwrap_err();
        let BuildError::Failed { output, .. } = error else {
            panic!("{error:?}")
        };
        assert!(output.contains("mismatched types"), "{output}");
        assert!(output.contains("src/main.rs:1:25"), "{output}");
    }

    #[test]
    fn a_target_that_is_not_there_is_cargos_error() {
        let folder = package("fn main() {}");
        let bin = target(&folder, TargetKind::Bin("nothing".to_owned()));
        let error = cargo().build(&bin, |_| ()).unwrap_err();
        let BuildError::Failed { output, .. } = error else {
            panic!("{error:?}")
        };
        assert!(output.contains("no bin target named"), "{output}");
    }

    #[test]
    fn a_missing_cargo_is_said_to_be_missing() {
        let folder = package("fn main() {}");
        let bin = target(&folder, TargetKind::Bin("tiny".to_owned()));
        let builder = Builder::new("/nonexistent/cargo");
        let error = builder.build(&bin, |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/cargo cannot be run");
    }

    #[test]
    fn only_the_wanted_targets_executable_is_taken() {
        let folder = TempDir::new().unwrap();
        let lines = concat!(
            "not json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"x","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"x","kind":["bin"]},"executable":"/t/x"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"y","kind":["bin"]},"executable":"/t/y"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = |kind| executable_in(lines.as_bytes(), &target(&folder, kind));
        let x = TargetKind::Bin("x".to_owned());
        assert_eq!(found(x), Some(PathBuf::from("/t/x")));
        assert_eq!(found(TargetKind::Example("x".to_owned())), None);
    }

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let long = format!("{}last\n", "é line\n".repeat(200_000));
        let mut count = 0;
        let output = read_lines(long.as_bytes(), &mut |_| count += 1);
        assert_eq!(count, 200_001);
        assert!(output.ends_with("é line\nlast\n") && output.starts_with("é line\n"));
        assert!(output.len() <= 2 * KEPT_OUTPUT);
    }
}
