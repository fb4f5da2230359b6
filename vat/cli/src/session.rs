//! An ensemble in this process, from its manifest to its end: what `vat up` and `vat run` share.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::task::JoinHandle;
use vat::launch::launcher::{LaunchError, Launcher, Options};
use vat::launch::manifest::{self, Manifest};
use vat::launch::state::StateError;
use vat::net::client::EnlivenError;
use vat::power::{ChildState, ChildStatus, LogRecord};
use vat::supervisor::Outcome;

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::records::{Follower, Line};
use crate::signals::{Asked, Signals};
use crate::ui::Ui;
use crate::{locate, program};

/// How many records of the log are shown of a program that does not start.
const LAST_WORDS: usize = 10;

/// Finds and checks a manifest; its warnings are shown.
pub(crate) fn manifest(
    given: Option<&Path>,
    environment: &Environment,
    ui: &mut Ui,
) -> Result<Manifest, CommandError> {
    let path = locate::manifest(given, &environment.directory)?;
    let checked = manifest::check(&path, environment.places()?);
    let (manifest, report) = checked.into_result().map_err(CommandError::bad_manifest)?;
    ui.findings(&report);
    Ok(manifest)
}

/// How the program is to be run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) manifest: Manifest,
    pub(crate) args: Vec<String>,
    pub(crate) refs: PathBuf,
    pub(crate) release: bool,
    /// In the foreground and never again.
    pub(crate) once: bool,
}

/// A launcher that runs in this process.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) launcher: Rc<Launcher>,
    pub(crate) signals: Signals,
    /// What was logged since the start and not shown yet.
    pub(crate) log: Follower,
    running: JoinHandle<Outcome>,
    stopped: Option<Asked>,
}

/// What a wait came to.
#[derive(Debug)]
pub(crate) enum Now {
    /// Every program is ready, or has ended for good.
    Ready,
    /// No program runs and none will.
    Over(Outcome),
}

impl Session {
    /// Seals the programs, opens what they are granted and begins to run them.
    pub(crate) async fn start(
        plan: Plan,
        environment: &Environment,
        ui: &mut Ui,
    ) -> Result<Self, CommandError> {
        let children = plan.manifest.children.iter();
        let programs = children
            .map(|child| program::seal(&child.program, plan.release, environment, ui))
            .collect::<Result<_, _>>()?;
        // A signal before this line ends the command at once: nothing runs yet.
        let mut signals = Signals::catch()?;
        let name = plan.manifest.name.as_str().to_owned();
        let options = Options {
            programs,
            args: plan.args,
            refs: Some(plan.refs),
            allow_weak: false,
            once: plan.once,
        };
        let launcher = tokio::select! {
            launcher = Launcher::prepare(plan.manifest, environment.places()?, options) => {
                launcher.map_err(|error| not_launched(&name, &error))?
            }
            _ = signals.next() => {
                let what = "interrupted; nothing was started";
                return Err(CommandError::new(Kind::Interrupted, what));
            }
        };
        let log = Follower::new(launcher.log_dir());
        let running = tokio::task::spawn_local({
            let launcher = launcher.clone();
            async move { launcher.run().await }
        });
        Ok(Self {
            launcher,
            signals,
            log,
            running,
            stopped: None,
        })
    }

    /// Waits until all programs are ready or over; of several, each is shown as it becomes ready. A
    /// signal stops them; the second one kills them.
    pub(crate) async fn ready(&mut self, ui: &mut Ui) -> Result<Now, CommandError> {
        let mut known = BTreeSet::new();
        loop {
            let asked = tokio::select! {
                next = self.launcher.next_settled(&known) => {
                    let Some(child) = next else {
                        return match self.launcher.ready().await {
                            ChildState::Running => Ok(Now::Ready),
                            _ => self.over(ui).await.map(Now::Over),
                        };
                    };
                    if self.launcher.children().len() > 1 {
                        ui.note(&settled(&child));
                    }
                    known.insert(child.path);
                    continue;
                }
                outcome = &mut self.running => return ended(outcome).map(Now::Over),
                asked = self.signals.next() => asked,
            };
            self.obey(asked, ui);
        }
    }

    /// Waits until nothing runs any more. A signal stops it; the second one kills it.
    pub(crate) async fn over(&mut self, ui: &mut Ui) -> Result<Outcome, CommandError> {
        loop {
            let asked = tokio::select! {
                outcome = &mut self.running => return ended(outcome),
                asked = self.signals.next() => asked,
            };
            self.obey(asked, ui);
        }
    }

