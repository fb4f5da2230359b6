//! The look of a vat program: server and client, each with its `main`, under test with fakes.

use std::cell::RefCell;
use std::rc::Rc;

use super::link::Net;
use super::sample::taken;
use crate::core::{Main, Outcome};
use crate::prelude::*;
use crate::{Exposure, Grants, Ref, Vat};

/// What the two programs share.
mod api {
    use crate::prelude::*;

    #[vat::interface(name = "look::Guestbook")]
    pub(super) trait Guestbook {
        /// Adds an entry and returns its number, once it is on disk.
        async fn sign(this: Near<Self>, cx: &Cx, name: String, text: String) -> Result<u64>;
        /// Up to `count` entries from number `from` on.
        fn page(
            &self,
            turn: &Turn,
            #[default(0)] from: u64,
            #[default(18446744073709551615)] count: u64,
        ) -> Result<Vec<Entry>>;
        /// Calls `reader` with every new entry.
        fn watch(&mut self, turn: &Turn, reader: ReaderRef) -> Result<()>;
    }

    #[vat::interface(name = "look::Reader")]
    pub(super) trait Reader {
        fn entry(&mut self, turn: &Turn, entry: Entry) -> Result<()>;
    }

    #[derive(Clone, Debug, PartialEq, vat::Data)]
    #[data(name = "look::Entry")]
    pub(super) struct Entry {
        pub(super) name: String,
        pub(super) text: String,
    }

    /// Stand for the system's powers.
    #[vat::interface(name = "look::File")]
    pub(super) trait File {
        fn text(&self, turn: &Turn) -> Result<String>;
        fn append(&mut self, turn: &Turn, text: &str) -> Result<u64>;
    }

    #[vat::interface(name = "look::LogSink")]
    pub(super) trait LogSink {
        fn info(&mut self, turn: &Turn, text: &str) -> Result<()>;
    }
}

mod server {
    use super::api::{Entry, FileRef, Guestbook, GuestbookRef, ReaderRef};
    use crate::prelude::*;

    #[derive(Clone, vat::Object)]
    struct Book {
        file: FileRef,
        entries: Vec<Entry>,
        readers: Vec<ReaderRef>,
    }

    impl Guestbook for Book {
        async fn sign(this: Near<Self>, cx: &Cx, name: String, text: String) -> Result<u64> {
            let file = this.with(cx, |book| book.file.clone())?;
            file.append(format!("{name}\t{text}\n")).await?;
            this.with(cx, |book| {
                let entry = Entry { name, text };
                for reader in &book.readers {
                    reader.entry(entry.clone()).detach();
                }
                book.entries.push(entry);
                book.entries.len() as u64
            })
        }

        fn page(&self, _: &Turn, from: u64, count: u64) -> Result<Vec<Entry>> {
            let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
            Ok(self
                .entries
                .iter()
                .skip(size(from))
                .take(size(count))
                .cloned()
                .collect())
        }

        fn watch(&mut self, _: &Turn, reader: ReaderRef) -> Result<()> {
            self.readers.push(reader);
            Ok(())
        }
    }

    #[derive(vat::Powers)]
    pub(super) struct Granted {
        pub(super) book: FileRef,
    }

    #[vat::main]
    pub(super) async fn main(cx: &Cx, granted: Granted) -> Result<GuestbookRef> {
        let text = granted.book.text().await?;
        let entry = |(name, text): (&str, &str)| Entry {
            name: name.into(),
            text: text.into(),
        };
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let entries = lines.map(entry).collect();
        Ok(GuestbookRef::new(
            cx,
            Book {
                file: granted.book,
                entries,
                readers: vec![],
            },
        ))
    }
}

mod client {
    use super::api::{Entry, GuestbookRef, LogSinkRef, Reader};
    use crate::prelude::*;

    #[derive(vat::Powers)]
    pub(super) struct Granted {
        pub(super) guestbook: GuestbookRef,
        /// Optional: the client also works in silence.
        pub(super) log: Option<LogSinkRef>,
    }

    #[derive(Clone, vat::Object)]
    struct Printer {
        log: Option<LogSinkRef>,
        seen: u64,
    }

    impl Reader for Printer {
        fn entry(&mut self, _: &Turn, entry: Entry) -> Result<()> {
            self.seen += 1;
            if let Some(log) = &self.log {
                log.info(format!("{} {}: {}", self.seen, entry.name, entry.text))
                    .detach();
            }
            Ok(())
        }
    }

    #[vat::main]
    pub(super) async fn main(cx: &Cx, granted: Granted) -> Result<u64> {
        let printer = cx.spawn(Printer {
            log: granted.log,
            seen: 0,
        });
        granted.guestbook.watch(&printer).await?;
        let ann = granted.guestbook.sign("Ann", "hello");
        let bob = granted.guestbook.sign("Bob", "hi");
        let number = ann.await?.max(bob.await?);
        let page = granted.guestbook.page(0, 10).await?;
        assert!(printer.with(cx, |printer| printer.seen)? <= page.len() as u64);
        Ok(number)
    }
}

/// The fakes are ordinary objects; nothing is mocked behind the program's back.
#[derive(Clone, Default, vat::Object)]
struct Memory(String);

impl api::File for Memory {
    fn text(&self, _: &Turn) -> Result<String> {
        Ok(self.0.clone())
    }

