//! The `vat` command: launcher, supervisor and operator's tool.

mod args;
mod ask;
mod background;
mod chain;
mod command_error;
mod commands;
mod environment;
mod example;
mod findings;
mod keyring;
mod locate;
mod operator;
mod program;
mod progress;
mod records;
mod reference;
mod remote;
mod runtime;
mod session;
mod signals;
mod topics;
mod ui;
mod uri_guard;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::ui::Ui;

fn main() -> ExitCode {
    let environment = Environment::ambient();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before the arguments are understood, an error has to know in which form it is wanted.
    let json = arguments
        .iter()
        .skip(1)
        .any(|argument| argument == "--json");
    let mut ui = Ui::new(json, &environment);
    let result = run(&arguments, &environment, &mut ui);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ui.fail(&error),
    }
}

fn run(arguments: &[OsString], environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    // First of all: no later message can then repeat a secret.
    uri_guard::check(arguments)?;
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, ui),
    };
    match cli.command {
        Command::Call(args) => commands::call::run(&args, environment, ui),
        Command::Check(args) => commands::check::run(&args, environment, ui),
        Command::Completions(args) => commands::completions::run(&args, ui),
        Command::Demo(args) => commands::demo::run(&args, environment, ui),
        Command::Describe(args) => commands::describe::run(&args, environment, ui),
        Command::Doctor(args) => commands::doctor::run(&args, ui),
        Command::Down(args) => commands::down::run(&args, environment, ui),
        Command::Help(args) => commands::help::run(&args, &mut Cli::command(), ui),
        Command::Logs(args) => commands::logs::run(&args, environment, ui),
        Command::Ps(args) => commands::ps::run(&args, environment, ui),
        Command::Ref(args) => commands::refs::run(&args, environment, ui),
        Command::Run(args) => commands::run::run(&args, environment, ui),
        Command::Schema(args) => commands::schema::run(&args, environment, ui),
        Command::Store(args) => commands::store::run(&args, ui),
        Command::Up(args) => commands::up::run(&args, environment, ui),
        Command::Version => commands::version::run(ui),
    }
}

/// What the argument parser did not take: a request for help, or a mistake.
fn usage(error: &clap::Error, ui: &mut Ui) -> Result<(), CommandError> {
    match error.kind() {
        ErrorKind::DisplayHelp => ui.answer("help", &text_of(error), &error.render().ansi()),
        ErrorKind::DisplayVersion => commands::version::run(ui),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(CommandError::new(Kind::Usage, "a command is missing")
                .hint("`vat help` lists the commands"))
        }
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            Err(CommandError::new(Kind::Usage, text.trim_end()))
        }
    }
}

fn text_of(error: &clap::Error) -> serde_json::Value {
    serde_json::json!({ "text": error.render().to_string() })
}
