//! `vat doctor`

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};
use vat::launch::confine::{self, HostReport, Level, Mechanism, MechanismName};

use crate::command_error::{CommandError, Kind};
use crate::ui::Ui;

/// The level below which no program starts.
const REQUIRED: Level = Level::L2;

/// Show what this machine can enforce upon confined programs
///
/// Found by trial: a child process enters the confinement and tries to get out of it. Exits with 1
/// when no program could be started here.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, ui: &mut Ui) -> Result<(), CommandError> {
    let report = confine::doctor();
    ui.answer(
        "doctor",
        &report,
        &Shown {
            report: &report,
            width: ui.width(),
        },
    )?;
    if report.level >= REQUIRED {
        Ok(())
    } else {
        Err(CommandError::said(Kind::Failed))
    }
}

/// The report as text.
struct Shown<'a> {
    report: &'a HostReport,
    width: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, width } = *self;
        if report.level >= REQUIRED {
            writeln!(f, "programs are confined at level {} here", report.level)?;
        } else {
            writeln!(
                f,
                "no program can be started here: level {REQUIRED} cannot be reached"
            )?;
        }
        match report.landlock_abi {
            Some(abi) => writeln!(f, "kernel {}, Landlock version {abi}\n", report.kernel)?,
            None => writeln!(f, "kernel {}, no Landlock\n", report.kernel)?,
        }
        writeln!(f, "{}", mechanisms(&report.mechanisms, width).trim_fmt())?;
        let failed = report.trials.iter().filter_map(|trial| {
            Some(format!(
                "{}, {}: {}",
                trial.level,
                trial.recipe,
                trial.failure.as_ref()?
            ))
        });
        section(f, "tried in vain:", failed)?;
        let missing = report
            .mechanisms
            .iter()
            .filter(|mechanism| !mechanism.enforced);
        section(f, "what to do:", missing.filter_map(remedy))
    }
}

fn mechanisms(mechanisms: &[Mechanism], width: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX));
    for mechanism in mechanisms {
        let state = if mechanism.enforced { "yes" } else { "no" };
        table.add_row([state, mechanism.name.as_str(), &mechanism.detail]);
    }
    table
}

fn section(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    lines: impl Iterator<Item = String>,
) -> fmt::Result {
    for (number, line) in lines.enumerate() {
        if number == 0 {
            writeln!(f, "\n{heading}")?;
        }
        writeln!(f, "  {line}")?;
    }
    Ok(())
}

/// What an operator can do about a mechanism that is not enforced.
fn remedy(mechanism: &Mechanism) -> Option<String> {
    let advice = match mechanism.name {
        MechanismName::Namespaces | MechanismName::EmptyRoot => {
            "permit user namespaces (sysctl user.max_user_namespaces, and on Ubuntu \
             kernel.apparmor_restrict_unprivileged_userns=0), or run vat as root; in a container, \
             permit `unshare` in its security profile"
        }
        MechanismName::OwnUser => "run vat as root if each program is to have a user id of its own",
        MechanismName::LandlockFiles => {
            "use a kernel of Linux 5.13 or newer with Landlock among its security modules \
             (`lsm=landlock,…` at boot)"
        }
        MechanismName::LandlockNetwork => "use a kernel of Linux 6.7 or newer with Landlock",
        MechanismName::LandlockScopes => "use a kernel of Linux 6.12 or newer with Landlock",
        MechanismName::Seccomp => {
            "use a kernel with CONFIG_SECCOMP_FILTER; in a container, permit `seccomp`"
        }
        MechanismName::NoDescriptorsOut => "use a kernel of Linux 6.16 or newer",
        MechanismName::NoCapabilities
        | MechanismName::NoNewPrivileges
        | MechanismName::SealedProgram
        | MechanismName::ExecOnce
        | MechanismName::Limits
        | MechanismName::DiesWithLauncher => return None,
    };
    Some(format!("{}: {advice}", mechanism.name))
}
