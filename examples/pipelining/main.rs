//! How many round trips a chain of calls costs, counted on a connection between two vats.
//!
//! Both vats live in this process, joined by a socket pair; each knows the other only through it.
//! This is how a program hosts vats itself. Launched programs have one vat, and `#[vat::main]`.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::os::unix::net::UnixStream;

use tokio::task::LocalSet;
use vat::Vat;
use vat::net::Stream;
use vat::net::driver::{Attach, Connection, Driver};
use vat::prelude::*;

/// A folder of folders and documents.
#[vat::interface]
trait Folder {
    /// The folder of that name in it.
    fn subdir(&self, turn: &Turn, name: String) -> Result<FolderRef>;
    /// The document of that name in it.
    fn open(&self, turn: &Turn, name: String) -> Result<DocumentRef>;
}

/// A text under a name.
#[vat::interface]
trait Document {
    /// Its length in bytes.
    fn size(&self, turn: &Turn) -> Result<u64>;
}

#[derive(Clone, vat::Object)]
struct Path(String);

impl Folder for Path {
    fn subdir(&self, turn: &Turn, name: String) -> Result<FolderRef> {
        Ok(FolderRef::new(turn, Self(format!("{}/{name}", self.0))))
    }

    fn open(&self, turn: &Turn, name: String) -> Result<DocumentRef> {
        Ok(DocumentRef::new(turn, Self(format!("{}/{name}", self.0))))
    }
}

impl Document for Path {
    fn size(&self, _turn: &Turn) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, compare())
}

/// The same three calls, waiting for each answer and not waiting.
async fn compare() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = UnixStream::pair()?;
    let callee = Driver::new(Vat::new("callee"));
    let root = callee
        .vat()
        .turn(|turn| Ok(FolderRef::new(turn, Path("root".into()))))?;
    let stream = Stream::from_socketpair(theirs.into())?;
    callee.attach(stream, Attach::sibling(Some(root.into())));
    let caller = Driver::new(Vat::new("caller"));
    let link = caller.attach(Stream::from_socketpair(ours.into())?, Attach::sibling(None));
    let home = FolderRef::from(link.bootstrap().ok_or("the vat has ended")?);
    home.settled().await?;

    let waiting = async {
        let logs = home.subdir("logs");
        logs.settled().await?;
        let today = logs.open("today");
        today.settled().await?;
        today.size().await
    };
    let (size, trips) = count(&link, waiting).await;
    println!(
        "waiting for each answer:     size {}, round trips: {trips}",
        size?
    );

    let pipelined = home.subdir("logs").open("today").size();
    let (size, trips) = count(&link, pipelined).await;
    println!(
        "home.subdir().open().size(): size {}, round trips: {trips}",
        size?
    );
    Ok(())
}

/// What `work` gives, and how many round trips it took on `link`.
async fn count<T>(link: &Connection, work: impl Future<Output = T>) -> (T, u64) {
    let before = link.round_trips();
    let done = work.await;
    (done, link.round_trips() - before)
}
