//! The command line: global options and the commands.

use clap::{Parser, Subcommand};

use crate::commands::{
    call, check, completions, demo, describe, doctor, down, help, logs, ps, refs, run, schema,
    store, up,
};

/// Runs confined, supervised programs, and calls objects through references.
#[derive(Debug, Parser)]
#[command(
    name = "vat",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "`vat help manifest`, `vat help references`, `vat help exit-codes` and \
                  `vat help json` say more. `vat help V0103` explains the code of an error."
)]
pub(crate) struct Cli {
    /// Answer in JSON: one versioned envelope per line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands. The text of each is the doc comment of its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Call(call::Args),
    Check(check::Args),
    Completions(completions::Args),
    Demo(demo::Args),
    Describe(describe::Args),
    Doctor(doctor::Args),
    Down(down::Args),
    Help(help::Args),
    Logs(logs::Args),
    Ps(ps::Args),
    Ref(refs::Args),
    Run(run::Args),
    Schema(schema::Args),
    Store(store::Args),
    Up(up::Args),
    /// Print the version
    Version,
}
