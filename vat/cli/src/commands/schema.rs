//! `vat schema`

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use vat::schema::system_files;
use vat::schema::text::to_text;

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::reference::RefArg;
use crate::remote::Caller;
use crate::runtime::block_on;
use crate::ui::Ui;

/// Print interfaces as .capnp text, for programs in other languages
///
/// With a reference: the interfaces of the object and all it reaches; the object itself is asked.
/// Without one: the system interfaces (Directory, Clock, Supervisor and so on).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A reference file, @name (a petname), `-` (the standard input) or fd:N (an open descriptor)
    reference: Option<RefArg>,

    /// Write the files of all system interfaces into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "reference")]
    all: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    if let Some(dir) = &args.all {
        return write(dir, ui);
    }
    let Some(reference) = &args.reference else {
        let files = system_files();
        let text: Vec<String> = files
            .iter()
            .map(|(name, text)| format!("# {name}\n\n{text}"))
            .collect();
        return ui.answer("schema", &json!({ "files": files }), &text.join("\n"));
    };
    let sturdy = reference.read(environment)?;
    let types = block_on(async {
        let caller = Caller::new()?;
        Ok(caller.open(&sturdy, &reference.to_string()).await?.types)
    })?;
    let name = types.root().map_or("types", |root| root.name.as_str());
    let file = format!("{}.capnp", name.replace("::", "/").to_lowercase());
    let text = to_text(types.description(), &file);
    ui.answer("schema", &json!({ "interface": name, "text": text }), &text)
}

fn write(dir: &Path, ui: &mut Ui) -> Result<(), CommandError> {
    let files = system_files();
    let mut written = Vec::new();
    for (name, text) in &files {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| {
            CommandError::new(
                Kind::Failed,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
        written.push(path);
    }
    let lines: Vec<_> = written
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    ui.answer("schema", &json!({ "written": written }), &lines.join("\n"))
}