    /// Whether Ctrl-C was what ended it.
    pub(crate) fn interrupted(&self) -> bool {
        self.stopped == Some(Asked::Interrupt)
    }

    /// The first signal asks for an ordered stop, the second one does not ask.
    pub(crate) fn obey(&mut self, asked: Asked, ui: &mut Ui) {
        if self.stopped.is_some() {
            ui.note("killing it now");
            self.launcher.kill();
            return;
        }
        self.stopped = Some(asked);
        let children = self.launcher.children();
        let again = match asked {
            Asked::Interrupt => "; Ctrl-C again kills it now",
            Asked::Terminate => "",
        };
        let what = match children.as_slice() {
            [child] => format!("{} (process {})", child.path, child.pid),
            several => {
                let running = several.iter().filter(|child| child.pid != 0).count();
                format!("{} (processes: {running})", self.launcher.name())
            }
        };
        ui.note(&format!("stopping {what}{again}"));
        self.launcher.stop();
    }

    /// Why the program ended without having been asked to; its last words are shown.
    pub(crate) async fn failure(&mut self, outcome: &Outcome, ui: &mut Ui) -> CommandError {
        self.launcher.flushed().await;
        let unseen = self.log.take();
        let unseen: Vec<_> = unseen.iter().filter(|it| says_why(it, outcome)).collect();
        let first = unseen.len().saturating_sub(LAST_WORDS);
        for record in unseen.into_iter().skip(first) {
            ui.note(&Line(record).to_string());
        }
        match outcome {
            Outcome::GaveUp(_) => CommandError::new(Kind::GaveUp, outcome.to_string())
                .hint("its log says more: the lines above are the end of it")
                .hint("[supervisor] intensity in the manifest says how often it may be restarted"),
            Outcome::StartFailed { .. } => {
                CommandError::new(Kind::LauncherFailed, outcome.to_string())
                    .hint("`vat doctor` shows what this machine can enforce")
            }
            Outcome::Stopped | Outcome::AutoShutdown(_) => {
                let children = self.launcher.children();
                let ends = children
                    .iter()
                    .map(|child| format!("{} ended: {}", child.path, child.last_exit));
                CommandError::new(Kind::LauncherFailed, ends.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

/// Whether a record is of the child that the outcome names, if it names one.
fn says_why(record: &LogRecord, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::GaveUp(gave_up) => record.from == gave_up.name,
        Outcome::StartFailed { name, .. } => record.from == *name,
        Outcome::Stopped | Outcome::AutoShutdown(_) => true,
    }
}

/// One line about a child that has become ready, or never will.
fn settled(child: &ChildStatus) -> String {
    match child.state {
        ChildState::Running => format!(
            "{} is ready: process {}, confined at level {}",
            child.path, child.pid, child.confinement
        ),
        _ => format!("{} {}", child.path, child.last_exit),
    }
}

fn ended(outcome: Result<Outcome, tokio::task::JoinError>) -> Result<Outcome, CommandError> {
    outcome.map_err(|error| {
        CommandError::new(
            Kind::LauncherFailed,
            format!("the launcher failed: {error}"),
        )
    })
}

/// Why nothing was started.
fn not_launched(name: &str, error: &LaunchError) -> CommandError {
    let text = chain(error);
    match error {
        LaunchError::State(StateError::Running { .. }) => {
            CommandError::new(Kind::Failed, format!("{name} is {text}"))
                .hint(format!("`vat ps` shows it, `vat down {name}` stops it"))
        }
        LaunchError::State(StateError::OtherManifest { dir, .. }) => {
            CommandError::new(Kind::Failed, text).hint(format!(
                "give one of the two another name, or remove {} if the other is gone for good",
                dir.display()
            ))
        }
        _ => match cause::<EnlivenError>(error) {
            Some(EnlivenError::Unreachable(_) | EnlivenError::Disconnected(_)) => {
                CommandError::new(Kind::Unreachable, format!("{name} is not started: {text}"))
                    .hint("start what the reference leads to first; `vat ps` shows what is running")
            }
            Some(EnlivenError::Denied) => {
                CommandError::new(Kind::Denied, format!("{name} is not started: {text}"))
            }
            _ => CommandError::new(
                Kind::LauncherFailed,
                format!("{name} is not started: {text}"),
            ),
        },
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The first error of this type among an error's causes.
fn cause<E: StdError + 'static>(error: &dyn StdError) -> Option<&E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}
