//! The task of one connection: waits until the socket can be read or written.

use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use super::link::Link;
use super::round::{Inner, Left, Read};

/// How long the last bytes of a closed connection may take to leave.
const LINGER: Duration = Duration::from_secs(1);

/// Parts of a large message that are received before others have their turn.
const PARTS: usize = 8;

/// What a look at the connection brought.
enum Step {
    /// There may be more to receive: after the others.
    Again,
    /// The connection ends.
    End(io::Result<()>),
}

pub(super) async fn run(inner: Weak<Inner>, link: Rc<Link>) {
    let ended = loop {
        match poll_fn(|cx| poll(&inner, &link, cx)).await {
            Step::Again => tokio::task::yield_now().await,
            Step::End(ended) => break ended,
        }
    };
    end(&inner, &link, &ended);
    if link.closed.get() {
        let last = poll_fn(|cx| match inner.upgrade() {
            Some(inner) => inner.send(&link, cx),
            None => Poll::Ready(Ok(())),
        });
        drop(timeout(LINGER, last).await); // the peer may be gone already
    }
    drop(link.stream.take());
    if let Some(inner) = inner.upgrade() {
        let forget = |engine: &mut captp::Engine<_>| engine.handle_closed(link.conn, "closed");
        inner.vat.engine(forget);
    }
}

fn poll(inner: &Weak<Inner>, link: &Rc<Link>, cx: &mut Context<'_>) -> Poll<Step> {
    let Some(inner) = inner.upgrade() else {
        return Poll::Ready(Step::End(Ok(())));
    };
    link.remember(cx.waker());
    if let Some(error) = link.failed.take() {
        return Poll::Ready(Step::End(Err(error)));
    }
    if let Some(error) = send(&inner, link, cx) {
        return Poll::Ready(Step::End(Err(error)));
    }
    let mut parts = 0;
    let mut first = true;
    loop {
        if link.closed.get() {
            // What is left is sent after the end, as far as the peer takes it in time.
            return Poll::Ready(Step::End(Ok(())));
        }
        if !link.input.borrow().is_empty() {
            return Poll::Pending; // served in turn; the last step wakes this task
        }
        let offer = match std::mem::take(&mut first) {
            true => link.gathering.get().offer(&inner.rest),
            false => None,
        };
        let read = inner.receive(link, cx);
        if offer.is_some() && !matches!(read, Poll::Ready(Ok(Read::Some | Read::All))) {
            link.gathered(0, offer); // in vain
        }
        match read {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Step::End(Err(error))),
            Poll::Ready(Ok(Read::End)) => return Poll::Ready(Step::End(Ok(()))),
            Poll::Ready(Ok(Read::Part)) => {
                hear(&inner, link);
                parts += 1;
                if parts == PARTS {
                    return Poll::Ready(Step::Again);
                }
            }
            Poll::Ready(Ok(read)) => {
                serve(&inner, link);
                link.gathered(new_messages(&inner, link), offer);
                hear(&inner, link);
                if read == Read::Some && link.input.borrow().is_empty() {
                    return Poll::Ready(Step::Again);
                }
            }
        }
    }
}

/// Goes on with what could not be sent before.
fn send(inner: &Inner, link: &Link, cx: &mut Context<'_>) -> Option<io::Error> {
    let waiting = |engine: &mut captp::Engine<_>| engine.transmit_head(link.conn).is_some();
    if !inner.vat.engine(waiting) && !link.unsent.get() {
        return None;
    }
    let sent = inner.send(link, cx);
    if inner.vat.engine(|engine| engine.may_have_output()) {
        inner.wake.notify_one();
    }
    match sent {
        Poll::Ready(Err(error)) => Some(error),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    }
}

/// Tells those who wait for it that something came, and all until the peer's hello has.
fn hear(inner: &Inner, link: &Link) {
    if link.listening.get() > 0 || !link.greeted.get() {
        let greeted = inner.vat.engine(|engine| engine.is_greeted(link.conn));
        link.greeted.set(greeted);
        link.heard.notify_waiters();
    }
}

/// Messages that have come since this was last asked.
fn new_messages(inner: &Inner, link: &Link) -> u64 {
    let stats = inner.vat.engine(|engine| engine.stats(link.conn));
    let received = stats.map_or(0, |stats| stats.received);
    received.saturating_sub(link.received.replace(received))
}

fn serve(inner: &Inner, link: &Link) {
    link.serving.set(true);
    let left = inner.serve();
    link.serving.set(false);
    if left == Left::Some {
        inner.wake.notify_one();
    }
}

/// The stream is of no further use: tells the vat, unless it was the vat that closed it.
fn end(inner: &Weak<Inner>, link: &Link, ended: &io::Result<()>) {
    let Some(inner) = inner.upgrade() else {
        return link.gone.notify_waiters();
    };
    if !link.closed.get() {
        let reason = match ended {
            Ok(()) => "the peer closed the connection".to_owned(),
            Err(error) => error.to_string(),
        };
        inner
            .vat
            .engine(|engine| engine.handle_closed(link.conn, &reason));
        link.reason.replace(Some(reason.into()));
    }
    inner.links.borrow_mut().remove(&link.conn);
    inner.wake.notify_one();
    inner.progressed();
    link.gone.notify_waiters();
}
