//! `vat store`

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vat::durable::{Contents, Store, StoreError};

use crate::command_error::{CommandError, Kind};
use crate::ui::Ui;

/// Export, import and check the durable store of a vat that does not run
///
/// The store of a program is `stores/<program>.redb` in its ensemble's state directory,
/// `$XDG_STATE_HOME/vat/<ensemble>`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write everything that is in a store as text: one JSON object per line
    Export {
        /// The store
        store: PathBuf,
        /// Where the text goes; without it, to the standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Also write the secrets: the URIs of sturdy refs in it. Without them it cannot be imported
        #[arg(long)]
        reveal: bool,
    },
    /// Make a store from such a text
    Import {
        /// The store to be made; there must be no such file
        store: PathBuf,
        /// The text; without it, the standard input
        #[arg(long, short, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Look at everything in a store, and say what is wrong with it
    ///
    /// Exits with 3 when something is. What a crash has left unfinished is put in order first.
    Check {
        /// The store
        store: PathBuf,
    },
}

pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<(), CommandError> {
    match &args.action {
        Action::Export {
            store,
            output,
            reveal,
        } => export(store, output.as_deref(), *reveal, ui),
        Action::Import { store, input } => import(store, input.as_deref(), ui),
        Action::Check { store } => check(store, ui),
    }
}

fn export(
    store: &Path,
    output: Option<&Path>,
    reveal: bool,
    ui: &mut Ui,
) -> Result<(), CommandError> {
    let failed = |error| failed("export", store, &error);
    let Some(path) = output else {
        let mut text = Vec::new();
        Store::export(store, &mut text, reveal).map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        return ui.answer("store_export", &json!({ "lines": lines }), &text.trim_end());
    };
    let file = |error: std::io::Error| {
        CommandError::new(
            Kind::Failed,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let mut out = std::io::BufWriter::new(private(path).map_err(file)?);
    let contents = Store::export(store, &mut out, reveal).map_err(failed)?;
    out.flush().map_err(file)?;
    out.get_ref().sync_all().map_err(file)?;
    let said = format!("{} has {}", path.display(), Shown(&contents));
    ui.answer("store_export", &data(&contents), &said)
}

/// A new file that only this user can read: what a vat keeps may be anything.
fn private(path: &Path) -> std::io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn import(store: &Path, input: Option<&Path>, ui: &mut Ui) -> Result<(), CommandError> {
    let imported = match input {
        Some(path) => {
            let file = File::open(path).map_err(|error| {
                let kind = kind_of(&error);
                CommandError::new(kind, format!("cannot read {}: {error}", path.display()))
            })?;
            Store::import(BufReader::new(file), store)
        }
        None => Store::import(std::io::stdin().lock(), store),
    };
    let contents = imported.map_err(|error| failed("import", store, &error))?;
    let said = format!("{} has {}", store.display(), Shown(&contents));
    ui.answer("store_import", &data(&contents), &said)
}

fn check(store: &Path, ui: &mut Ui) -> Result<(), CommandError> {
    let contents = Store::check(store).map_err(|error| failed("check", store, &error))?;
    let mut said = format!("{} has {}", store.display(), Shown(&contents));
    for problem in &contents.problems {
        said = format!("{said}\n{problem}");
    }
    ui.answer("store_check", &data(&contents), &said)?;
    match contents.problems.is_empty() {
        true => Ok(()),
        false => Err(CommandError::said(Kind::NotRunning)),
    }
}

fn failed(what: &str, store: &Path, error: &StoreError) -> CommandError {
    let kind = match error {
        StoreError::Io(error) => kind_of(error),
        _ => Kind::Failed,
    };
    let said = CommandError::new(kind, format!("cannot {what} {}: {error}", store.display()));
    match error {
        StoreError::InUse => said.hint("stop the vat that uses it first: `vat down`"),
        StoreError::Io(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            said.hint("a store is never overwritten; move the file away, or import to another one")
        }
        _ => said,
    }
}

fn kind_of(error: &std::io::Error) -> Kind {
    match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Failed,
    }
}

fn data(contents: &Contents) -> Value {
    json!({
        "objects": contents.objects,
        "roots": contents.roots,
        "unreachable": contents.unreachable,
        "problems": contents.problems,
    })
}

/// For people.
struct Shown<'a>(&'a Contents);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contents {
            objects,
            roots,
            unreachable,
            ..
        } = self.0;
        let plural = if *objects == 1 { "" } else { "s" };
        write!(f, "{objects} object{plural}; roots: ")?;
        match roots.as_slice() {
            [] => f.write_str("none")?,
            roots => f.write_str(&roots.join(", "))?,
        }
        match unreachable {
            0 => Ok(()),
            count => write!(f, "; {count} that no root leads to"),
        }
    }
}