    fn append(&mut self, _: &Turn, text: &str) -> Result<u64> {
        self.0.push_str(text);
        Ok(self.0.len() as u64)
    }
}

impl api::LogSink for Memory {
    fn info(&mut self, _: &Turn, text: &str) -> Result<()> {
        self.0.push_str(text);
        self.0.push('\n');
        Ok(())
    }
}

/// Where the outcome of a program comes.
type Slot = Rc<RefCell<Option<Result<Outcome>>>>;

/// Starts a program's `main` in a vat; its outcome comes when it is done.
fn start(vat: &Vat, main: Main, grants: Grants) -> Slot {
    let outcome = Slot::default();
    let slot = Rc::clone(&outcome);
    vat.turn(|turn| {
        turn.spawn_async(async move |cx| {
            *slot.borrow_mut() = Some(main.run(cx, grants).await);
            Ok(())
        })
        .detach();
        Ok(())
    })
    .unwrap();
    outcome
}

#[test]
fn two_signatures_reach_disk_and_reader() {
    let mut net = Net::new(&["disk", "server", "client"]);
    let (file, log) = net.vats[0]
        .turn(|turn| {
            Ok((
                turn.spawn(Memory("Zoe\tfirst\n".into())),
                turn.spawn(Memory::default()),
            ))
        })
        .unwrap();
    let disk: api::FileRef = net.grant(1, 0, &api::FileRef::from(&file));
    let grants = Grants::new().with::<api::FileRef>("book", disk);
    let served = start(&net.vats[1], Main::new(server::vat_main), grants);
    net.run();
    let exposed: Vec<Exposure> = served.borrow_mut().take().unwrap().unwrap().exposed;
    assert_eq!(
        (exposed.len(), exposed[0].interface_name),
        (1, "look::Guestbook")
    );

    let book: api::GuestbookRef = net.grant(2, 1, &exposed[0].reference);
    let sink: api::LogSinkRef = net.grant(2, 0, &api::LogSinkRef::from(&log));
    let grants = Grants::new()
        .with::<api::GuestbookRef>("guestbook", book)
        .with::<api::LogSinkRef>("log", sink);
    let done = start(&net.vats[2], Main::new(client::vat_main), grants);
    net.run();
    let outcome = done.borrow_mut().take().unwrap().unwrap();
    assert_eq!(outcome.value.as_deref(), Some("3"));
    net.vats[0]
        .turn(|turn| {
            use api::File as _;
            assert_eq!(file.text(turn)?, "Zoe\tfirst\nAnn\thello\nBob\thi\n");
            assert_eq!(
                log.with(turn, |log| log.0.clone())?,
                "1 Ann: hello\n2 Bob: hi\n"
            );
            Ok(())
        })
        .unwrap();
}

#[test]
fn grants_that_do_not_fit_are_refused_with_the_reason() {
    let vat = Vat::new("a");
    let (file, sink) = vat
        .turn(|turn| {
            let near = turn.spawn(Memory::default());
            Ok((api::FileRef::from(&near), api::LogSinkRef::from(&near)))
        })
        .unwrap();
    let refusal = |grants| {
        let outcome = start(&vat, Main::new(server::vat_main), grants);
        vat.run(10_000);
        let outcome = outcome.borrow_mut().take().unwrap();
        outcome.unwrap_err().to_string()
    };
    assert_eq!(
        refusal(Grants::new()),
        "slot `book` (look::File) was not granted"
    );
    let wrong = refusal(Grants::new().with::<api::LogSinkRef>("book", sink.clone()));
    assert!(
        wrong.starts_with("slot `book` wants look::File (0x"),
        "{wrong}"
    );
    let more = Grants::new()
        .with::<api::FileRef>("book", file)
        .with::<api::LogSinkRef>("log", sink);
    assert_eq!(
        refusal(more),
        "the program has no slot `log`, which was granted; it declares book"
    );
    assert!(Main::new(client::vat_main).slots()[1].optional);
}

#[test]
fn what_main_gives_is_exposed_by_field_name() {
    #[derive(vat::Exposed)]
    struct Both {
        first: api::FileRef,
        second: api::LogSinkRef,
    }
    async fn main(cx: &Cx, (): (), args: Vec<String>) -> Result<Both> {
        let near = cx.spawn(Memory(args.join(" ")));
        Ok(Both {
            first: (&near).into(),
            second: near.into(),
        })
    }
    let vat = Vat::new("a");
    let grants = Grants::new().with_args(vec!["a".into(), "b".into()]);
    let outcome = start(&vat, Main::with_args(main), grants);
    vat.run(10_000);
    let exposed = outcome.borrow_mut().take().unwrap().unwrap().exposed;
    let names: Vec<_> = exposed.iter().map(|exposure| exposure.name).collect();
    assert_eq!(names, ["first", "second"]);
    let text = api::FileRef::from(Ref::clone(&exposed[0].reference)).text();
    vat.run(10_000);
    assert_eq!(taken(&text).unwrap(), "a b");
}

#[test]
fn defaults_of_parameters_are_described() {
    let description = crate::core::describe::<api::GuestbookRef>();
    let page = &description.interface(description.root).unwrap().methods[1];
    let params = description.structure(page.params).unwrap();
    let defaults: Vec<_> = params
        .fields
        .iter()
        .map(|field| field.default.clone())
        .collect();
    let value = |value| Some(crate::schema::Value::UInt(value));
    assert_eq!(defaults, [value(0), value(u64::MAX)]);
}
