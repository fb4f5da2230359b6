//! `vat demo`

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use vat::launch::manifest;

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::program;
use crate::runtime::block_on;
use crate::signals::Signals;
use crate::ui::Ui;

/// Where the program of the demo lies in a checkout.
const MANIFEST: &str = "examples/guestbook/guestbook.vat.toml";
/// How long the killed guestbook may take to be there again.
const BACK: Duration = Duration::from_secs(20);

/// Build a guestbook, run it confined, call it, kill it, and call it again
///
/// In a checkout of vat. Every step is a command that you can type; each line shows one and what
/// came of it. Everything happens in a temporary directory and is gone afterwards.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let source = find(&environment.directory)?;
    let checked = manifest::check(&source, environment.places()?);
    let (manifest, _) = checked.into_result().map_err(CommandError::bad_manifest)?;
    ui.note(
        "a guestbook that runs confined, is killed, and comes back behind the same reference\n",
    );
    for child in &manifest.children {
        program::seal(&child.program, false, environment, ui)?;
    }
    show(
        ui,
        "cargo rustc -p vat-examples --bin guestbook",
        "built, statically linked",
    )?;
    let place = Place::new(&source)?;
    block_on(async {
        let mut signals = Signals::catch()?;
        tokio::select! {
            result = steps(&place, ui) => result,
            _ = signals.next() => Err(CommandError::new(Kind::Interrupted, "the demo was interrupted")),
        }
    })?;
    drop(place);
    let program = std::env::current_exe().unwrap_or_else(|_| "vat".into());
    ui.note("");
    ui.hint(
        "next",
        &format!("{} up -d {}", program.display(), source.display()),
    );
    Ok(())
}

/// The manifest in this directory or above.
fn find(directory: &Path) -> Result<PathBuf, CommandError> {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let found = absolute
        .ancestors()
        .map(|dir| dir.join(MANIFEST))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        CommandError::new(
            Kind::Usage,
            format!("there is no {MANIFEST} here or above: the demo needs a checkout of vat"),
        )
        .hint("go to the directory of the checkout, the one with Cargo.toml and examples/")
    })
}

async fn steps(place: &Place, ui: &mut Ui) -> Result<(), CommandError> {
    place.vat(&["up", "-d", "guestbook.vat.toml"]).await?;
    let (pid, level, _) = place.status().await?;
    let seen = format!("up: process {pid}, confined at level {level}");
    show(ui, "vat up -d guestbook.vat.toml", &seen)?;

    place.sign("Ann", "hello", ui).await?;

    let process = Pid::from_raw(pid).ok_or_else(|| surprise("it has no process"))?;
    kill_process(process, Signal::KILL).map_err(|errno| surprise(&format!("kill: {errno}")))?;
    show(ui, &format!("kill -KILL {pid}"), "killed")?;

    let page = place
        .vat(&["call", "guestbook.cap", "page", "--json"])
        .await?;
    let entries = parse(&page)?.get("result").cloned().unwrap_or_default();
    show(ui, "vat call guestbook.cap page", &summary(&entries))?;
    if entries.as_array().map(Vec::len) != Some(1) {
        return Err(surprise("the book should have one entry"));
    }

    let (again, _, restarts) = place.status().await?;
    show(
        ui,
        "vat ps",
        &format!("process {again}, restarts: {restarts}"),
    )?;

    place.sign("Bob", "still here", ui).await?;

    place.vat(&["down", "guestbook", "--yes"]).await?;
    show(ui, "vat down guestbook", "down")
}

/// One line: a command, and what came of it.
fn show(ui: &mut Ui, command: &str, seen: &str) -> Result<(), CommandError> {
    let data = json!({ "command": command, "seen": seen });
    ui.answer("demo", &data, &format_args!("$ {command:<55} {seen}"))
}

fn summary(entries: &Json) -> String {
    let mut text = String::new();
    for entry in entries.as_array().into_iter().flatten() {
        let field = |name| entry.get(name).and_then(Json::as_str).unwrap_or("?");
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing into a String cannot fail.
        let _ = write!(text, "{separator}{}: {:?}", field("name"), field("text"));
    }
    text
}

/// A directory of its own for the demo's ensemble, which ends with it.
struct Place {
    dir: TempDir,
    program: PathBuf,
}

impl Place {
    fn new(source: &Path) -> Result<Self, CommandError> {
        let fail = |error: std::io::Error| surprise(&format!("no temporary directory: {error}"));
        let program = std::env::current_exe().map_err(fail)?;
        let dir = tempfile::Builder::new()
            .prefix("vat-demo-")
            .tempdir()
            .map_err(fail)?;
        for name in ["state", "run", "data"] {
            std::fs::create_dir(dir.path().join(name)).map_err(fail)?;
        }
        let folder = source.parent().unwrap_or_else(|| Path::new("."));
        let text = std::fs::read_to_string(source).map_err(fail)?;
        let built = format!("cargo = {{ folder = {:?},", folder.display().to_string());
        let text = text.replacen("cargo = {", &built, 1);
        std::fs::write(dir.path().join("guestbook.vat.toml"), text).map_err(fail)?;
        Ok(Self { dir, program })
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("XDG_STATE_HOME", self.dir.path().join("state"))
            .env("XDG_RUNTIME_DIR", self.dir.path().join("run"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of ours as a person would, and gives what it prints.
    async fn vat(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let mut command = self.command(arguments);
        let ran = tokio::task::spawn_blocking(move || command.output()).await;
        let output = ran.map_err(std::io::Error::other).and_then(|output| output);
        let output = output.map_err(|error| surprise(&format!("vat cannot be run: {error}")))?;
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&stderr);
        let message = format!("vat {}: {status}\n{}", arguments.join(" "), said.trim_end());
        Err(surprise(&message))
    }

    async fn sign(&self, name: &str, text: &str, ui: &mut Ui) -> Result<(), CommandError> {
        let (name, text) = (format!("name={name}"), format!("text={text}"));
        let number = self
            .vat(&["call", "guestbook.cap", "sign", &name, &text])
            .await?;
        let text = if text.contains(' ') {
            format!("'{text}'")
        } else {
            text
        };
        let command = format!("vat call guestbook.cap sign {name} {text}");
        show(ui, &command, &number)
    }

    /// Process, confinement and restarts of the guestbook, once it runs.
    async fn status(&self) -> Result<(i32, String, u64), CommandError> {
        let end = Instant::now() + BACK;
        loop {
            let status = parse(&self.vat(&["ps", "--json"]).await?)?;
            let child = status.pointer("/children/0").cloned().unwrap_or_default();
            let field = |name| child.get(name).cloned().unwrap_or_default();
            let pid = field("pid")
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid @ 1..) = pid {
                let level = field("confinement").as_str().unwrap_or_default().to_owned();
                return Ok((pid, level, field("restarts").as_u64().unwrap_or_default()));
            }
            if Instant::now() > end {
                return Err(surprise("the guestbook did not come back"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Place {
    /// Also after a failure or Ctrl-C nothing is left.
    fn drop(&mut self) {
        if self
            .dir
            .path()
            .join("run/vat/guestbook/control.cap")
            .exists()
        {
            drop(self.command(&["down", "guestbook", "--yes"]).output());
        }
    }
}

fn parse(text: &str) -> Result<Json, CommandError> {
    serde_json::from_str(text).map_err(|error| surprise(&format!("not JSON: {error}: {text}")))
}

fn surprise(what: &str) -> CommandError {
    CommandError::new(Kind::Failed, format!("the demo failed: {what}"))
}
