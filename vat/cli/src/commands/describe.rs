//! `vat describe`

use vat::dynamic::render;

use crate::command_error::CommandError;
use crate::environment::Environment;
use crate::reference::RefArg;
use crate::remote::Caller;
use crate::runtime::block_on;
use crate::ui::Ui;

/// Show the interface of the object that a reference names: methods, parameters, types
///
/// The object itself is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A reference file, @name (a petname), `-` (the standard input) or fd:N (an open descriptor)
    reference: RefArg,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let sturdy = args.reference.read(environment)?;
    let described = block_on(async {
        let caller = Caller::new()?;
        let described = caller.open(&sturdy, &args.reference.to_string()).await?;
        Ok(described.types)
    })?;
    ui.answer(
        "describe",
        &render::json(&described),
        &render::text(&described),
    )
}
