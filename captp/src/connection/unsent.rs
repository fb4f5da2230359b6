//! What waits for room at the peer: calls of ours beyond a soft limit, and what must not overtake
//! them.
//!
//! Messages wait as they will leave, in one queue per connection, which exists only while something
//! waits. For everything else they have been sent: their questions and exports are in the tables,
//! calls are pipelined on them, embargoes follow them. The queue is a slow part of the wire.
//!
//! Calls, Bootstraps, Provides, Accepts and Disembargoes of ours never overtake each other. Returns,
//! Resolves, Finishes and Releases overtake all of them, unless they end or change something that a
//! waiting message names: every such entry of a table remembers the serial number of the last
//! message that does. A Disembargo of another vat waits behind calls of other vats only: it follows
//! those, and what it lifts may be what the peer's answers wait for.
//!
//! What ends something, or a Disembargo of another vat, *follows* the last message that it must not
//! overtake: it leaves right behind that one, past whatever else waits. So an answer that waiting
//! calls name is kept at the peer no longer than those wait.
//!
//! Law: messages leave in the order in which they came; the first one always asks a question.

use std::collections::{BTreeMap, VecDeque};

use super::question::Sort;
use crate::{ExportId, ImportId, QuestionId, Transmit};

/// The queue.
#[derive(Default)]
pub(crate) struct Unsent {
    pub(crate) bytes: Transmit,
    items: VecDeque<Item>,
    /// Calls among them, and what else asks a question.
    calls: usize,
    asks: usize,
    /// The last waiting call of another vat.
    pub(crate) forwarded: u64,
    /// What leaves right behind a message with this serial number, in the order in which it came.
    followers: BTreeMap<(u64, u64), Follower>,
    follower_bytes: usize,
    /// Disembargoes among them.
    disembargoes: usize,
    /// Questions that stay in the peer's table for long, because messages name them.
    lingering: usize,
    /// Questions of waiting calls in the table: those which will be answered, and those which are
    /// for references only.
    asked: usize,
    fetching: usize,
}

/// One message.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) serial: u64,
    /// Bytes in the queue.
    pub(crate) len: usize,
    pub(crate) what: What,
    /// How many lingering questions this is the last message to name.
    last_for: usize,
}

impl Item {
    pub(crate) const fn new(serial: u64, len: usize, what: What) -> Self {
        Self {
            serial,
            len,
            what,
            last_for: 0,
        }
    }
}

/// What leaves right behind a message.
pub(crate) enum Follower {
    /// A Disembargo of another vat.
    Disembargo(Transmit),
    Finish {
        question: QuestionId,
        /// Whether the references in the results are released.
        all: bool,
    },
    Release {
        import: ImportId,
        refs: u32,
    },
}

impl Follower {
    fn weight(&self) -> usize {
        match self {
            Self::Disembargo(message) => message.len(),
            Self::Finish { .. } | Self::Release { .. } => SHORT_MESSAGE,
        }
    }
}

/// What a message that waits is.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// A call: needs room.
    Call {
        question: QuestionId,
        sort: Sort,
        /// Its size as the peer counts it.
        bytes: usize,
        /// References and descriptors in it.
        caps: usize,
        fds: usize,
    },
    /// A Bootstrap or an Accept: needs a place in the peer's table. (A Provide never waits: what
    /// would have to is given through us.)
    Ask { question: QuestionId },
    /// A Resolve. Its export is marked (`resolve_waits`) and stays in the table until this has left,
    /// so that its number is not given to another one, which the peer would take for it.
    Resolve { export: ExportId, serial: u64 },
    /// Anything else.
    Other,
}

impl Unsent {
    pub(crate) fn push(&mut self, item: Item) {
        self.calls += usize::from(matches!(item.what, What::Call { .. }));
        self.asks += usize::from(matches!(item.what, What::Ask { .. }));
        self.items.push_back(item);
    }

    pub(crate) fn front(&self) -> Option<&Item> {
        self.items.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.calls -= usize::from(matches!(item.what, What::Call { .. }));
        self.asks -= usize::from(matches!(item.what, What::Ask { .. }));
        self.lingering -= item.last_for;
        Some(item)
    }

