//! A full disk, and one that is read-only.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::{Dir, Durability, FsError, FsLimits, Rights};
use super::{Bench, wait};
use crate::launch::broker::tests::SmallDisk;

/// Appends until the disk is full, then less, and checks the content after each failure.
fn fill(dir: &Dir, path: &Path) {
    let file = wait(dir.create("book")).unwrap();
    let mut expected = Vec::new();
    let mut failures = 0;
    for n in 0..400usize {
        let record = format!("{n} {}\n", "x".repeat(n * 37 % 3000)).into_bytes();
        let durability = if n % 2 == 0 {
            Durability::Synced
        } else {
            Durability::Written
        };
        match wait(file.append(record.clone(), durability)) {
            Ok(at) => {
                assert_eq!(at, expected.len() as u64);
                expected.extend(record);
            }
            Err(error) => {
                assert!(matches!(error, FsError::Full(_)), "{error}");
                assert!(error.to_string().starts_with("the disk is full"));
                failures += 1;
            }
        }
        assert_eq!(wait(file.size()), Ok(expected.len() as u64));
        assert!(
            fs::read(path).unwrap() == expected,
            "content differs after record {n}"
        );
    }
    assert!(failures > 0, "the disk was never full");
    assert!(expected.len() > 10_000);
}

#[test]
fn a_full_disk_fails_the_append_and_keeps_what_was_there() {
    let bench = Bench::new();
    let granted = bench.granted("");
    let Some(_disk) = SmallDisk::mount(&granted) else {
        return;
    };
    let dir = bench
        .files
        .ambient_dir(&granted, Rights::READ_WRITE, FsLimits::default())
        .unwrap();
    fill(&dir, &bench.granted("book"));
}

#[test]
fn a_file_that_the_host_makes_read_only_is_opened_for_reading() {
    let bench = Bench::new();
    let granted = bench.granted("");
    let Some(disk) = SmallDisk::mount(&granted) else {
        return;
    };
    fs::write(bench.granted("f"), "x").unwrap();
    disk.make_read_only();
    let dir = bench
        .files
        .ambient_dir(&granted, Rights::READ_WRITE, FsLimits::default())
        .unwrap();
    let file = wait(dir.open("f")).unwrap();
    assert_eq!(wait(file.read_all()).unwrap(), b"x");
    assert_eq!(file.rights(), Rights::READ);
    let append = wait(file.append(b"y".to_vec(), Durability::Written));
    assert_eq!(append, Err(FsError::NotAllowed("write")));
    assert_eq!(wait(dir.create("g")).unwrap_err(), FsError::Denied);
}

#[test]
fn the_largest_size_of_a_file_fails_the_append_and_keeps_what_was_there() {
    let script = "ulimit -f 64 && trap '' XFSZ && exec \"$0\" --exact --ignored --quiet \"$1\"";
    let name = format!(
        "{}::below_a_file_size_limit",
        module_path!().split_once("::").unwrap().1
    );
    let test = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(test)
        .arg(name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above, in a process with a limit"]
fn below_a_file_size_limit() {
    let bench = Bench::new();
    fill(&bench.dir(Rights::READ_WRITE), &bench.granted("book"));
}
