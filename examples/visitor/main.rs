//! A visitor of the guestbook: near, callback and pipelined calls on one granted reference.

use vat::power::LogSinkRef;
use vat::prelude::*;
use vat_examples::guestbook::{Entry, GuestbookRef, Reader, ReaderRef};

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    guestbook: GuestbookRef,
    log: LogSinkRef,
}

/// Hears of every new entry and counts them.
#[derive(Clone, vat::Object)]
struct Listener {
    log: LogSinkRef,
    heard: u64,
}

impl Reader for Listener {
    fn entry(&mut self, _turn: &Turn, number: u64, entry: Entry) -> Result<()> {
        self.heard += 1;
        self.log
            .info(format!("heard of entry {number} by {}", entry.name))
            .detach();
        Ok(())
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<()> {
    let Granted { guestbook, log } = granted;
    let listener = cx.spawn(Listener {
        log: log.clone(),
        heard: 0,
    });

    // Four calls leave in one batch. `sent` goes to the promised `Watch`: nobody waits for it to come back.
    let watch = guestbook.watch(ReaderRef::from(&listener));
    let ann = guestbook.sign("Ann", "hello");
    let bob = guestbook.sign("Bob", "hi");
    let (ann, bob) = (ann.await?, bob.await?);
    let sent = watch.sent().await?;

    // A near call: the listener lives here, so its answer is there at once.
    let heard = listener.read(cx, |listener| listener.heard)?;
    let page = guestbook.page(0, u64::MAX).await?;
    log.info(format!(
        "signed as {ann} and {bob}; {sent} entries were sent, {heard} heard; the book has {}",
        page.len()
    ))
    .await
}