    /// A message with the serial number `serial`, which waits, names a lingering question that
    /// `last` was the last one to name.
    pub(crate) fn linger(&mut self, last: u64, serial: u64) {
        self.forget(last);
        if let Some(item) = self.item_mut(serial) {
            item.last_for += 1;
            self.lingering += 1;
        }
    }

    /// A lingering question that this message was the last to name is gone.
    pub(crate) fn forget(&mut self, last: u64) {
        if let Some(item) = self.item_mut(last) {
            item.last_for -= 1;
            self.lingering -= 1;
        }
    }

    fn item_mut(&mut self, serial: u64) -> Option<&mut Item> {
        let at = self.items.binary_search_by_key(&serial, |item| item.serial);
        self.items.get_mut(at.ok()?)
    }

    /// How many questions stay in the peer's table for long, because messages name them.
    pub(crate) const fn lingering(&self) -> usize {
        self.lingering
    }

    /// Something leaves right behind the waiting message with the serial number `after`; `serial` is
    /// its own.
    pub(crate) fn follow(&mut self, after: u64, serial: u64, follower: Follower) {
        self.follower_bytes += follower.weight();
        self.disembargoes += usize::from(matches!(follower, Follower::Disembargo(_)));
        self.followers.insert((after, serial), follower);
    }

    /// How many Disembargoes of other vats wait.
    pub(crate) const fn disembargoes(&self) -> usize {
        self.disembargoes
    }

    /// How many Finishes wait.
    pub(crate) fn finishes(&self) -> usize {
        let followers = self.followers.values();
        let finishes = followers.filter(|follower| matches!(follower, Follower::Finish { .. }));
        finishes.count()
    }

    /// The next message that has nothing left to wait for when this one has left.
    pub(crate) fn next_follower(&mut self, left: u64) -> Option<Follower> {
        let first = self.followers.first_entry()?;
        if first.key().0 > left {
            return None;
        }
        let follower = first.remove();
        self.follower_bytes -= follower.weight();
        self.disembargoes -= usize::from(matches!(follower, Follower::Disembargo(_)));
        Some(follower)
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() + self.follower_bytes
    }

    /// Bytes that stay alive while they wait.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.weight() + self.follower_bytes
    }

    /// A call that waits has its question in the table.
    pub(crate) const fn add_question(&mut self, sort: Sort) {
        *self.counter(sort) += 1;
    }

    /// The call has left, or its question has.
    pub(crate) const fn remove_question(&mut self, sort: Sort) {
        *self.counter(sort) -= 1;
    }

    const fn counter(&mut self, sort: Sort) -> &mut usize {
        match sort {
            Sort::Call | Sort::Tail => &mut self.asked,
            Sort::Pipeline => &mut self.fetching,
        }
    }

    /// How many questions of waiting calls are in the table.
    pub(crate) const fn questions(&self) -> usize {
        self.asked + self.fetching
    }

    /// How many of them will be answered.
    pub(crate) const fn asked(&self) -> usize {
        self.asked
    }

    /// How many messages besides calls ask a question.
    pub(crate) const fn asks(&self) -> usize {
        self.asks
    }

    pub(crate) const fn calls(&self) -> usize {
        self.calls
    }

    /// Puts other messages, calls as well, in the place of some calls.
    pub(crate) fn replace(&mut self, mut with: impl FnMut(&Item) -> Option<Transmit>) {
        let mut before = std::mem::take(&mut self.bytes);
        for item in &mut self.items {
            let Some(mut other) = with(item) else {
                before.move_message(item.len, &mut self.bytes);
                continue;
            };
            before.move_message(item.len, &mut Transmit::new());
            item.len = other.len();
            if let What::Call { bytes, .. } = &mut item.what {
                *bytes = item.len - 8;
            }
            self.bytes.append(&mut other);
        }
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }

    /// Whether a message that names something, the last of them with this serial number, waits.
    pub(crate) fn is_named(&self, named: u64) -> bool {
        self.items.front().is_some_and(|item| named >= item.serial)
    }
}

/// About what a Finish or a Release has.
const SHORT_MESSAGE: usize = 40;
