//! `vat completions`

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use crate::args::Cli;
use crate::command_error::{CommandError, Kind};
use crate::ui::Ui;

/// Print the completion script of a shell
///
/// bash: source <(vat completions bash)
/// zsh:  source <(vat completions zsh)
/// fish: vat completions fish | source
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Which shell
    shell: SupportedShell,
}

/// The shells whose scripts are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SupportedShell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<(), CommandError> {
    let (shell, name) = match args.shell {
        SupportedShell::Bash => (Shell::Bash, "bash"),
        SupportedShell::Zsh => (Shell::Zsh, "zsh"),
        SupportedShell::Fish => (Shell::Fish, "fish"),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vat", &mut script);
    let script = String::from_utf8(script)
        .map_err(|_| CommandError::new(Kind::Failed, "the completion script is not text"))?;
    ui.answer(
        "completions",
        &json!({ "shell": name, "script": script }),
        &script,
    )
}
