//! Which running ensemble an operator's command means, and its supervisor.

use std::fs;
use std::path::{Path, PathBuf};

use vat::launch::manifest::{self, VatName};
use vat::launch::places::Places;
use vat::net::client::EnlivenError;
use vat::net::driver::Connection;
use vat::power::SupervisorRef;
use vat::sturdy::{ReferenceFileProblem, reference_file};

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::locate;
use crate::remote::{self, Caller};

/// An ensemble that runs, or did when its `control.cap` was written.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    pub(crate) name: String,
    control: PathBuf,
}

/// The supervisor of a running ensemble.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) supervisor: SupervisorRef,
    pub(crate) connection: Connection,
}

impl Ensemble {
    fn named(places: &Places, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            control: places.runtime(name).join("control.cap"),
        }
    }

    /// Opens the reference that `vat up` left for the operator.
    pub(crate) async fn open(&self, caller: &Caller) -> Result<Opened, CommandError> {
        let sturdy =
            reference_file::read(&self.control).map_err(|error| match error.problem() {
                ReferenceFileProblem::Io(source)
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    self.not_running()
                }
                _ => CommandError::new(Kind::Failed, error.to_string()),
            })?;
        let enlivened = caller.enliven(&sturdy).await.map_err(|error| match error {
            // What is left of a launcher that was killed.
            EnlivenError::Unreachable(_) => self.not_running(),
            error => remote::not_enlivened(&self.name, &error),
        })?;
        // A vat with a fresh key cannot be the one it calls.
        let connection = enlivened.connection.ok_or_else(|| self.not_running())?;
        Ok(Opened {
            supervisor: enlivened.reference.into(),
            connection,
        })
    }

    fn not_running(&self) -> CommandError {
        CommandError::new(Kind::NotRunning, format!("{} is not running", self.name))
            .hint("`vat up -d` with its manifest starts it; `vat ps` shows what is running")
    }
}

/// The ensemble that a name or manifest means; without one the only one that runs, or the one whose
/// manifest lies in this directory.
pub(crate) fn find(
    given: Option<&str>,
    environment: &Environment,
) -> Result<Ensemble, CommandError> {
    let places = environment.places()?;
    if let Some(given) = given {
        return Ok(Ensemble::named(places, &name_of(given, places)?));
    }
    let mut running = running(places);
    if running.len() == 1 {
        return running.pop().ok_or_else(nothing);
    }
    if running.is_empty() {
        return Err(nothing());
    }
    let here = locate::manifest(None, &environment.directory).ok();
    let here = here.and_then(|path| manifest::check(&path, places).manifest);
    let same = here.and_then(|manifest| {
        running
            .iter()
            .find(|ensemble| ensemble.name == manifest.name.as_str())
    });
    same.cloned().ok_or_else(|| {
        let names: Vec<_> = running
            .iter()
            .map(|ensemble| ensemble.name.as_str())
            .collect();
        CommandError::new(Kind::Usage, "several ensembles are running")
            .hint(format!("name one of them: {}", names.join(", ")))
    })
}

/// All ensembles that left a `control.cap`, by name.
pub(crate) fn running(places: &Places) -> Vec<Ensemble> {
    let entries = fs::read_dir(places.runtime_root());
    let names = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let ensembles = names.filter_map(|name| Some(Ensemble::named(places, name.to_str()?)));
    let mut running: Vec<_> = ensembles
        .filter(|ensemble| ensemble.control.exists())
        .collect();
    running.sort_by(|a, b| a.name.cmp(&b.name));
    running
}

/// Nothing is running.
pub(crate) fn nothing() -> CommandError {
    CommandError::new(Kind::NotRunning, "nothing is running")
        .hint("`vat up -d path/to/hello.vat.toml` starts something")
}

/// A word without a slash or ending is a name; everything else is a manifest, which has one.
fn name_of(given: &str, places: &Places) -> Result<String, CommandError> {
    if let Ok(name) = VatName::parse(given)
        && !Path::new(given).is_dir()
    {
        return Ok(name.as_str().to_owned());
    }
    let path = locate::manifest(Some(Path::new(given)), Path::new("."))?;
    let (manifest, _) = manifest::check(&path, places)
        .into_result()
        .map_err(CommandError::bad_manifest)?;
    Ok(manifest.name.as_str().to_owned())
}
