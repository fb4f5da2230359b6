//! Names that change while they are opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags};

use super::super::{FsError, Rights};
use super::{Bench, SECRET, wait};

/// Swaps two names beneath the granted directory all the time while `act` runs again and again,
/// until it has been seen to happen on both sides of the swap often enough.
///
/// `act` answers whether it reached the inside (`true`) or was refused (`false`).
fn race(bench: &Bench, one: &str, two: &str, mut act: impl FnMut(usize) -> bool) {
    let (one, two) = (bench.granted(one), bench.granted(two));
    let stop = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _stop = StopOnDrop(&stop);
        let (mut reached, mut refused) = (0, 0);
        let begun = Instant::now();
        for n in 0.. {
            if act(n) {
                reached += 1;
            } else {
                refused += 1;
            }
            let enough = n >= ROUNDS && reached >= ROUNDS / 20 && refused >= ROUNDS / 20;
            if enough || begun.elapsed() > Duration::from_secs(20) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(
            reached > 0 && refused > 0,
            "no race: {reached} reached, {refused} refused"
        );
    });
    assert!(swaps.load(Ordering::Relaxed) > 0);
}

/// Also when the test fails, or its scope would wait for ever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const ROUNDS: usize = 4000;

#[test]
fn a_file_swapped_for_a_link_is_never_followed() {
    let bench = Bench::new();
    fs::write(bench.granted("file"), "inside").unwrap();
    symlink(bench.outside("file"), bench.granted("link")).unwrap();
    let dir = bench.dir(Rights::READ_WRITE);
    race(&bench, "file", "link", |_| match wait(dir.open("file")) {
        Ok(file) => {
            assert_eq!(wait(file.read_all()).unwrap(), b"inside");
            true
        }
        Err(error) => {
            assert_eq!(error, FsError::NotBeneath);
            false
        }
    });
}

#[test]
fn a_directory_swapped_for_a_link_is_never_followed() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("dir")).unwrap();
    fs::write(bench.granted("dir/file"), "inside").unwrap();
    symlink(bench.outside(""), bench.granted("link")).unwrap();
    let dir = bench.dir(Rights::READ_WRITE);
    race(&bench, "dir", "link", |_| {
        match wait(dir.open("dir/file")) {
            Ok(file) => {
                assert_eq!(wait(file.read_all()).unwrap(), b"inside");
                true
            }
            Err(error) => {
                assert_eq!(error, FsError::NotBeneath);
                false
            }
        }
    });
}

#[test]
fn nothing_is_created_through_a_directory_swapped_for_a_link() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("dir")).unwrap();
    symlink(bench.outside(""), bench.granted("link")).unwrap();
    let dir = bench.dir(Rights::READ_WRITE);
    race(&bench, "dir", "link", |n| {
        match wait(dir.create(&format!("dir/{n}"))) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, FsError::NotBeneath);
                false
            }
        }
    });
    let outside: Vec<_> = fs::read_dir(bench.outside("")).unwrap().collect();
    assert_eq!(outside.len(), 1);
    assert_eq!(fs::read_to_string(bench.outside("file")).unwrap(), SECRET);
}

#[test]
fn a_file_swapped_for_a_fifo_never_blocks() {
    let bench = Bench::new();
    fs::write(bench.granted("file"), "inside").unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fifo = bench.granted("fifo");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let dir = bench.dir(Rights::READ);
    race(&bench, "file", "fifo", |_| match wait(dir.open("file")) {
        Ok(file) => {
            assert_eq!(wait(file.read_all()).unwrap(), b"inside");
            true
        }
        Err(error) => {
            assert!(matches!(error, FsError::NotAFile(_)), "{error}");
            false
        }
    });
}

#[test]
fn creators_of_one_name_get_one_file() {
    let bench = Bench::new();
    let dirs: Vec<_> = (0..4).map(|_| bench.dir(Rights::READ_WRITE)).collect();
    for n in 0..200 {
        let name = format!("f{n}");
        let created = dirs.iter().map(|dir| dir.create_new(&name));
        let made = wait(futures_util::future::join_all(created));
        assert_eq!(made.iter().filter(|file| file.is_ok()).count(), 1);
        let opened = dirs.iter().map(|dir| dir.create(&format!("g{n}")));
        assert!(
            wait(futures_util::future::join_all(opened))
                .iter()
                .all(Result::is_ok)
        );
    }
}
