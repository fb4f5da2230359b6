//! An ensemble in this process, from its manifest to its end: what `vat up` and `vat run` share.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::task::JoinHandle;
use vat::launch::launcher::{LaunchError, Launcher, Options};
use vat::launch::manifest::{self, Manifest};
use vat::launch::state::StateError;
use vat::net::client::EnlivenError;
use vat::power::ChildState;
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
    /// The program is ready.
    Ready,
    /// No program runs and none will.
    Over(Outcome),
}

impl Session {
    /// Seals the program, opens what it is granted and begins to run it.
    pub(crate) async fn start(
        plan: Plan,
        environment: &Environment,
        ui: &mut Ui,
    ) -> Result<Self, CommandError> {
        let Some(only) = plan.manifest.only_program() else {
            let error = LaunchError::SeveralPrograms;
            return Err(not_launched(plan.manifest.name.as_str(), &error));
        };
        let program = program::seal(&only.program, plan.release, environment, ui)?;
        // A signal before this line ends the command at once: nothing runs yet.
        let mut signals = Signals::catch()?;
        let name = plan.manifest.name.as_str().to_owned();
        let options = Options {
            program,
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

    /// Waits until the program is ready or over. A signal stops it; the second one kills it.
    pub(crate) async fn ready(&mut self, ui: &mut Ui) -> Result<Now, CommandError> {
        loop {
            let asked = tokio::select! {
                state = self.launcher.ready() => match state {
                    ChildState::Running => return Ok(Now::Ready),
                    _ => return self.over(ui).await.map(Now::Over),
                },
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
        let child = self.launcher.child_status();
        let again = match asked {
            Asked::Interrupt => "; Ctrl-C again kills it now",
            Asked::Terminate => "",
        };
        ui.note(&format!(
            "stopping {} (process {}){again}",
            child.path, child.pid
        ));
        self.launcher.stop();
    }

    /// Why the program ended without having been asked to; its last words are shown.
    pub(crate) async fn failure(&mut self, outcome: &Outcome, ui: &mut Ui) -> CommandError {
        self.launcher.flushed().await;
        let unseen = self.log.take();
        let first = unseen.len().saturating_sub(LAST_WORDS);
        for record in unseen.iter().skip(first) {
            ui.note(&Line(record).to_string());
        }
        let status = self.launcher.child_status();
        match outcome {
            Outcome::GaveUp(_) => CommandError::new(Kind::GaveUp, outcome.to_string())
                .hint("its log says more: the lines above are the end of it")
                .hint("[supervisor] intensity in the manifest says how often it may be restarted"),
            Outcome::StartFailed { .. } => {
                CommandError::new(Kind::LauncherFailed, outcome.to_string())
                    .hint("`vat doctor` shows what this machine can enforce")
            }
            Outcome::Stopped => {
                let message = format!("{} ended: {}", status.path, status.last_exit);
                CommandError::new(Kind::LauncherFailed, message)
            }
        }
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
