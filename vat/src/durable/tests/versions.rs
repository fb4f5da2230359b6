//! What older and newer programs have written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::Vat;
use crate::durable::{Old, Store, StoreError};
use crate::prelude::*;

#[derive(Clone, Debug, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Book")]
struct Book1 {
    entries: Vec<String>,
}

#[derive(Clone, Debug, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Book", version = 2, migrate = older)]
struct Book2 {
    entries: Vec<(u64, String)>,
    #[serde(default)]
    title: String,
}

fn older(old: Old<'_>) -> Result<Book2> {
    if old.version() != 1 {
        return Err(old.refuse());
    }
    let Book1 { entries } = old.read()?;
    Ok(Book2 {
        entries: (1..).zip(entries).collect(),
        title: "migrated".to_owned(),
    })
}

#[derive(Clone, Debug, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Book", version = 3)]
struct Book3 {}

#[derive(Clone, Debug, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Page")]
struct Page {}

struct Bench {
    folder: TempDir,
}

impl Bench {
    /// A store in which version 1 of a book stands.
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        bench
            .life(|turn| {
                let entries = vec!["a".to_owned(), "b".to_owned()];
                turn.durable("book", |_| Book1 { entries }).map(drop)
            })
            .unwrap();
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A whole life of a vat.
    fn life<R>(&self, turn: impl FnOnce(&Turn) -> Result<R>) -> Result<R> {
        let vat = Vat::new("library");
        vat.attach_store(Store::at(&self.path()).unwrap())?;
        let result = vat.turn(turn);
        vat.flush_store()?;
        result
    }
}

#[test]
fn a_state_of_an_older_version_is_migrated_and_written_anew_when_it_changes() {
    let bench = Bench::new();
    for _ in 0..2 {
        let book = bench.life(|turn| {
            let book = turn.durable("book", |_| Book2::default())?;
            book.read(turn, Clone::clone)
        });
        let book = book.unwrap();
        assert_eq!(book.title, "migrated");
        assert_eq!(book.entries, [(1, "a".to_owned()), (2, "b".to_owned())]);
    }
    bench
        .life(|turn| {
            let book = turn.durable("book", |_| Book2::default())?;
            book.with(turn, |book| book.title = "mine".to_owned())
        })
        .unwrap();
    let title = bench.life(|turn| {
        let book = turn.durable("book", |_| Book2::default())?;
        book.read(turn, |book| book.title.clone())
    });
    assert_eq!(title.unwrap(), "mine");
    let older = bench.life(|turn| turn.durable("book", |_| Book1::default()).map(drop));
    let text = older.unwrap_err().to_string();
    assert!(text.contains("version 2 of test.Book"), "{text}");
    assert!(text.contains("run the newer program"), "{text}");
}

#[test]
fn a_version_without_a_migration_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    let refused = bench.life(|turn| turn.durable("book", |_| Book3::default()).map(drop));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("no migration from 1"), "{text}");
    let kept = bench.life(|turn| {
        let book = turn.durable("book", |_| Book1::default())?;
        book.read(turn, |book| book.entries.len())
    });
    assert_eq!(kept.unwrap(), 2);
}

#[test]
fn an_object_of_another_type_is_refused_with_both_names() {
    let bench = Bench::new();
    let refused = bench.life(|turn| turn.durable("book", |_| Page::default()).map(drop));
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("test.Book") && text.contains("test.Page"),
        "{text}"
    );
    // Also in the same life.
    let refused = bench.life(|turn| {
        turn.durable("book", |_| Book1::default())?;
        turn.durable("book", |_| Page::default()).map(drop)
    });
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("test.Book") && text.contains("test.Page"),
        "{text}"
    );
}

#[test]
fn a_whole_store_goes_through_text_and_back() {
    let bench = Bench::new();
    let mut text = Vec::new();
    let contents = Store::export(&bench.path(), &mut text, false).unwrap();
    assert_eq!(
        (contents.objects, contents.roots),
        (1, vec!["book".to_owned()])
    );
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            r#"{"store":1,"next":2}"#,
            r#"{"root":"book","object":1}"#,
            r#"{"object":1,"type":"test.Book","version":1,"state":{"entries":["a","b"]}}"#,
        ]
    );
    let other = Bench {
        folder: tempfile::tempdir().unwrap(),
    };
    Store::import(
        text.replace('b', "c").replace("cook", "book").as_bytes(),
        &other.path(),
    )
    .unwrap_err();
    assert!(!other.path().exists());
    let edited = text.replace("\"b\"]", "\"c\"]");
    Store::import(edited.as_bytes(), &other.path()).unwrap();
    let again = Store::import(edited.as_bytes(), &other.path()).unwrap_err();
    assert!(matches!(again, StoreError::Io(_)), "{again}");
    assert_eq!(Store::check(&other.path()).unwrap().problems, [""; 0]);
    let entries = other.life(|turn| {
        let book = turn.durable("book", |_| Book1::default())?;
        book.read(turn, |book| book.entries.clone())
    });
    assert_eq!(entries.unwrap(), ["a", "c"]);
}

#[test]
fn a_text_that_does_not_fit_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let first = "{\"store\":1,\"next\":3}\n";
    let object = "{\"object\":1,\"type\":\"t\",\"version\":1,\"state\":{\"a\":{\"$object\":2}}}\n";
    for (text, wrong) in [
        (String::new(), "line 1: there is nothing"),
        ("{}\n".to_owned(), "line 1: the first line"),
        (
            "{\"store\":9,\"next\":3}\n".to_owned(),
            "line 1: the text is of layout 9",
        ),
        (format!("{first}{{\"object\":7}}\n"), "line 2: object 7"),
        (
            format!("{first}\n{{\"object\":1}}\n"),
            "line 3: it has no type",
        ),
        (format!("{first}{object}"), "object 1 refers to object 2"),
        (
            format!("{first}{{\"root\":\"r\",\"object\":2}}\n"),
            "the root r is object 2",
        ),
        (format!("{first}nonsense\n"), "line 2: "),
    ] {
        let refused = Store::import(text.as_bytes(), &path)
            .unwrap_err()
            .to_string();
        assert!(refused.starts_with(wrong), "{refused}");
        assert!(!path.exists());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn a_file_that_is_no_store_or_a_newer_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    std::fs::write(&path, "this is a letter, and a rather short one at that").unwrap();
    let refused = Store::at(&path).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let other = redb::Database::create(&path).unwrap();
    let table: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("other");
    let write = other.begin_write().unwrap();
    write.open_table(table).unwrap();
    write.commit().unwrap();
    drop(other);
    let refused = Store::at(&path).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore), "{refused}");
    std::fs::remove_file(&path).unwrap();
    drop(Store::at(&path).unwrap());
    let newer = redb::Database::create(&path).unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("vat");
    let write = newer.begin_write().unwrap();
    write.open_table(meta).unwrap().insert("layout", 2).unwrap();
    write.commit().unwrap();
    drop(newer);
    let refused = Store::at(&path).unwrap_err();
    assert!(matches!(refused, StoreError::Layout(2)), "{refused}");
    assert!(refused.to_string().contains("import"), "{refused}");
}

#[test]
fn a_store_has_one_user_at_a_time() {
    let bench = Bench::new();
    let first = Store::at(&bench.path()).unwrap();
    let second = Store::at(&bench.path()).unwrap_err();
    assert!(matches!(second, StoreError::InUse), "{second}");
    let tool = Store::check(&bench.path()).unwrap_err();
    assert!(matches!(tool, StoreError::InUse), "{tool}");
    drop(first);
    Store::check(&bench.path()).unwrap();
}
