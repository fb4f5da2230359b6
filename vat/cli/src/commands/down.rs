//! `vat down`

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use vat::ErrorKind;
use vat::power::EnsembleStatus;

use crate::ask;
use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::operator::{self, Opened};
use crate::progress::Progress;
use crate::remote::{self, Caller};
use crate::runtime::block_on;
use crate::ui::Ui;

/// How long the launcher may take to end after its programs have.
const LAUNCHER_ENDS: Duration = Duration::from_secs(10);

/// Stop what `vat up` started, in order
///
/// Every program is asked to end, and killed after the grace its manifest gives it. References stay
/// valid: they work again after the next `vat up`. Exits with 3 when nothing is running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of what is running, or its manifest; without it, the only one that runs
    ensemble: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let ensemble = operator::find(args.ensemble.as_deref(), environment)?;
    block_on(async {
        let caller = Caller::new()?;
        let opened = ensemble.open(&caller).await?;
        let status = opened.supervisor.status().await;
        let status = status.map_err(|error| remote::failed(&error, &ensemble.name))?;
        if !args.yes {
            confirm(&status)?;
        }
        let progress = Progress::new(
            format!("stopping {}", status.name),
            environment.dumb_terminal,
        );
        stop(&opened, &status).await?;
        drop(progress);
        let stopped: Vec<_> = status
            .children
            .iter()
            .map(|child| child.path.as_str())
            .collect();
        ui.answer(
            "down",
            &json!({ "name": status.name, "stopped": stopped }),
            &format_args!("{} is down", status.name),
        )
    })
}

/// Asks whether all of this is to end.
fn confirm(status: &EnsembleStatus) -> Result<(), CommandError> {
    if !ask::is_somebody_there() {
        let message = format!(
            "nobody is here to be asked whether {} is to stop",
            status.name
        );
        return Err(
            CommandError::new(Kind::Usage, message).hint(format!("vat down {} --yes", status.name))
        );
    }
    let children = status.children.iter();
    let running: Vec<_> = children
        .filter(|child| child.pid != 0)
        .map(|child| format!("{} (process {})", child.path, child.pid))
        .collect();
    let what = if running.is_empty() {
        "nothing runs in it".to_owned()
    } else {
        running.join(", ")
    };
    let exposes: Vec<_> = status
        .children
        .iter()
        .flat_map(|child| child.exposes.iter().map(String::as_str))
        .collect();
    let breaks = if exposes.is_empty() {
        String::new()
    } else {
        format!(
            " Calls of {} fail until it is up again.",
            exposes.join(", ")
        )
    };
    if ask::agrees(&format!("stop {}: {what}?{breaks}", status.name)) {
        return Ok(());
    }
    Err(CommandError::new(
        Kind::Failed,
        format!("{} goes on", status.name),
    ))
}

/// Asks the supervisor to stop everything, and waits until its process is gone.
async fn stop(opened: &Opened, status: &EnsembleStatus) -> Result<(), CommandError> {
    let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
    // Opened before: later the number may be another's.
    let process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    match opened.supervisor.down().await {
        Ok(()) => {}
        // It ended before its answer left.
        Err(error) if error.kind() == ErrorKind::Disconnected => {}
        Err(error) => return Err(remote::failed(&error, &status.name)),
    }
    let gone = match process {
        Some(process) => {
            let ended = tokio::task::spawn_blocking(move || {
                let limit = Timespec::try_from(LAUNCHER_ENDS).ok();
                let mut fds = [PollFd::new(&process, PollFlags::IN)];
                matches!(poll(&mut fds, limit.as_ref()), Ok(1..))
            });
            ended.await.unwrap_or(false)
        }
        None => tokio::time::timeout(LAUNCHER_ENDS, opened.connection.gone())
            .await
            .is_ok(),
    };
    if gone {
        return Ok(());
    }
    let message = format!(
        "the programs of {} have ended, but its launcher (process {}) has not",
        status.name, status.pid
    );
    Err(CommandError::new(Kind::TimedOut, message).hint(format!("kill {}", status.pid)))
}
