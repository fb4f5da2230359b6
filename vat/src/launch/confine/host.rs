//! What this host can enforce, found by trial: a child is confined and probes its confinement.

use std::io;

use serde::Serialize;

use super::Limits;
use super::enclosure::{Enclosure, Host, Namespaces, Recipe};
use super::level::{Level, Mechanism, Report};
use crate::sys::{self, StartFailure};

/// What the running kernel and this user's privileges permit.
#[derive(Clone, Debug, Serialize)]
pub struct HostReport {
    /// The strongest level that a trial child really reached.
    pub level: Level,
    /// Every mechanism at that level, enforced or not.
    pub mechanisms: Vec<Mechanism>,
    /// The kernel's release.
    pub kernel: String,
    /// The version of Landlock, if the kernel has it.
    pub landlock_abi: Option<u32>,
    /// What was tried, in order, up to the first combination that held.
    pub trials: Vec<Trial>,
}

/// One combination of mechanisms that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The combination.
    pub recipe: String,
    /// The level that it amounts to.
    pub level: Level,
    /// Why it failed; `None` if everything was enforced.
    pub failure: Option<String>,
}

/// Finds out what this host can enforce by starting trial children. Blocks for some milliseconds.
pub fn doctor() -> HostReport {
    let survey = || {
        sys::block_signals();
        Survey::take(Level::L3)
    };
    let survey = std::thread::Builder::new()
        .name("vat-doctor".into())
        .spawn(survey);
    let survey = survey.and_then(|thread| {
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the trial panicked")))
    });
    match survey {
        Ok(survey) => survey.host_report(),
        Err(error) => HostReport {
            level: Level::L0,
            mechanisms: Vec::new(),
            kernel: kernel(),
            landlock_abi: sys::landlock_abi().ok(),
            trials: vec![Trial {
                recipe: "any".into(),
                level: Level::L0,
                failure: Some(error.to_string()),
            }],
        },
    }
}

fn kernel() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// The strongest enclosure that works here, and how it was found.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) enclosure: Enclosure,
    pub(super) trials: Vec<Trial>,
}

impl Survey {
    /// Tries the recipes up to a level, strongest first. The calling thread blocks all signals.
    pub(super) fn take(at_most: Level) -> io::Result<Self> {
        let host = Host::look();
        let mut trials = Vec::new();
        for recipe in Recipe::candidates(&host, at_most) {
            let level = recipe.level(&host);
            let outcome = Enclosure::new(recipe, host.clone())
                .map_err(|error| format!("preparing it: {error}"))
                .and_then(|enclosure| attempt(&enclosure).map(|()| enclosure));
            let (recipe, failure) = (recipe.describe(), outcome.as_ref().err().cloned());
            trials.push(Trial {
                recipe,
                level,
                failure,
            });
            if let Ok(enclosure) = outcome {
                return Ok(Self { enclosure, trials });
            }
        }
        let reasons: Vec<_> = trials
            .iter()
            .filter_map(|trial| trial.failure.clone())
            .collect();
        Err(io::Error::other(format!(
            "no trial child could be started: {}",
            reasons.join("; ")
        )))
    }

    /// What children of this enclosure are held by.
    pub(super) fn report(&self) -> Report {
        let failures = self
            .trials
            .iter()
            .filter(|trial| trial.level == Level::L3)
            .filter_map(|trial| trial.failure.as_deref());
        let mut reasons: Vec<&str> = Vec::new();
        for failure in failures {
            if !reasons.contains(&failure) {
                reasons.push(failure);
            }
        }
        let failures = if reasons.is_empty() {
            "not asked for".to_owned()
        } else {
            reasons.join("; ")
        };
        self.enclosure.report(&failures)
    }

    pub(super) fn host_report(&self) -> HostReport {
        let report = self.report();
        HostReport {
            level: report.level,
            mechanisms: report.mechanisms,
            kernel: kernel(),
            landlock_abi: sys::landlock_abi().ok(),
            trials: self.trials.clone(),
        }
    }
}

/// Starts a trial child; says what failed.
fn attempt(enclosure: &Enclosure) -> Result<(), String> {
    let plan = enclosure.blueprint(&Limits::default(), None);
    let child = sys::fork(&plan).map_err(|error| explain_fork(enclosure, &error))?;
    let outcome = child.await_trial().map_err(|failure| explain(&failure));
    child.discard();
    outcome
}

/// Why no process could be made, as far as the error number tells.
fn explain_fork(enclosure: &Enclosure, error: &io::Error) -> String {
    let hint = match (enclosure.recipe.namespaces, error.raw_os_error()) {
        (Namespaces::Privileged, Some(libc::EPERM)) => " (needs CAP_SYS_ADMIN)",
        (Namespaces::User, Some(libc::EPERM)) => " (this user may not make user namespaces)",
        (Namespaces::User, Some(libc::ENOSPC)) => " (see user.max_user_namespaces)",
        _ => "",
    };
    let process = match enclosure.recipe.namespaces {
        Namespaces::Shared => "a process",
        Namespaces::Privileged => "a process in new namespaces",
        Namespaces::User => "a process in a new user namespace",
    };
    format!("making {process}: {error}{hint}")
}

/// A failed step in words.
pub(super) fn explain(failure: &StartFailure) -> String {
    let doing = failure.step.doing();
    match &failure.error {
        Some(error) => format!("{doing}: {error}"),
        None => format!("{doing}: the kernel permitted what it was told to refuse"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reported_level_is_the_one_of_the_trial_that_passed() {
        let report = doctor();
        let (last, failed) = report.trials.split_last().unwrap();
        assert_eq!(last.failure, None);
        assert_eq!(report.level, last.level);
        assert!(failed.iter().all(|trial| trial.failure.is_some()));
        assert!(
            serde_json::to_string(&report)
                .unwrap()
                .contains("\"level\":\"L")
        );
    }
}
