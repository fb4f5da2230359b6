//! What the environment of the process says: read once, in `main`, and passed on as values.

use std::path::PathBuf;

use vat::launch::places::{Places, PlacesError};

use crate::command_error::{CommandError, Kind};

/// Everything that this program takes from its environment.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The directory that relative paths start from, as `.` means it.
    pub(crate) directory: PathBuf,
    /// The `cargo` that builds packages.
    pub(crate) cargo: PathBuf,
    /// The terminal cannot do more than print lines.
    pub(crate) dumb_terminal: bool,
    /// The terminal shows characters beyond ASCII.
    pub(crate) unicode: bool,
    places: Result<Places, PlacesError>,
}

impl Environment {
    /// Reads the environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this program reads it"
    )]
    pub(crate) fn ambient() -> Self {
        let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        // The first that is set decides: POSIX, environment variables for internationalization.
        let locale = text("LC_ALL")
            .or_else(|| text("LC_CTYPE"))
            .or_else(|| text("LANG"));
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            directory: PathBuf::from("."),
            cargo: std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
            dumb_terminal: text("TERM").is_some_and(|term| term == "dumb"),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            places: Places::ambient(),
        }
    }

    /// Where the ensembles of this user keep their files.
    pub(crate) fn places(&self) -> Result<&Places, CommandError> {
        self.places.as_ref().map_err(|error| {
            CommandError::new(Kind::Failed, error.to_string())
                .hint("set XDG_STATE_HOME to a directory of your own")
        })
    }
}
