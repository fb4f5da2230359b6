//! The log as a whole.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::files::{numbers, path};
use super::{Level, Log, LogLimits, LogReader, Record, Stream};
use crate::launch::broker::tests::SmallDisk;

fn flush(log: &Log) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(log.flush());
}

fn all(dir: &Path) -> Vec<Record> {
    LogReader::oldest(dir).read().unwrap()
}

fn messages(records: &[Record]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record.message.as_str())
        .collect()
}

/// A log without a bound on records per second.
fn unlimited(dir: &TempDir) -> Log {
    Log::open(dir.path(), LogLimits::default().with_per_second(1_000_000)).unwrap()
}

#[test]
fn records_are_read_as_they_were_logged() {
    let dir = TempDir::new().unwrap();
    let log = unlimited(&dir);
    let source = log.source("shop/ledger");
    source.log(Level::Info, "open", [("entries", "12"), ("mode", "rw")]);
    source
        .tagged("db")
        .tagged("x")
        .log(Level::Error, "broken", []);
    flush(&log);
    let records = all(dir.path());
    assert_eq!(messages(&records), ["open", "broken"]);
    assert_eq!(records[0].from, "shop/ledger");
    assert_eq!(
        (records[0].level, records[0].tag.as_deref()),
        (Level::Info, None)
    );
    assert_eq!(records[0].fields["entries"], "12");
    assert_eq!(
        (records[1].level, records[1].tag.as_deref()),
        (Level::Error, Some("db/x"))
    );
    assert!(records[0].time <= records[1].time);
}

#[test]
fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let _log = unlimited(&dir);
    let mode = fs::metadata(path(dir.path(), 1))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn outputs_become_records_line_by_line() {
    let dir = TempDir::new().unwrap();
    let log = unlimited(&dir);
    let source = log.source("a");
    let mut out = source.capture(Stream::Stdout);
    out.feed(b"one\ntw");
    out.feed(b"o\n\xff");
    source.capture(Stream::Stderr).feed(b"oh\n");
    drop(out);
    flush(&log);
    let records = all(dir.path());
    let read: Vec<_> = records
        .iter()
        .map(|record| {
            (
                record.stream.as_deref().unwrap(),
                record.level,
                record.message.as_str(),
            )
        })
        .collect();
    let expected = [
        ("stdout", Level::Info, "one"),
        ("stdout", Level::Info, "two"),
        ("stderr", Level::Warn, "oh"),
        ("stdout", Level::Info, "\u{fffd}"),
    ];
    assert_eq!(read, expected);
}

#[test]
fn beyond_the_budget_records_are_counted() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), LogLimits::default().with_per_second(5)).unwrap();
    let (loud, quiet) = (log.source("loud"), log.source("quiet"));
    for n in 0..1000 {
        loud.log(Level::Info, &n.to_string(), []);
        loud.tagged("t").log(Level::Info, "tagged", []);
    }
    quiet.log(Level::Info, "heard", []);
    drop(loud);
    flush(&log);
    let records = all(dir.path());
    let loud: Vec<_> = records
        .iter()
        .filter(|record| record.from == "loud")
        .collect();
    let told: u64 = loud
        .iter()
        .filter(|record| record.message == "records suppressed")
        .map(|record| record.fields["count"].parse::<u64>().unwrap())
        .sum();
    let passed = loud
        .iter()
        .filter(|record| record.message != "records suppressed")
        .count();
    assert!(passed < 20, "{passed}");
    assert_eq!(passed as u64 + told, 2000);
    assert!(
        messages(&records).contains(&"heard"),
        "another source has its own budget"
    );
}

#[test]
fn a_source_that_falls_silent_is_still_told_of() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), LogLimits::default().with_per_second(10)).unwrap();
    let source = log.source("a");
    for _ in 0..15 {
        source.log(Level::Info, "x", []);
    }
    let begun = Instant::now();
    let mut reader = LogReader::oldest(dir.path());
    let mut seen = Vec::new();
    while !messages(&seen).contains(&"records suppressed") {
        assert!(begun.elapsed() < Duration::from_secs(20), "not told");
        std::thread::sleep(Duration::from_millis(20));
        seen.extend(reader.read().unwrap());
    }
    drop(source);
}

