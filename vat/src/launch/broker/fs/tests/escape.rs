//! No name leads out of a granted directory. Each way is first shown to work without confinement.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};

use super::super::name::Name;
use super::super::open::{create_new, open_ambient_dir, open_existing};
use super::super::{BadName, FsError, FsLimits, Rights};
use super::{Bench, SECRET, wait};

/// Every operation on `name` is refused with `error`.
fn refused(bench: &Bench, name: &str, error: &FsError) {
    let dir = bench.dir(Rights::READ_WRITE);
    assert_eq!(&wait(dir.open(name)).unwrap_err(), error, "open {name:?}");
    assert_eq!(
        &wait(dir.create(name)).unwrap_err(),
        error,
        "create {name:?}"
    );
    assert_eq!(
        &wait(dir.read_only().open(name)).unwrap_err(),
        error,
        "open {name:?} to read"
    );
    assert!(wait(dir.create_new(name)).is_err(), "create_new {name:?}");
    outside_is_untouched(bench);
}

fn outside_is_untouched(bench: &Bench) {
    let names: Vec<_> = fs::read_dir(bench.outside(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(bench.outside("file")).unwrap(), SECRET);
}

/// Unconfined, the path below the granted directory does lead to the secret.
fn leads_out(bench: &Bench, name: &str) {
    assert_eq!(
        fs::read_to_string(bench.granted(name)).unwrap(),
        SECRET,
        "{name:?}"
    );
}

#[test]
fn dots_and_absolute_names_are_refused() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("d")).unwrap();
    for name in ["../outside/file", "d/../../outside/file"] {
        leads_out(&bench, name);
        refused(&bench, name, &BadName::Dots.into());
    }
    let absolute = bench.outside("file");
    let absolute = absolute.to_str().unwrap();
    leads_out(&bench, absolute);
    refused(&bench, absolute, &BadName::Absolute.into());
    refused(&bench, "", &BadName::Empty.into());
    refused(&bench, ".", &BadName::Dots.into());
    refused(&bench, "..", &BadName::Dots.into());
    refused(&bench, "file\0", &BadName::Control.into());
    refused(&bench, &"x".repeat(256), &BadName::TooLong.into());
    refused(&bench, &"x/".repeat(600), &BadName::TooLong.into());
}

#[test]
fn the_kernel_refuses_what_the_check_of_names_would_let_through() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("d")).unwrap();
    let root = open_ambient_dir(&bench.granted("")).unwrap();
    let absolute = bench.outside("file");
    for text in [
        "../outside/file",
        "d/../../outside/file",
        absolute.to_str().unwrap(),
    ] {
        leads_out(&bench, text);
        let opened = open_existing(root.as_fd(), &Name::unchecked(text), Rights::READ);
        assert_eq!(opened.err(), Some(FsError::NotBeneath), "{text:?}");
    }
    for text in ["../outside/new", "d/../../outside/new", "/../outside/new"] {
        let created = create_new(root.as_fd(), &Name::unchecked(text), Rights::READ_WRITE);
        assert_eq!(created.err(), Some(FsError::NotBeneath), "{text:?}");
    }
    outside_is_untouched(&bench);
}

#[test]
fn symbolic_links_are_not_followed() {
    let bench = Bench::new();
    symlink(bench.outside("file"), bench.granted("to-file")).unwrap();
    symlink("../outside/file", bench.granted("to-file-relative")).unwrap();
    symlink(bench.outside(""), bench.granted("to-dir")).unwrap();
    symlink("to-file", bench.granted("to-link")).unwrap();
    for name in ["to-file", "to-file-relative", "to-dir/file", "to-link"] {
        leads_out(&bench, name);
        refused(&bench, name, &FsError::NotBeneath);
    }
    refused(&bench, "to-dir", &FsError::NotBeneath);
    refused(&bench, "to-dir/new", &FsError::NotBeneath);
}

#[test]
fn dangling_links_create_nothing() {
    let bench = Bench::new();
    symlink(bench.outside("new"), bench.granted("dangling")).unwrap();
    refused(&bench, "dangling", &FsError::NotBeneath);
    assert_eq!(
        wait(bench.dir(Rights::READ_WRITE).create_new("dangling")).unwrap_err(),
        FsError::Exists
    );
    fs::write(bench.granted("dangling"), "unconfined, it does").unwrap();
    assert!(bench.outside("new").exists());
}

#[test]
fn links_that_stay_inside_are_not_followed_either() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("d")).unwrap();
    fs::write(bench.granted("d/f"), "inside").unwrap();
    symlink("d/f", bench.granted("link")).unwrap();
    symlink("d", bench.granted("dir-link")).unwrap();
    for name in ["link", "dir-link/f"] {
        assert_eq!(fs::read_to_string(bench.granted(name)).unwrap(), "inside");
        refused(&bench, name, &FsError::NotBeneath);
    }
}

#[test]
fn magic_links_are_not_followed() {
    let bench = Bench::new();
    let held = fs::File::open(bench.outside("file")).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&held);
    let outside = bench.outside("file");
    let through_root = format!("/proc/self/root{}", outside.display());
    symlink(format!("/proc/self/fd/{fd}"), bench.granted("fd")).unwrap();
    symlink(&through_root, bench.granted("root")).unwrap();
    for name in ["fd", "root"] {
        leads_out(&bench, name);
        refused(&bench, name, &FsError::NotBeneath);
    }
    // Even where the magic links themselves are beneath.
    let proc = Path::new("/proc/self");
    let dir = bench
        .files
        .ambient_dir(proc, Rights::READ, FsLimits::default())
        .unwrap();
    assert!(wait(dir.open("limits")).is_ok());
    for name in [
        format!("fd/{fd}"),
        format!("root{}", outside.display()),
        "exe".into(),
    ] {
        assert!(fs::read(proc.join(&name)).is_ok(), "{name}");
        assert_eq!(
            wait(dir.open(&name)).unwrap_err(),
            FsError::NotBeneath,
            "{name}"
        );
    }
}

#[test]
fn only_regular_files_are_opened() {
    let bench = Bench::new();
    fs::create_dir(bench.granted("dir")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(CWD, bench.granted("fifo"), FileType::Fifo, mode, 0).unwrap();
    let _socket = UnixListener::bind(bench.granted("socket")).unwrap();
    refused(&bench, "dir", &FsError::NotAFile("a directory"));
    refused(&bench, "fifo", &FsError::NotAFile("a FIFO"));
    refused(&bench, "socket", &FsError::NotAFile("a socket"));
    let dev = Path::new("/dev");
    let dev = bench
        .files
        .ambient_dir(dev, Rights::READ_WRITE, FsLimits::default())
        .unwrap();
    for name in ["null", "zero", "tty"] {
        assert!(dev_exists(name));
        assert_eq!(
            wait(dev.open(name)).unwrap_err(),
            FsError::NotAFile("a device")
        );
        assert_eq!(
            wait(dev.create(name)).unwrap_err(),
            FsError::NotAFile("a device")
        );
    }
}

fn dev_exists(name: &str) -> bool {
    Path::new("/dev").join(name).exists()
}

#[test]
fn a_hard_link_made_by_the_host_is_the_file() {
    let bench = Bench::new();
    fs::hard_link(bench.outside("file"), bench.granted("linked")).unwrap();
    let file = wait(bench.dir(Rights::READ).open("linked")).unwrap();
    assert_eq!(wait(file.read_all()).unwrap(), SECRET.as_bytes());
}
