//! Which manifest a command means.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command_error::{CommandError, Kind};

const SUFFIX: &str = ".vat.toml";

/// The manifest that was named, or the only one in the directory.
///
/// A directory in place of a file means the only manifest in it.
pub(crate) fn manifest(given: Option<&Path>, directory: &Path) -> Result<PathBuf, CommandError> {
    match given {
        Some(path) if path.is_dir() => only_manifest(path),
        Some(path) => Ok(path.to_owned()),
        None => only_manifest(directory),
    }
}

fn only_manifest(directory: &Path) -> Result<PathBuf, CommandError> {
    let entries = fs::read_dir(directory).map_err(|error| {
        CommandError::new(
            Kind::Usage,
            format!("cannot read {}: {error}", directory.display()),
        )
    })?;
    let mut manifests: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.to_string_lossy().ends_with(SUFFIX))
        .map(|name| {
            if directory == Path::new(".") {
                name.into()
            } else {
                directory.join(name)
            }
        })
        .collect();
    manifests.sort();
    match manifests.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(
            CommandError::new(Kind::Usage, "there is no manifest (*.vat.toml) here")
                .hint("name one: `vat check path/to/hello.vat.toml`"),
        ),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(
                CommandError::new(Kind::Usage, "there are several manifests here")
                    .hint(format!("name one of them: {}", names.join(", "))),
            )
        }
    }
}
