//! One diary, handed out in several ways: what each reference lets its holder do, and what becomes
//! of it.
//!
//! The owner and the guest are two vats in this process, joined by a socket pair. Whatever the guest
//! gets is a `DiaryRef`; it cannot tell which kind.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::task::LocalSet;
use vat::Vat;
use vat::net::Stream;
use vat::net::driver::{Attach, Driver};
use vat::pattern::{self, Group, Revoker, limit};
use vat::prelude::*;

/// A diary.
#[vat::interface]
trait Diary {
    /// What was written on a day.
    fn read(&self, turn: &Turn, day: u64) -> Result<String>;
    /// Writes a day down; returns how many there are.
    fn write(&mut self, turn: &Turn, text: String) -> Result<u64>;
    /// A diary with the days from this one on.
    fn since(&self, turn: &Turn, day: u64) -> Result<DiaryRef>;
}

/// What the guest is given, one reference after the other.
#[vat::interface]
trait Desk {
    /// The reference of this kind.
    fn take(&self, turn: &Turn, kind: String) -> Result<DiaryRef>;
    /// Takes everything back.
    fn close(&self, turn: &Turn) -> Result<()>;
}

#[derive(Clone, vat::Object)]
struct Days(Vec<String>);

impl Diary for Days {
    fn read(&self, _: &Turn, day: u64) -> Result<String> {
        let text = self.0.get(usize::try_from(day).unwrap_or(usize::MAX));
        text.cloned()
            .ok_or_else(|| Error::failed(format!("nothing is written on day {day}")))
    }

    fn write(&mut self, _: &Turn, text: String) -> Result<u64> {
        self.0.push(text);
        Ok(self.0.len() as u64)
    }

    fn since(&self, turn: &Turn, day: u64) -> Result<DiaryRef> {
        let days = self
            .0
            .iter()
            .skip(usize::try_from(day).unwrap_or(usize::MAX));
        Ok(DiaryRef::new(turn, Self(days.cloned().collect())))
    }
}

#[derive(Clone, vat::Object)]
struct Owner {
    diary: DiaryRef,
    visit: Group,
    /// Of the membrane.
    gate: Revoker,
    around: DiaryRef,
}

impl Desk for Owner {
    fn take(&self, turn: &Turn, kind: String) -> Result<DiaryRef> {
        let diary = &self.diary;
        let made = match kind.as_str() {
            "facet" => pattern::facet(turn, diary, &["write"])?,
            "read-only" => pattern::read_only(turn, diary),
            "once" => limit::once(turn, diary),
            "rate" => limit::rate(turn, diary, Duration::from_secs(60), 2),
            "logging" => pattern::logging(turn, diary, |call| {
                let outcome = call
                    .error
                    .map_or_else(|| "ok".to_owned(), ToString::to_string);
                println!(
                    "              (the owner's log: {}: {outcome})",
                    call.method
                );
            }),
            "membrane" => return Ok(self.around.clone()),
            _ => return Err(Error::failed(format!("there is no kind {kind}"))),
        };
        Ok(self.visit.add(turn, &made))
    }

    fn close(&self, _: &Turn) -> Result<()> {
        self.visit.revoke();
        self.gate.revoke();
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, visit())
}

async fn visit() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let owner = Driver::new(Vat::new("owner"));
    let desk = owner.vat().turn(|turn| {
        let diary = DiaryRef::new(turn, Days(vec!["rain".into(), "sun".into()]));
        let (around, gate) = pattern::membrane(turn, &diary);
        let visit = Group::new(turn);
        let desk = Owner {
            diary,
            visit,
            gate,
            around,
        };
        Ok(DeskRef::new(turn, desk))
    })?;
    let stream = Stream::from_socketpair(theirs.into())?;
    owner.attach(stream, Attach::sibling(Some(desk.into())));
    let guest = Driver::new(Vat::new("guest"));
    let link = guest.attach(Stream::from_socketpair(ours.into())?, Attach::sibling(None));
    let desk = DeskRef::from(link.bootstrap().ok_or("the vat has ended")?);

    for kind in ["facet", "read-only", "once", "rate", "logging"] {
        let diary = desk.take(kind);
        for _ in 0..3 {
            show(kind, "read", diary.read(0).await);
        }
        show(kind, "write", diary.write("fog").await);
    }
    let diary = desk.take("membrane");
    let later = diary.since(1);
    show("membrane", "since(1).read", later.read(0).await);
    let lent = desk.take("read-only");
    desk.close().await?;
    println!("\nthe owner closes the desk");
    show("read-only", "read", lent.read(0).await);
    show("membrane", "since(1).read", later.read(0).await);
    Ok(())
}

fn show<T: std::fmt::Debug>(kind: &str, call: &str, outcome: Result<T>) {
    match outcome {
        Ok(value) => println!("{kind:<10} {call:<14} {value:?}"),
        Err(error) => println!("{kind:<10} {call:<14} {:?}: {error}", error.kind()),
    }
}
