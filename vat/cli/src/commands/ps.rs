//! `vat ps`

use std::fmt;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value as Json, json};
use vat::launch::manifest::HumanDuration;
use vat::power::{ChildState, ChildStatus, EnsembleStatus};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::operator;
use crate::remote::{self, Caller};
use crate::runtime::block_on;
use crate::ui::Ui;

/// Show what is running
///
/// Without a name it shows everything of this user on this machine. Exits with 3 when nothing is
/// running.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of what is running, or its manifest
    ensemble: Option<String>,

    /// Show as a tree, with what confines each program
    #[arg(long)]
    tree: bool,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let ensembles = match &args.ensemble {
        Some(given) => vec![operator::find(Some(given), environment)?],
        None => operator::running(environment.places()?),
    };
    block_on(async {
        let caller = Caller::new()?;
        let mut shown = Vec::new();
        for ensemble in &ensembles {
            let opened = match ensemble.open(&caller).await {
                // A launcher that was killed left its reference.
                Err(error) if error.kind == Kind::NotRunning && args.ensemble.is_none() => continue,
                opened => opened?,
            };
            let status = opened.supervisor.status().await;
            shown.push(status.map_err(|error| remote::failed(&error, &ensemble.name))?);
        }
        if shown.is_empty() {
            return Err(operator::nothing());
        }
        if ui.is_json() {
            return shown
                .iter()
                .try_for_each(|status| ui.answer("ps", &json_of(status), &""));
        }
        if args.tree {
            let trees: String = shown
                .iter()
                .map(|status| Tree(status).to_string())
                .collect();
            return ui.answer("ps", &(), &trees);
        }
        ui.answer("ps", &(), &table(&shown, ui.width()).trim_fmt())
    })
}

fn json_of(status: &EnsembleStatus) -> Json {
    json!({
        "name": status.name,
        "manifest": status.manifest,
        "pid": status.pid,
        "uptime_ms": status.uptime_ms,
        "listens": status.listens,
        "children": status.children.iter().map(json_of_child).collect::<Json>(),
    })
}

pub(super) fn json_of_child(child: &ChildStatus) -> Json {
    json!({
        "path": child.path,
        "vat": child.vat,
        "state": word(child.state),
        "pid": child.pid,
        "restarts": child.restarts,
        "up_ms": child.up_ms,
        "last_exit": child.last_exit,
        "confinement": child.confinement,
        "enforced": child.enforced,
        "missing": child.missing,
        "exposes": child.exposes,
    })
}

fn word(state: ChildState) -> &'static str {
    match state {
        ChildState::Starting => "starting",
        ChildState::Running => "running",
        ChildState::Waiting => "waiting",
        ChildState::Stopping => "stopping",
        ChildState::Ended => "ended",
        ChildState::GaveUp => "gave_up",
    }
}

/// One line per child.
fn table(all: &[EnsembleStatus], width: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header([
            "PATH", "STATE", "PID", "UP", "RESTARTS", "LEVEL", "EXPOSES", "LAST END",
        ]);
    for child in all.iter().flat_map(|status| &status.children) {
        let pid = if child.pid == 0 {
            "-".to_owned()
        } else {
            child.pid.to_string()
        };
        table.add_row([
            child.path.clone(),
            word(child.state).replace('_', " "),
            pid,
            up(child.up_ms),
            child.restarts.to_string(),
            dash(&child.confinement),
            dash(&child.exposes.join(", ")),
            dash(&child.last_exit),
        ]);
    }
    table
}

fn dash(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text.to_owned()
    }
}

/// In whole seconds.
fn up(ms: u64) -> String {
    if ms == 0 {
        return "-".to_owned();
    }
    HumanDuration(Duration::from_secs(ms / 1000)).to_string()
}

/// An ensemble with its children and what confines each.
struct Tree<'a>(&'a EnsembleStatus);

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        writeln!(
            f,
            "{} ({}, launcher {})",
            status.name, status.manifest, status.pid
        )?;
        for address in &status.listens {
            writeln!(f, "  listens on {address}")?;
        }
        for child in &status.children {
            writeln!(
                f,
                "  {}: {}",
                child.path,
                word(child.state).replace('_', " ")
            )?;
            writeln!(f, "    vat {}", child.vat)?;
            if child.pid != 0 {
                writeln!(f, "    process {}, up for {}", child.pid, up(child.up_ms))?;
            }
            if child.restarts > 0 {
                writeln!(
                    f,
                    "    restarts: {}; last end: {}",
                    child.restarts, child.last_exit
                )?;
            }
            if !child.exposes.is_empty() {
                writeln!(f, "    exposes {}", child.exposes.join(", "))?;
            }
            if !child.confinement.is_empty() {
                writeln!(f, "    confined at level {}", child.confinement)?;
            }
            for (mark, mechanisms) in [("+", &child.enforced), ("-", &child.missing)] {
                for mechanism in mechanisms {
                    writeln!(f, "      {mark} {mechanism}")?;
                }
            }
        }
        Ok(())
    }
}
