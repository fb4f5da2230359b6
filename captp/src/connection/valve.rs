//! A soft limit that gives way: see [`crate::engine::patience`].

use std::time::Duration;

/// How far a soft limit has given way, and since when it is watched.
#[derive(Default)]
pub(crate) struct Valve {
    /// How often the limit was doubled.
    opened: u32,
    /// Since when what waits has been watched; nothing until somebody tells the time.
    watched: Option<Duration>,
    /// Whether something that waited has left since then.
    moved: bool,
}

impl Valve {
    /// The limit as it is now, at most `most`.
    pub(crate) fn widened(&self, limit: usize, most: usize) -> usize {
        limit.saturating_mul(1 << self.opened).min(most)
    }

    /// Whether the limit is not as it was.
    pub(crate) const fn is_open(&self) -> bool {
        self.opened > 0
    }

    pub(crate) const fn can_open(&self) -> bool {
        self.opened < MOST_OPENED
    }

    /// The limit is as it was.
    pub(crate) const fn close(&mut self) {
        self.opened = 0;
    }

    /// Something that waited has left.
    pub(crate) const fn moves(&mut self) {
        self.moved = true;
    }

    /// Nothing waits.
    pub(crate) const fn rest(&mut self) {
        self.watched = None;
        self.moved = false;
    }

    /// When to watch again.
    pub(crate) fn due(&self, now: Duration, patience: Duration) -> Duration {
        self.watched
            .map_or(now, |since| since.saturating_add(patience))
    }

    /// Gives way if nothing has moved for long, and it may.
    pub(crate) fn watch(&mut self, now: Duration, patience: Duration, may: bool) {
        if self.watched.is_some() {
            if now < self.due(now, patience) {
                return;
            }
            self.opened += u32::from(may && !self.moved);
        }
        self.watched = Some(now);
        self.moved = false;
    }
}

/// How often a limit is doubled at most.
const MOST_OPENED: u32 = 31;