#[test]
fn a_flood_never_blocks_and_what_is_lost_is_counted() {
    let dir = TempDir::new().unwrap();
    let log = unlimited(&dir);
    let source = log.source("a");
    let total = 50_000u64;
    for n in 0..total {
        source.log(Level::Info, &n.to_string(), []);
    }
    flush(&log);
    drop((source, log));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let records = all(dir.path());
        let lost = records
            .iter()
            .filter(|record| record.message == "records lost");
        let lost: u64 = lost
            .map(|record| record.fields["count"].parse::<u64>().unwrap())
            .sum();
        let kept = records.iter().filter(|record| record.from == "a").count() as u64;
        if kept + lost == total {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{kept} kept and {lost} lost of {total}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn old_files_are_removed_and_a_reader_follows_across_files() {
    let dir = TempDir::new().unwrap();
    let limits = LogLimits::default()
        .with_per_second(1_000_000)
        .with_files(4000, 3);
    let log = Log::open(dir.path(), limits).unwrap();
    let source = log.source("a");
    let mut reader = LogReader::oldest(dir.path());
    let mut followed = Vec::new();
    for n in 0..400 {
        source.log(Level::Info, &n.to_string(), []);
        if n % 7 == 0 {
            flush(&log);
            followed.extend(reader.read().unwrap());
        }
    }
    flush(&log);
    followed.extend(reader.read().unwrap());
    let expected: Vec<_> = (0..400).map(|n| n.to_string()).collect();
    assert_eq!(messages(&followed), expected);
    let numbers = numbers(dir.path()).unwrap();
    assert_eq!(numbers.len(), 3);
    assert!(numbers[0] > 1);
    for number in numbers {
        assert!(fs::metadata(path(dir.path(), number)).unwrap().len() <= 4000);
    }
}

#[test]
fn the_last_records_are_found_and_then_followed() {
    let dir = TempDir::new().unwrap();
    let limits = LogLimits::default()
        .with_per_second(1_000_000)
        .with_files(1000, 4);
    let log = Log::open(dir.path(), limits).unwrap();
    let (a, b) = (log.source("a"), log.source("b"));
    for n in 0..20 {
        a.log(Level::Info, &format!("a{n}"), []);
        b.log(Level::Info, &format!("b{n}"), []);
    }
    flush(&log);
    let of_a = |record: &Record| record.from == "a";
    let (last, mut reader) = LogReader::last(dir.path(), 3, of_a).unwrap();
    assert_eq!(messages(&last), ["a17", "a18", "a19"]);
    assert!(reader.read().unwrap().is_empty());
    b.log(Level::Info, "new", []);
    flush(&log);
    assert_eq!(messages(&reader.read().unwrap()), ["new"]);
    assert!(LogReader::last(dir.path(), 0, of_a).unwrap().0.is_empty());
}

#[test]
fn very_long_records_are_fewer() {
    let dir = TempDir::new().unwrap();
    let long = "x".repeat(8000);
    let record = Record::new(super::Timestamp::from_micros(1), Level::Info, "a", &long);
    fs::write(path(dir.path(), 1), record.to_line().repeat(1000)).unwrap();
    let (last, mut reader) = LogReader::last(dir.path(), 1000, |_| true).unwrap();
    assert!((500..530).contains(&last.len()), "{}", last.len());
    assert!(reader.read().unwrap().is_empty());
}

#[test]
fn a_log_that_is_not_there_is_empty_until_it_is() {
    let host = TempDir::new().unwrap();
    let dir = host.path().join("later");
    let mut reader = LogReader::oldest(&dir);
    assert!(reader.read().unwrap().is_empty());
    assert!(LogReader::last(&dir, 9, |_| true).unwrap().0.is_empty());
    let log = Log::open(&dir, LogLimits::default()).unwrap();
    log.source("a").log(Level::Info, "first", []);
    flush(&log);
    assert_eq!(messages(&reader.read().unwrap()), ["first"]);
}

#[test]
fn a_torn_last_line_costs_only_itself() {
    let dir = TempDir::new().unwrap();
    let log = unlimited(&dir);
    log.source("a").log(Level::Info, "before", []);
    flush(&log);
    drop(log);
    let mut content = fs::read(path(dir.path(), 1)).unwrap();
    content.extend_from_slice(br#"{"time":"2026-11-22T03:45:48.1234"#);
    let mut reader = LogReader::oldest(dir.path());
    fs::write(path(dir.path(), 1), &content).unwrap();
    assert_eq!(messages(&reader.read().unwrap()), ["before"]);
    let log = unlimited(&dir);
    log.source("a").log(Level::Info, "after", []);
    flush(&log);
    assert_eq!(messages(&reader.read().unwrap()), ["after"]);
    assert_eq!(messages(&all(dir.path())), ["before", "after"]);
}

#[test]
fn a_reader_never_sees_half_a_line() {
    let dir = TempDir::new().unwrap();
    let record = Record::new(super::Timestamp::from_micros(1), Level::Info, "a", "whole");
    let line = record.to_line();
    let mut reader = LogReader::oldest(dir.path());
    for cut in 0..line.len() {
        fs::write(path(dir.path(), 1), &line[..cut]).unwrap();
        assert!(reader.read().unwrap().is_empty());
    }
    fs::write(path(dir.path(), 1), &line).unwrap();
    assert_eq!(reader.read().unwrap(), [record]);
}

#[test]
fn a_full_disk_loses_records_and_the_log_says_how_many() {
    let dir = TempDir::new().unwrap();
    let Some(_disk) = SmallDisk::mount(dir.path()) else {
        return;
    };
    let filler = dir.path().join("filler");
    fs::write(&filler, vec![0; 48 * 1024]).unwrap();
    let log = unlimited(&dir);
    let source = log.source("a");
    let mut total = 0;
    for _ in 0..10 {
        for _ in 0..50 {
            source.log(Level::Info, &"x".repeat(100), []);
            total += 1;
        }
        flush(&log);
    }
    assert!(all(dir.path()).len() < 500, "the disk was never full");
    fs::remove_file(&filler).unwrap();
    source.log(Level::Info, "room again", []);
    flush(&log);
    let records = all(dir.path());
    assert_eq!(records.last().unwrap().message, "room again");
    let kept = records
        .iter()
        .filter(|record| record.message.starts_with('x'))
        .count() as u64;
    let notes = records
        .iter()
        .filter(|record| record.message == "records lost");
    let lost: u64 = notes
        .map(|note| note.fields["count"].parse::<u64>().unwrap())
        .sum();
    assert!(kept > 0 && lost > 0);
    assert_eq!(kept + lost, total);
}

#[test]
fn uris_do_not_reach_the_file() {
    let dir = TempDir::new().unwrap();
    let log = unlimited(&dir);
    let source = log.source("a");
    let uri = "vat://aaaa@host:1/PLANTED";
    source.log(Level::Info, uri, [(uri, uri)]);
    source.tagged(uri).log(Level::Info, "x", []);
    source
        .capture(Stream::Stdout)
        .feed(format!("see {uri}\n").as_bytes());
    flush(&log);
    let content = fs::read_to_string(path(dir.path(), 1)).unwrap();
    assert_eq!(content.lines().count(), 3);
    assert!(!content.contains("PLANTED"), "{content}");
}
