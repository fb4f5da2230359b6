//! Where an ensemble keeps its files: sockets and references at run time, keys and state for
//! good.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the places could not be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlacesError {
    /// A user without a home.
    #[error("neither XDG_STATE_HOME nor HOME names a directory for state")]
    NoHome,
}

/// The directories of all ensembles of this user. Each ensemble has one of its name in both.
///
/// `XDG_RUNTIME_DIR` and `XDG_STATE_HOME` decide where they are set, for root too. Otherwise root
/// has `/run/vat` and `/var/lib/vat`, others `/run/user/<uid>/vat` where that exists (else `run`
/// below the state) and `~/.local/state/vat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    runtime: PathBuf,
    state: PathBuf,
}

impl Places {
    /// The places of the user who runs this process.
    ///
    /// # Authority
    ///
    /// Reads the environment and the user id of the process: ambient. For `main`.
    ///
    /// # Errors
    ///
    /// No variable says where state may be kept.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads these variables"
    )]
    pub fn ambient() -> Result<Self, PlacesError> {
        let uid = rustix::process::geteuid();
        Self::of(|name| std::env::var_os(name), uid.as_raw())
    }

    /// The places under two directories that were chosen otherwise, as a test does.
    #[must_use]
    pub fn at(runtime: &Path, state: &Path) -> Self {
        Self {
            runtime: runtime.to_owned(),
            state: state.to_owned(),
        }
    }

    fn of(var: impl Fn(&str) -> Option<OsString>, uid: u32) -> Result<Self, PlacesError> {
        // Relative values are to be ignored, says the XDG base directory specification.
        let dir = |name| {
            var(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let state = match (dir("XDG_STATE_HOME"), uid, dir("HOME")) {
            (Some(state), _, _) => state.join("vat"),
            (None, 0, _) => PathBuf::from("/var/lib/vat"),
            (None, _, Some(home)) => home.join(".local/state/vat"),
            (None, _, None) => return Err(PlacesError::NoHome),
        };
        let runtime = match dir("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("vat"),
            None if uid == 0 => PathBuf::from("/run/vat"),
            None => {
                let usual = PathBuf::from(format!("/run/user/{uid}"));
                if usual.is_dir() {
                    usual.join("vat")
                } else {
                    state.join("run")
                }
            }
        };
        Ok(Self { runtime, state })
    }

    /// The directory of all ensembles at run time.
    #[must_use]
    pub fn runtime_root(&self) -> &Path {
        &self.runtime
    }

    /// The directory of all ensembles' state.
    #[must_use]
    pub fn state_root(&self) -> &Path {
        &self.state
    }

    /// The reference files that this user keeps under petnames. No ensemble has such a name.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.state.join("keyring.d")
    }

    /// One ensemble's sockets and `control.cap`.
    #[must_use]
    pub fn runtime(&self, name: &str) -> PathBuf {
        self.runtime.join(name)
    }

    /// One ensemble's keys, shares and logs.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(vars: &[(&str, &str)], uid: u32) -> Result<Places, PlacesError> {
        let find = |name: &str| vars.iter().find(|(key, _)| *key == name);
        Places::of(
            |name| find(name).map(|(_, value)| OsString::from(value)),
            uid,
        )
    }

    #[test]
    fn xdg_variables_win_for_root_too() {
        let vars = [
            ("XDG_RUNTIME_DIR", "/r"),
            ("XDG_STATE_HOME", "/s"),
            ("HOME", "/h"),
        ];
        for uid in [0, 65_533] {
            let expected = Places::at(Path::new("/r/vat"), Path::new("/s/vat"));
            assert_eq!(places(&vars, uid), Ok(expected));
        }
    }

    #[test]
    fn without_variables_the_usual_directories_are_taken() {
        let root = Places::at(Path::new("/run/vat"), Path::new("/var/lib/vat"));
        assert_eq!(places(&[("HOME", "/root")], 0), Ok(root));
        let user = places(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "relative")], 65_533);
        let state = Path::new("/h/.local/state/vat");
        assert_eq!(user, Ok(Places::at(&state.join("run"), state)));
        assert_eq!(places(&[], 65_533), Err(PlacesError::NoHome));
    }
}
