//! `vat version`

use serde_json::json;

use crate::command_error::CommandError;
use crate::ui::Ui;

pub(crate) fn run(ui: &mut Ui) -> Result<(), CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    ui.answer(
        "version",
        &json!({ "version": version }),
        &format_args!("vat {version}"),
    )
}
