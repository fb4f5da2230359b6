//! `vat help`

use serde_json::json;
use vat::launch::manifest::Code;

use crate::command_error::{CommandError, Kind};
use crate::topics;
use crate::ui::Ui;

/// Explain a command, the code of an error, or a topic
///
/// `vat help codes` lists all codes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A command, a code (V0103) or a topic
    topic: Option<String>,
}

pub(crate) fn run(args: &Args, root: &mut clap::Command, ui: &mut Ui) -> Result<(), CommandError> {
    let Some(topic) = args.topic.as_deref() else {
        let text = root.render_long_help();
        return answer(ui, "vat", &text.to_string(), &text.ansi().to_string());
    };
    if let Some(code) = Code::parse(topic) {
        let text = format!("{code}: {}\n\n{}", code.title(), code.explanation());
        return answer(ui, topic, &text, &text);
    }
    if let Some(text) = topics::text(topic) {
        return answer(ui, topic, &text, &text);
    }
    root.build();
    if let Some(command) = root.find_subcommand_mut(topic) {
        let text = command.render_long_help();
        return answer(ui, topic, &text.to_string(), &text.ansi().to_string());
    }
    let commands: Vec<_> = root
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    Err(
        CommandError::new(Kind::Usage, format!("there is no help about {topic:?}"))
            .hint(format!("commands: {}", commands.join(", ")))
            .hint(format!("topics: {}", topics::NAMES.join(", ")))
            .hint("`vat help codes` lists the codes of errors"),
    )
}

fn answer(ui: &mut Ui, topic: &str, plain: &str, shown: &str) -> Result<(), CommandError> {
    ui.answer("help", &json!({ "topic": topic, "text": plain }), &shown)
}
