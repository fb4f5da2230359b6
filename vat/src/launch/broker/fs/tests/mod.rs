//! Tests on real files.

mod escape;
mod full;
mod kill;
mod operations;
mod races;

use std::fs;
use std::future::Future;
use std::path::PathBuf;

use tempfile::TempDir;

use super::{Dir, Files, FsLimits, Rights};
use crate::launch::broker::{WorkerLimits, Workers};

/// A directory that is granted, and one beside it that is not and holds `secret`.
struct Bench {
    files: Files,
    host: TempDir,
}

impl Bench {
    fn new() -> Self {
        let host = TempDir::new().unwrap();
        fs::create_dir(host.path().join("granted")).unwrap();
        fs::create_dir(host.path().join("outside")).unwrap();
        fs::write(host.path().join("outside/file"), SECRET).unwrap();
        Self {
            files: Files::new(Workers::start(WorkerLimits::default()).unwrap()),
            host,
        }
    }

    fn granted(&self, name: &str) -> PathBuf {
        self.host.path().join("granted").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.host.path().join("outside").join(name)
    }

    fn dir(&self, rights: Rights) -> Dir {
        self.dir_with(rights, FsLimits::default())
    }

    fn dir_with(&self, rights: Rights, limits: FsLimits) -> Dir {
        self.files
            .ambient_dir(&self.granted(""), rights, limits)
            .unwrap()
    }
}

const SECRET: &str = "secret";

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}
