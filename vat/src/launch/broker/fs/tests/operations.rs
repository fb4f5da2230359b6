//! What the operations do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use super::super::{BadName, Durability, File, FsError, FsLimits, Rights};
use super::{Bench, wait};

fn append(file: &File, data: impl AsRef<[u8]>) -> Result<u64, FsError> {
    wait(file.append(data.as_ref().to_vec(), Durability::Written))
}

#[test]
fn a_created_file_is_appended_to_and_read() {
    let bench = Bench::new();
    let dir = bench.dir(Rights::READ_WRITE);
    let file = wait(dir.create("notes")).unwrap();
    assert_eq!(append(&file, "hello "), Ok(0));
    assert_eq!(
        wait(file.append(b"world".to_vec(), Durability::Synced)),
        Ok(6)
    );
    assert_eq!(wait(file.size()), Ok(11));
    assert_eq!(wait(file.read_all()).unwrap(), b"hello world");
    assert_eq!(wait(file.read(6, 3)).unwrap(), b"wor");
    assert_eq!(wait(file.read(9, 100)).unwrap(), b"ld");
    assert_eq!(wait(file.read(11, 5)).unwrap(), b"");
    assert_eq!(wait(file.read(u64::MAX, 5)).unwrap(), b"");
    assert_eq!(fs::read(bench.granted("notes")).unwrap(), b"hello world");
    let mode = fs::metadata(bench.granted("notes"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn create_opens_what_is_there_and_create_new_refuses_it() {
    let bench = Bench::new();
    fs::write(bench.granted("there"), "old").unwrap();
    let dir = bench.dir(Rights::READ_WRITE);
    assert_eq!(
        wait(wait(dir.create("there")).unwrap().read_all()).unwrap(),
        b"old"
    );
    assert_eq!(wait(dir.create_new("there")).unwrap_err(), FsError::Exists);
    assert!(wait(dir.create_new("new")).is_ok());
    assert!(bench.granted("new").exists());
    assert_eq!(wait(dir.open("missing")).unwrap_err(), FsError::NotFound);
}

#[test]
fn names_may_lead_into_directories_that_are_there() {
    let bench = Bench::new();
    fs::create_dir_all(bench.granted("a/b")).unwrap();
    let dir = bench.dir(Rights::READ_WRITE);
    append(&wait(dir.create("a/b/c")).unwrap(), "deep").unwrap();
    assert_eq!(fs::read(bench.granted("a/b/c")).unwrap(), b"deep");
    assert_eq!(wait(dir.create("a/x/c")).unwrap_err(), FsError::NotFound);
    assert_eq!(wait(dir.open("a/b/c/d")).unwrap_err(), FsError::NotFound);
    assert_eq!(
        wait(dir.open("a/b")).unwrap_err(),
        FsError::NotAFile("a directory")
    );
    assert_eq!(
        wait(dir.create("a/b")).unwrap_err(),
        FsError::NotAFile("a directory")
    );
}

#[test]
fn a_read_only_directory_gives_files_that_cannot_be_appended_to() {
    let bench = Bench::new();
    fs::write(bench.granted("f"), "x").unwrap();
    let dir = bench.dir(Rights::READ_WRITE).read_only();
    assert_eq!(
        wait(dir.create("f")).unwrap_err(),
        FsError::NotAllowed("write")
    );
    assert_eq!(
        wait(dir.create("g")).unwrap_err(),
        FsError::NotAllowed("write")
    );
    assert_eq!(
        wait(dir.create_new("g")).unwrap_err(),
        FsError::NotAllowed("write")
    );
    let file = wait(dir.open("f")).unwrap();
    assert_eq!(append(&file, "y"), Err(FsError::NotAllowed("write")));
    assert_eq!(fs::read(bench.granted("f")).unwrap(), b"x");
    assert!(!bench.granted("g").exists());
}

#[test]
fn a_read_only_file_reads_and_does_not_append() {
    let bench = Bench::new();
    let file = wait(bench.dir(Rights::READ_WRITE).create("f")).unwrap();
    append(&file, "x").unwrap();
    let reader = file.read_only();
    assert_eq!(append(&reader, "y"), Err(FsError::NotAllowed("write")));
    assert_eq!(wait(reader.read_all()).unwrap(), b"x");
    assert_eq!(append(&file, "z"), Ok(1), "the original keeps its right");
}

#[test]
fn a_directory_for_writing_only_gives_files_that_cannot_be_read() {
    let bench = Bench::new();
    let dir = bench.dir(Rights {
        read: false,
        write: true,
    });
    let file = wait(dir.create("f")).unwrap();
    append(&file, "x").unwrap();
    assert_eq!(
        wait(file.read_all()).unwrap_err(),
        FsError::NotAllowed("read")
    );
    assert_eq!(wait(file.size()).unwrap_err(), FsError::NotAllowed("read"));
    let none = bench.dir(Rights {
        read: false,
        write: false,
    });
    assert!(matches!(wait(none.open("f")), Err(FsError::NotAllowed(_))));
}

#[test]
fn operations_keep_the_order_in_which_they_were_asked_for() {
    let bench = Bench::new();
    let dir = bench.dir(Rights::READ_WRITE);
    let created = dir.create("f");
    let opened = dir.open("f");
    let (first, second) = wait(async { (created.await.unwrap(), opened.await.unwrap()) });
    let appends: Vec<_> = (0..100)
        .map(|n| {
            let file = if n % 2 == 0 { &first } else { &second };
            file.append(format!("{n};").into_bytes(), Durability::Written)
        })
        .collect();
    let content = wait(first.read_all()).unwrap();
    let expected: String = (0..100).map(|n| format!("{n};")).collect();
    assert_eq!(String::from_utf8(content).unwrap(), expected);
    wait(async {
        for append in appends {
            append.await.unwrap();
        }
    });
}

#[test]
fn appends_of_several_holders_do_not_mix() {
    let bench = Bench::new();
    let whole = bench
        .files
        .ambient_dir(bench.host.path(), Rights::READ_WRITE, FsLimits::default());
    let (whole, inner) = (whole.unwrap(), bench.dir(Rights::READ_WRITE));
    wait(inner.create("f")).unwrap();
    fs::hard_link(bench.granted("f"), bench.granted("other")).unwrap();
    let holders = [
        wait(inner.open("f")).unwrap(),
        wait(inner.open("other")).unwrap(),
        wait(whole.open("granted/f")).unwrap(),
    ];
    thread::scope(|scope| {
        for (k, holder) in holders.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..300 {
                    append(holder, format!("{k} {n} {}\n", "x".repeat(n))).unwrap();
                }
            });
        }
    });
    let content = fs::read_to_string(bench.granted("f")).unwrap();
    for k in 0..3 {
        let prefix = format!("{k} ");
        let lines = content.lines().filter(|line| line.starts_with(&prefix));
        let expected = (0..300).map(|n| format!("{k} {n} {}", "x".repeat(n)));
        assert!(lines.eq(expected), "holder {k}");
    }
    assert_eq!(content.lines().count(), 900);
}

