//! A launcher that is killed in the middle of appends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::super::{Durability, Files, FsLimits, Rights};
use super::wait;
use crate::launch::broker::{WorkerLimits, Workers};

/// The record of this number. Its length varies, so that kills hit all places of it.
fn record(n: usize) -> String {
    format!("{n} {}.\n", "x".repeat(n * 7919 % 20_000))
}

/// Answers `n` once record `n` has been appended.
#[test]
#[ignore = "run and killed by the test below, in a process of its own"]
fn append_for_ever() {
    let files = Files::new(Workers::start(WorkerLimits::default()).unwrap());
    let dir = files
        .ambient_dir(Path::new("."), Rights::READ_WRITE, FsLimits::default())
        .unwrap();
    let file = wait(dir.create("book")).unwrap();
    for n in 0.. {
        wait(file.append(record(n).into_bytes(), Durability::Written)).unwrap();
        writeln!(std::io::stderr(), "appended {n}").unwrap();
    }
}

#[test]
fn after_a_kill_every_answered_append_is_there_and_at_most_the_end_is_torn() {
    let name = format!(
        "{}::append_for_ever",
        module_path!().split_once("::").unwrap().1
    );
    let (mut answered, mut torn) = (0, 0);
    for round in 0..12 {
        let host = tempfile::TempDir::new().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &name])
            .current_dir(host.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut numbers =
            lines.filter_map(|line| line.unwrap().strip_prefix("appended ")?.parse().ok());
        let first: Option<usize> = numbers.next();
        assert_eq!(first, Some(0), "the process did not begin");
        thread::sleep(Duration::from_micros(5_000 + round * 1_370));
        child.kill().unwrap();
        let last = numbers.last().unwrap_or(0);
        child.wait().unwrap();
        let content = fs::read_to_string(host.path().join("book")).unwrap();
        let mut rest = content.as_str();
        for n in 0..=last {
            rest = rest
                .strip_prefix(&record(n))
                .expect("an answered record is missing");
        }
        // One more may be there without an answer, and a part of one more.
        let next = rest.strip_prefix(&record(last + 1));
        let (rest, number) = next.map_or((rest, last + 1), |rest| (rest, last + 2));
        assert!(
            record(number).starts_with(rest),
            "the end is neither whole nor a part"
        );
        answered += last + 1;
        torn += usize::from(!rest.is_empty());
    }
    println!("{answered} appends were answered; {torn} of 12 files had a torn end");
    assert!(answered > 12);
}
