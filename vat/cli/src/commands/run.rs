//! `vat run`

use std::path::PathBuf;

use vat::power::LogRecord;
use vat::supervisor::Outcome;

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::records::{self, Line};
use crate::reference;
use crate::runtime::block_on;
use crate::session::{self, Plan, Session};
use crate::ui::Ui;

/// Run a program once, confined, in the foreground
///
/// Its output is shown as it is, its log on the standard error. Ends with the exit code of the
/// program; with 125 when the launcher failed, 126 when the program cannot be executed, 127 when
/// there is none. Ctrl-C stops in order, a second Ctrl-C at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The manifest
    manifest: PathBuf,

    /// Where the files of exposed references go
    #[arg(long, value_name = "DIR", default_value = ".")]
    refs: PathBuf,

    /// Build a program that is named by its Cargo package with optimizations
    #[arg(long)]
    release: bool,

    /// Arguments for the program; they reach it over its own socket, its argv stays empty
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let manifest = session::manifest(Some(&args.manifest), environment, ui)?;
    if manifest.only_program().is_none() {
        let several = format!(
            "{} has [children]: `vat run` runs the one [program] of a manifest",
            manifest.name
        );
        let up = format!("vat up {}", reference::shell_word(&args.manifest));
        return Err(CommandError::new(Kind::Usage, several).hint(up));
    }
    let plan = Plan {
        manifest,
        args: args.arguments.clone(),
        refs: args.refs.clone(),
        release: args.release,
        once: true,
    };
    block_on(async {
        let mut session = Session::start(plan, environment, ui).await?;
        let mut show = ui.err();
        let mut show = |record: &LogRecord| {
            // What it prints is shown as it is; the launcher's own remarks are for `vat logs`.
            if record.stream.is_empty() && !records::is_launchers(record) {
                show.line(&Line(record).to_string());
            }
        };
        let mut log = std::mem::take(&mut session.log);
        let outcome = tokio::select! {
            outcome = session.over(ui) => outcome?,
            () = log.each(&mut show) => Outcome::Stopped,
        };
        session.launcher.flushed().await;
        log.take().iter().for_each(&mut show);
        session.log = log;
        if session.interrupted() {
            return Err(CommandError::said(Kind::Interrupted));
        }
        match (&outcome, session.launcher.exit_code()) {
            (Outcome::StartFailed { .. }, _) => Err(session.failure(&outcome, ui).await),
            (_, Some(0)) => Ok(()),
            (_, Some(code)) => Err(CommandError::program(code)),
            (_, None) => Err(session.failure(&outcome, ui).await),
        }
    })
}