#[test]
fn more_at_once_than_allowed_is_refused() {
    let bench = Bench::new();
    let dir = bench.dir_with(Rights::READ_WRITE, FsLimits::default().with_at_once(10));
    let file = wait(dir.create("f")).unwrap();
    let much = |asked| FsError::TooMuch { asked, limit: 10 };
    assert_eq!(append(&file, "12345678901"), Err(much(11)));
    assert_eq!(append(&file, "1234567890"), Ok(0));
    assert_eq!(wait(file.read_all()).unwrap(), b"1234567890");
    assert_eq!(append(&file, "1"), Ok(10));
    assert_eq!(wait(file.read_all()), Err(much(11)));
    assert_eq!(wait(file.read(0, 11)), Err(much(11)));
    assert_eq!(wait(file.read(0, u64::MAX)), Err(much(u64::MAX)));
    assert_eq!(wait(file.read(1, 10)).unwrap(), b"2345678901");
}

#[test]
fn open_files_and_operations_are_bounded_and_given_back() {
    let bench = Bench::new();
    let limits = FsLimits::default().with_open_files(2).with_operations(3);
    let dir = bench.dir_with(Rights::READ_WRITE, limits);
    let files: Vec<_> = (0..2)
        .map(|n| wait(dir.create(&n.to_string())).unwrap())
        .collect();
    assert_eq!(
        wait(dir.open("0")).unwrap_err(),
        FsError::Overloaded("too many open files")
    );
    assert!(!bench.granted("2").exists());
    assert_eq!(
        wait(dir.create("2")).unwrap_err(),
        FsError::Overloaded("too many open files")
    );
    assert!(!bench.granted("2").exists(), "refused before it is created");
    drop(files);
    let file = wait(dir.open("0")).unwrap();
    let asked: Vec<_> = (0..1000).map(|_| file.size()).collect();
    let answers: Vec<_> = wait(async { futures_util::future::join_all(asked).await })
        .into_iter()
        .collect();
    let refused = Err(FsError::Overloaded("too many operations wait"));
    assert!(answers.contains(&refused) && answers.contains(&Ok(0)));
    drop(file);
    // A job gives back its room just after it has answered.
    while dir.in_use() != [0, 0, 0] {
        thread::yield_now();
    }
}

#[test]
fn bad_names_are_refused_with_the_reason() {
    let bench = Bench::new();
    let dir = bench.dir(Rights::READ_WRITE);
    let error = wait(dir.open("../outside/file")).unwrap_err();
    assert_eq!(error, FsError::BadName(BadName::Dots));
    assert_eq!(
        error.to_string(),
        "the name cannot be used: it has a part `.` or `..`"
    );
}

#[test]
fn a_directory_that_is_renamed_stays_granted() {
    let bench = Bench::new();
    let dir = bench.dir(Rights::READ_WRITE);
    fs::rename(bench.granted(""), bench.outside("moved")).unwrap();
    append(&wait(dir.create("f")).unwrap(), "x").unwrap();
    assert_eq!(fs::read(bench.outside("moved/f")).unwrap(), b"x");
}

#[test]
fn a_missing_directory_is_an_error_for_the_operator() {
    let bench = Bench::new();
    let missing = bench.granted("missing");
    let error = bench
        .files
        .ambient_dir(&missing, Rights::READ, FsLimits::default())
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}
