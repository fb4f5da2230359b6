//! `vat up`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};
use vat::dynamic::Types;
use vat::power::{ChildStatus, LogRecord};
use vat::schema::describe;
use vat::supervisor::Outcome;

use crate::background::{self, Waiting};
use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::progress::Progress;
use crate::records::Line;
use crate::runtime::block_on;
use crate::session::{self, Now, Plan, Session};
use crate::signals::Asked;
use crate::ui::Ui;
use crate::{example, reference};

/// Start what a manifest describes, confined and supervised
///
/// Writes a reference file for each reference that the manifest exposes (guestbook.cap), waits
/// until every program is ready, and prints what to type next. In the foreground it shows the log;
/// Ctrl-C stops in order, a second Ctrl-C at once. With -d it goes on in the background; `vat down`
/// stops it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest; without it, the only *.vat.toml in this directory
    manifest: Option<PathBuf>,

    /// Go into the background as soon as every program is ready
    #[arg(short, long)]
    detach: bool,

    /// Where the reference files go
    #[arg(long, value_name = "DIR", default_value = ".")]
    refs: PathBuf,

    /// Build a program that is named by its Cargo package with optimizations
    #[arg(long)]
    release: bool,

    /// This is the process in the background
    #[arg(long, hide = true)]
    in_background: bool,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    if args.detach && !args.in_background {
        return background::start(&arguments(args, ui.is_json())?);
    }
    let waiting = args.in_background.then(Waiting::take).transpose()?;
    let manifest = session::manifest(args.manifest.as_deref(), environment, ui)?;
    let plan = Plan {
        manifest,
        args: Vec::new(),
        refs: args.refs.clone(),
        release: args.release,
        once: false,
    };
    block_on(up(plan, waiting, environment, ui))
}

/// The command line of the process in the background.
fn arguments(args: &Args, json: bool) -> Result<Vec<String>, CommandError> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            CommandError::new(Kind::Usage, format!("{} is not text", path.display()))
        })
    };
    let mut words = vec!["up".to_owned(), "--in-background".to_owned()];
    words.push(format!("--refs={}", text(&args.refs)?));
    words.extend(args.release.then(|| "--release".to_owned()));
    words.extend(json.then(|| "--json".to_owned()));
    if let Some(manifest) = &args.manifest {
        words.extend(["--".to_owned(), text(manifest)?]);
    }
    Ok(words)
}

async fn up(
    plan: Plan,
    waiting: Option<Waiting>,
    environment: &Environment,
    ui: &mut Ui,
) -> Result<(), CommandError> {
    let progress = Progress::new(
        format!("starting {}", plan.manifest.name),
        environment.dumb_terminal,
    );
    let mut session = Session::start(plan, environment, ui).await?;
    if waiting.is_some() {
        Waiting::leave_session();
    }
    let now = session.ready(ui).await?;
    drop(progress);
    if let Now::Over(outcome) = now {
        return over(&mut session, &outcome, ui).await;
    }
    announce(&session, ui).await?;
    match waiting {
        Some(waiting) => {
            if !waiting.ready()? {
                // Whoever wanted it has given up waiting, with Ctrl-C perhaps.
                session.obey(Asked::Interrupt, ui);
            }
            in_background(&mut session, ui).await
        }
        None => {
            ui.note(&format!(
                "Ctrl-C stops {}; its log follows",
                session.launcher.name()
            ));
            let mut show = ui.err();
            let mut log = std::mem::take(&mut session.log);
            let shown = log.each(|record: &LogRecord| show.line(&Line(record).to_string()));
            let outcome = tokio::select! {
                outcome = session.over(ui) => outcome?,
                () = shown => Outcome::Stopped,
            };
            session.log = log;
            over(&mut session, &outcome, ui).await
        }
    }
}

/// A supervisor that gave up stays, so that `vat ps` and `vat logs` can tell, until `vat down`.
async fn in_background(session: &mut Session, ui: &mut Ui) -> Result<(), CommandError> {
    let outcome = session.over(ui).await?;
    if matches!(outcome, Outcome::GaveUp(_)) {
        tokio::select! {
            () = session.launcher.stop_requested() => {}
            _ = session.signals.next() => {}
        }
    }
    session.launcher.flushed().await;
    Ok(())
}

async fn over(session: &mut Session, outcome: &Outcome, ui: &mut Ui) -> Result<(), CommandError> {
    let name = session.launcher.name().to_owned();
    match outcome {
        Outcome::Stopped if session.interrupted() => {
            ui.note(&format!("{name} is stopped"));
            Err(CommandError::said(Kind::Interrupted))
        }
        Outcome::Stopped if session.launcher.is_stopping() => {
            ui.note(&format!("{name} is stopped"));
            Ok(())
        }
        // Programs that are not to be started again have come to their end.
        Outcome::Stopped | Outcome::AutoShutdown(_) => {
            for child in session.launcher.children() {
                ui.note(&format!("{} {}", child.path, child.last_exit));
            }
            Ok(())
        }
        _ => Err(session.failure(outcome, ui).await),
    }
}

/// Says what is up and what to type next.
async fn announce(session: &Session, ui: &mut Ui) -> Result<(), CommandError> {
    let launcher = &session.launcher;
    let children = launcher.children();
    let listens: Vec<String> = launcher
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let files: Vec<PathBuf> = launcher
        .reference_files()
        .iter()
        .map(|path| plain(path))
        .collect();
    let next = next(session, &files).await;
    let data = json!({
        "name": launcher.name(),
        "pid": std::process::id(),
        // The only one; `children` are all of them.
        "child": match children.as_slice() {
            [child] => super::ps::json_of_child(child),
            _ => Json::Null,
        },
        "children": children.iter().map(super::ps::json_of_child).collect::<Json>(),
        "listens": listens,
        "references": files,
        "next": next,
    });
    ui.answer(
        "up",
        &data,
        &text(launcher.name(), &children, &listens, &files),
    )?;
    for line in &next {
        ui.hint("next", line);
    }
    Ok(())
}

fn text(name: &str, children: &[ChildStatus], listens: &[String], files: &[PathBuf]) -> String {
    let mut text = match children {
        [child] => format!(
            "{name} is up: process {}, confined at level {}\n",
            child.pid, child.confinement
        ),
        several => format!("{name} is up: {} programs\n", several.len()),
    };
    // Writing into a String cannot fail.
    for file in files {
        let _ = writeln!(text, "  reference  {}", file.display());
    }
    for address in listens {
        let _ = writeln!(text, "  listens    {address}");
    }
    text
}

/// How long a program may take to describe itself; beyond it the hint is a poorer one.
const DESCRIBED_WITHIN: Duration = Duration::from_secs(2);

/// A call that works as it stands, if the exposed object has one, or how to find one.
async fn next(session: &Session, files: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files {
        let word = reference::shell_word(file);
        let name = file
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let described = match session.launcher.exposed(name) {
            Some(reference) => tokio::time::timeout(DESCRIBED_WITHIN, describe(&reference))
                .await
                .ok()
                .and_then(Result::ok),
            None => None,
        };
        let types = described.and_then(|description| Types::new(description).ok());
        lines.push(match types.and_then(|types| example::call(&types)) {
            Some(call) => format!("vat call {word} {call}"),
            None => format!("vat describe {word}"),
        });
    }
    lines
}

/// `./guestbook.cap` is `guestbook.cap`.
fn plain(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}
