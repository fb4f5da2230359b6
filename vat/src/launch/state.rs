//! Where an ensemble keeps its things: the state directory with its lock and secret, the runtime directory.
//!
//! State (`$XDG_STATE_HOME/vat/<name>`, or `/var/lib/vat/<name>` for root) survives reboots: the
//! secret from which every vat id and swiss number of the ensemble is derived, the ports that were
//! chosen, the log. The runtime directory (`$XDG_RUNTIME_DIR/vat/<name>`, or `/run/vat/<name>`)
//! holds what lives as long as the launcher: its socket and `control.cap`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::places::Places;
use crate::sturdy::Seed;

/// The locked state of one ensemble, held as long as its launcher runs.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    runtime: PathBuf,
    seed: Seed,
    _lock: File,
}

impl State {
    /// Opens (or creates) the state of the ensemble `name` and locks it for this process.
    ///
    /// # Errors
    /// When another launcher holds it, when it belongs to another manifest (whose live URIs would
    /// be inherited), when the directory is open to others, or on any I/O error.
    pub fn open(places: &Places, name: &str, manifest: &Path) -> Result<Self, StateError> {
        let dir = private_dir(&places.state(name))?;
        let lock = lock(&dir)?;
        claim(&dir, manifest)?;
        let runtime = private_dir(&places.runtime(name))?;
        let seed = seed(&dir.join("seed"))?;
        Ok(Self {
            dir,
            runtime,
            seed,
            _lock: lock,
        })
    }

    /// The secret of the ensemble.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Where the ensemble's state lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where what lives as long as the launcher lies.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The port that was chosen earlier for the listen address `address` (one that ends in `:0`).
    pub fn remembered_port(&self, address: &str) -> Option<u16> {
        let text = std::fs::read_to_string(self.dir.join("ports")).ok()?;
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .find(|(known, _)| *known == address)
            .and_then(|(_, port)| port.parse().ok())
    }

    /// Remembers which port the listen address `address` got.
    ///
    /// # Errors
    /// On any I/O error of the state directory.
    pub fn remember_port(&self, address: &str, port: u16) -> Result<(), StateError> {
        if self.remembered_port(address) == Some(port) {
            return Ok(());
        }
        let path = self.dir.join("ports");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let mut text: String = old
            .lines()
            .filter(|line| {
                line.rsplit_once(' ')
                    .is_some_and(|(known, _)| known != address)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        text.push_str(&format!("{address} {port}\n"));
        replace(&path, text.as_bytes())
    }
}

fn lock(dir: &Path) -> Result<File, StateError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| StateError::io("open", &path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Running { dir: dir.into() }),
        Err(errno) => Err(StateError::io("lock", &path, errno.into())),
    }
}

/// The first manifest of a name owns its state; another one would inherit live URIs.
fn claim(dir: &Path, manifest: &Path) -> Result<(), StateError> {
    let path = dir.join("manifest");
    match std::fs::read_to_string(&path) {
        Ok(owner) if Path::new(owner.trim_end()) == manifest => Ok(()),
        Ok(owner) => Err(StateError::OtherManifest {
            dir: dir.into(),
            owner: owner.trim_end().into(),
            asked: manifest.into(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            replace(&path, format!("{}\n", manifest.display()).as_bytes())
        }
        Err(source) => Err(StateError::io("read", &path, source)),
    }
}

fn seed(path: &Path) -> Result<Seed, StateError> {
    match File::open(path) {
        Ok(mut file) => {
            let mut bytes = zeroize::Zeroizing::new([0_u8; 32]);
            file.read_exact(&mut *bytes)
                .map_err(|source| StateError::io("read", path, source))?;
            Ok(Seed::from_bytes(*bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = Seed::generate().map_err(|source| StateError::io("seed", path, source))?;
            replace(path, seed.expose())?;
            Ok(seed)
        }
        Err(source) => Err(StateError::io("open", path, source)),
    }
}

/// Creates `path` (and its parents) with mode 0700, or checks that only we can use what is there.
fn private_dir(path: &Path) -> Result<PathBuf, StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::io("create", path, source))?;
    let meta = path
        .symlink_metadata()
        .map_err(|source| StateError::io("examine", path, source))?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_dir() || !ours || meta.mode() & 0o077 != 0 {
        return Err(StateError::NotPrivate { dir: path.into() });
    }
    path.canonicalize()
        .map_err(|source| StateError::io("resolve", path, source))
}

/// Writes a file of mode 0600 so that it is either the old or the new one, also after a crash.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let fail = |source| StateError::io("write", path, source);
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(fail)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(fail)?;
    std::fs::rename(&temporary, path).map_err(fail)?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
}

/// Why an ensemble's state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another launcher holds the lock.
    #[error("already running: another launcher holds {}", dir.display())]
    Running {
        /// The state directory.
        dir: PathBuf,
    },
    /// The state belongs to another manifest of the same name.
    #[error(
        "the state {} belongs to the manifest {}, not to {}; \
         another manifest of the same name would inherit its live references",
        dir.display(), owner.display(), asked.display()
    )]
    OtherManifest {
        /// The state directory.
        dir: PathBuf,
        /// The manifest that made it.
        owner: PathBuf,
        /// The manifest that was to be started.
        asked: PathBuf,
    },
    /// The directory is another user's, or open to others.
    #[error("{} must be a directory of ours that nobody else can enter (mode 0700)", dir.display())]
    NotPrivate {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StateError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            what,
            path: path.into(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (tempfile::TempDir, Places) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::at(&dir.path().join("run"), &dir.path().join("state"));
        (dir, places)
    }

    #[test]
    fn the_seed_survives_and_is_private() {
        let (_dir, places) = places();
        let manifest = Path::new("/x/vat.toml");
        let first = State::open(&places, "a", manifest)
            .unwrap()
            .seed()
            .expose()
            .to_owned();
        let again = State::open(&places, "a", manifest).unwrap();
        assert_eq!(again.seed().expose(), &first);
        let mode = again.dir().join("seed").metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_second_launcher_and_another_manifest_are_refused() {
        let (_dir, places) = places();
        let state = State::open(&places, "a", Path::new("/x/vat.toml")).unwrap();
        let second = State::open(&places, "a", Path::new("/x/vat.toml"));
        assert!(
            matches!(second, Err(StateError::Running { .. })),
            "{second:?}"
        );
        drop(state);
        let other = State::open(&places, "a", Path::new("/y/vat.toml"));
        assert!(
            matches!(other, Err(StateError::OtherManifest { .. })),
            "{other:?}"
        );
    }

    #[test]
    fn a_chosen_port_is_remembered() {
        let (_dir, places) = places();
        let state = State::open(&places, "a", Path::new("/x/vat.toml")).unwrap();
        assert_eq!(state.remembered_port("127.0.0.1:0"), None);
        state.remember_port("127.0.0.1:0", 4711).unwrap();
        state.remember_port("[::1]:0", 4712).unwrap();
        state.remember_port("127.0.0.1:0", 4713).unwrap();
        assert_eq!(state.remembered_port("127.0.0.1:0"), Some(4713));
        assert_eq!(state.remembered_port("[::1]:0"), Some(4712));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let (dir, places) = places();
        let path = dir.path().join("state/a");
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .unwrap();
        let refused = State::open(&places, "a", Path::new("/x/vat.toml"));
        assert!(
            matches!(refused, Err(StateError::NotPrivate { .. })),
            "{refused:?}"
        );
    }
}
