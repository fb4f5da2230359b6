//! The watch: ends connections whose peers are too slow.
//!
//! Nothing is timed where messages go by. The watch compares counters from time to time, and sleeps
//! as long as there is nothing that could become too late.

use std::rc::{Rc, Weak};
use std::time::Duration;

use captp::Stats;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::link::Link;
use super::round::Inner;

/// What a connection looked like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// When the watch first saw it.
    opened: Option<Instant>,
    transmitted: u64,
    /// Since when nothing of what waits was taken; `None` if nothing waits.
    stalled: Option<Instant>,
    received: u64,
    /// From when on the rest of a message is awaited, and how much of it had arrived by now.
    incomplete: Option<(Instant, usize)>,
    sent: u64,
    /// Since when nothing happens and nobody holds anything.
    idle: Option<Instant>,
}

/// How many bytes of a message have to arrive in a second.
const BYTES_PER_SECOND: u64 = 1 << 10;

/// Looks at a time are this much finer than the time.
const FINER: u32 = 4;

pub(super) async fn run(inner: Weak<Inner>, alarm: Rc<Notify>) {
    loop {
        let next = match inner.upgrade() {
            Some(inner) => inner.look(Instant::now()),
            None => return,
        };
        match next {
            Some(pause) => drop(timeout(pause, alarm.notified()).await), // or earlier
            None => alarm.notified().await,
        }
    }
}

impl Inner {
    /// Ends the connections that are too slow. Returns when to look again.
    fn look(&self, now: Instant) -> Option<Duration> {
        self.watching.set(false);
        let links: Vec<_> = self.links.borrow().values().cloned().collect();
        let mut next: Option<Duration> = None;
        for link in links {
            let Some(stats) = self.vat.engine(|engine| engine.stats(link.conn)) else {
                continue;
            };
            let idle = self.vat.engine(|engine| engine.is_idle(link.conn));
            let looked = link.look(&stats, idle, now, self.gated.get());
            match looked.verdict {
                Some(Verdict::Idle) => self.vat.engine(|engine| engine.close(link.conn, None)),
                Some(Verdict::Late(what)) => {
                    self.vat.engine(|engine| engine.time_out(link.conn, what));
                }
                None => {}
            }
            if looked.verdict.is_some() {
                self.wake.notify_one();
            }
            if looked.soon {
                self.watching.set(true);
            }
            next = [next, looked.next].into_iter().flatten().min();
        }
        next
    }
}

/// How long so many bytes of a message may take. Nothing is saved for later: what came faster is
/// seen as having just come.
const fn time_for(bytes: usize) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / BYTES_PER_SECOND)
}

/// What a look at one connection says.
#[derive(Default)]
struct Looked {
    verdict: Option<Verdict>,
    /// When to look again.
    next: Option<Duration>,
    /// Whether that is because of something that is under way.
    soon: bool,
}

enum Verdict {
    /// Nobody needs the connection.
    Idle,
    /// The peer did not do this in time.
    Late(&'static str),
}

impl Looked {
    /// Something began at `since` and may take `limit`.
    fn may_take(&mut self, now: Instant, since: Instant, limit: Duration, what: &'static str) {
        if now.duration_since(since) >= limit {
            self.verdict = Some(Verdict::Late(what));
        }
        self.again(limit / FINER);
        self.soon = true;
    }

    fn again(&mut self, after: Duration) {
        self.next = Some(self.next.map_or(after, |next| next.min(after)));
    }
}

impl Link {
    fn look(&self, stats: &Stats, idle: bool, now: Instant, gated: bool) -> Looked {
        let mut looked = Looked::default();
        let mut seen = self.seen.get();
        let limits = &self.timeouts;
        let opened = *seen.opened.get_or_insert(now);
        let quiet = (stats.received, stats.sent) == (seen.received, seen.sent);

        let waits = stats.outbound_bytes > 0 || self.unsent.get();
        seen.stalled = match seen.stalled {
            // What waits for our own disk is not the peer's fault.
            _ if gated => None,
            Some(since) if waits && stats.transmitted == seen.transmitted => Some(since),
            _ => waits.then_some(now),
        };
        if let (Some(since), Some(limit)) = (seen.stalled, limits.stall) {
            looked.may_take(now, since, limit, "read what it was sent");
        }

        // While we do not read, the peer cannot complete anything.
        let incomplete = stats.receiving.filter(|_| self.input.borrow().is_empty());
        let same = seen.incomplete.filter(|_| stats.received == seen.received);
        seen.incomplete = incomplete.map(|arrived| match same {
            Some((since, before)) => {
                let earned = time_for(arrived.saturating_sub(before));
                ((since + earned).min(now), arrived)
            }
            None => (now, arrived),
        });
        if let (Some((since, _)), Some(limit)) = (seen.incomplete, limits.message) {
            looked.may_take(now, since, limit, "complete a message");
        }

        if let (0, Some(limit)) = (stats.received, limits.first_message) {
            looked.may_take(now, opened, limit, "send a first message");
        }

        seen.idle = match seen.idle {
            Some(since) if idle && quiet && !waits => Some(since),
            _ => (idle && !waits).then_some(now),
        };
        if let Some(limit) = limits.idle {
            match seen.idle {
                Some(since) if now.duration_since(since) >= limit => {
                    looked.verdict = looked.verdict.or(Some(Verdict::Idle));
                }
                _ => looked.again(limit),
            }
        }

        seen.transmitted = stats.transmitted;
        (seen.received, seen.sent) = (stats.received, stats.sent);
        self.seen.set(seen);
        looked
    }
}
