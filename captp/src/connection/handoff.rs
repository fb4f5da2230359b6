//! Three-party handoff: what its three sides remember.
//!
//! **Gifter.** A *vine* is an export of its own for each gift. States:
//!
//! 1. *Given*: a Provide is open at the exporter. A Disembargo goes on to it. Release of the vine, a
//!    call on it, a Return of the exporter → Finish to the exporter, 3. Exporter lost → 3.
//! 2. *Forwarded*: a gift that we have not accepted was passed on. A Disembargo goes on along the
//!    vine that we got; that is kept as long as this entry.
//! 3. *Closed*: an ordinary export; who holds it reaches the object through us.
//!
//! Whoever has a vine may have passed the gift on, and each who accepts it lifts an embargo of its
//! own: so several Disembargoes may come along one vine, each with another name. Each is passed on
//! once, and only as many as the exporter remembers. One that comes again ends no connection: two
//! vats behind the peer may have chosen the same name, which the peer cannot help.
//!
//! **Recipient.** A *gift* is a reference that has not been accepted. States:
//!
//! 1. *Kept*: nothing has been sent. Passed on in a call → stays, another vine. First call, somebody
//!    who waits for it, or a description as a promise → 2, or 3 if the exporter is connected.
//! 2. *Dialing*: the host is asked for a connection. Calls wait. Connected → 3. Not to be had → the
//!    gift becomes its vine, and the waiting calls go there: nothing was sent on another way.
//! 3. *Accepting*: a question like any other; calls are pipelined on it. Return → the vine is
//!    released. An exception breaks the reference: calls may have been lost, so later ones must be.
//!    If others passed the gift on before it came to us, or if it went back to who gave it, it may
//!    have ended without our doing (a call on the vine ends it). Then calls wait for the Return, and
//!    an exception leads to the vine as in 2.
//!
//! Who sends a call and lets go of the reference does not take the call back: calls that wait in 2 or 3
//! keep the gift.
//!
//! A gift is passed on, or goes back to who gave it, in state 1 only, and is passed on only if it
//! was no promise that was called: nobody else may overtake those calls.
//!
//! The gifter lost in 1 or 2: broken. Ours to export: the same without a connection.
//!
//! **Exporter.** A *provision* lives from the Provide to its Finish, and meets any number of
//! Accepts, which may come first: those wait a limited time. An Accept under an embargo waits for
//! the Disembargo that comes along the vine. The end of the provision fails what waits; its name is
//! remembered for a while, so that a late Accept fails at once. How many wait for one gifter is
//! limited as well as how many wait in all, and so is how many signatures are checked in a second:
//! neither who gives nor who accepts can use up what others need.
//!
//! Law: each Provide is finished once; each vine is released once, by whoever accepted, fell back
//! or dropped the gift; each Accept is answered once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::contact::{Contact, GiftName, VatKey};
use crate::message::EmbargoName;
use crate::{AnswerToken, ConnId, NodeId, QuestionId};

/// The gifter's entry, in an export. The numbers are those of the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vine {
    /// 1.
    Given { conn: ConnId, question: QuestionId },
    /// 2. The vine that we got. Counted.
    Forwarded(NodeId),
    /// 3.
    Closed,
}

/// The embargoes whose Disembargo went on along a vine.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "hardly any export has some")]
pub(crate) struct Passed(Option<Box<BTreeSet<EmbargoName>>>);

impl Passed {
    /// Whether a Disembargo is the first of its name, and not one of more than anybody can need.
    pub(crate) fn is_first(&mut self, name: &EmbargoName) -> bool {
        let names = self.0.get_or_insert_default();
        names.len() < MAX_LIFTED && names.insert(Rc::clone(name))
    }
}

/// The recipient's entry, in states 1 and 2.
#[derive(Debug)]
pub(crate) struct Gift {
    pub(crate) contact: Rc<Contact>,
    /// The way through who gave it. Counted.
    pub(crate) vine: NodeId,
    /// On which connection it came.
    pub(crate) from: ConnId,
    /// Whether calls went the way of the vine before: it was a promise then.
    pub(crate) called: bool,
    /// Whether it is to be accepted already.
    pub(crate) accepting: bool,
    /// Whether the Accept has been sent, with or without an embargo.
    pub(crate) claimed: bool,
    /// Whether it went back to who gave it: what they send there comes to the vine through us.
    pub(crate) reflected: bool,
    /// Whether only calls that wait keep it: the engine has the last count.
    pub(crate) orphan: bool,
}

/// The exporter's table.
#[derive(Debug, Default)]
pub(crate) struct Provisions {
    pub(crate) open: BTreeMap<GiftName, Provision>,
    /// Accepts whose Provide has not come.
    early: BTreeMap<GiftName, Vec<Parked>>,
    /// Until when they wait.
    due: BTreeSet<(Duration, GiftName)>,
    /// Gifts that ended, with the time until which they are remembered.
    ended: VecDeque<(Duration, GiftName)>,
    /// When a peer for which too many signatures were checked may have more of them checked.
    pub(crate) rested: Option<Duration>,
    remembered: BTreeSet<GiftName>,
}

/// An open gift.
#[derive(Debug)]
pub(crate) struct Provision {
    /// Where the Provide came from.
    pub(crate) conn: ConnId,
    pub(crate) recipient: VatKey,
    /// What is given. Counted.
    pub(crate) node: NodeId,
    /// Embargoes whose Disembargo has come.
    pub(crate) lifted: BTreeSet<EmbargoName>,
    /// Accepts that wait for one.
    pub(crate) waiting: Vec<Parked>,
}

/// An Accept that may have to wait.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) by: Acceptor,
    /// Against whose limit it counts: who accepts, or who gave us something of our own.
    pub(crate) conn: ConnId,
    /// To whom the gifter gave it, as the claim says.
    pub(crate) recipient: VatKey,
    pub(crate) embargo: Option<EmbargoName>,
    /// When waiting for the Provide ends.
    pub(crate) until: Duration,
}

/// Who accepts.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Acceptor {
    /// A peer.
    Peer(AnswerToken),
    /// This vat itself: a gift. Not counted.
    Own(NodeId),
}

impl Gift {
    /// Whether the gift may end although nobody here did anything to it: others have its vine.
    pub(crate) fn may_end(&self) -> bool {
        self.contact.claim.was_forwarded() || self.reflected
    }
}

impl Provisions {
    pub(crate) fn remember(&mut self, name: GiftName, until: Duration) {
        if self.ended.len() >= MAX_REMEMBERED
            && let Some((_, oldest)) = self.ended.pop_front()
        {
            self.remembered.remove(&oldest);
        }
        self.ended.push_back((until, name));
        self.remembered.insert(name);
    }

    pub(crate) fn has_ended(&self, name: &GiftName) -> bool {
        self.remembered.contains(name)
    }

    /// Forgets ended gifts in time.
    pub(crate) fn forget(&mut self, now: Duration) {
        self.rested = self.rested.filter(|until| *until > now);
        while let Some((_, name)) = self.ended.pop_front_if(|(until, _)| *until <= now) {
            self.remembered.remove(&name);
        }
    }

    /// Whether time changes nothing here.
    pub(crate) fn is_timeless(&self) -> bool {
        self.due.is_empty() && self.ended.is_empty() && self.rested.is_none()
    }

    /// When something here ends by itself.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let due = self.due.first().map(|(until, _)| *until);
        due.into_iter().chain(self.rested).min()
    }

    /// How many Accepts that count against this connection wait for a gifter.
    pub(crate) fn parked_for(&self, gifter: VatKey, conn: ConnId) -> usize {
        let name = |nonce| GiftName { gifter, nonce };
        let names = name([0; 16])..=name([0xff; 16]);
        let early = self.early.range(names.clone()).flat_map(|(_, list)| list);
        let open = self.open.range(names);
        let waiting = open.flat_map(|(_, provision)| &provision.waiting);
        early
            .chain(waiting)
            .filter(|parked| parked.conn == conn)
            .count()
    }

    /// Lets an Accept wait: for its Provide, or for the embargo.
    pub(crate) fn park(&mut self, name: GiftName, parked: Parked) {
        if let Some(provision) = self.open.get_mut(&name) {
            return provision.waiting.push(parked);
        }
        self.due.insert((parked.until, name));
        self.early.entry(name).or_default().push(parked);
    }

    /// Takes out the Accepts of a gift that wait for its Provide, if `which` says so.
    pub(crate) fn take_early(
        &mut self,
        name: &GiftName,
        mut which: impl FnMut(&Parked) -> bool,
    ) -> Vec<Parked> {
        let Some(list) = self.early.remove(name) else {
            return Vec::new();
        };
        for parked in &list {
            self.due.remove(&(parked.until, *name));
        }
        let (taken, rest): (Vec<_>, Vec<_>) = list.into_iter().partition(|parked| which(parked));
        for parked in &rest {
            self.due.insert((parked.until, *name));
        }
        if !rest.is_empty() {
            self.early.insert(*name, rest);
        }
        taken
    }

    /// Takes out an Accept, whatever it waits for.
    pub(crate) fn withdraw(&mut self, name: &GiftName, by: &Acceptor) -> Vec<Parked> {
        let mut taken = self.take_early(name, |parked| parked.by == *by);
        if let Some(provision) = self.open.get_mut(name) {
            taken.extend(provision.waiting.extract_if(.., |parked| parked.by == *by));
        }
        taken
    }

    /// The next Accepts that have waited too long for their Provide.
    pub(crate) fn take_late(&mut self, now: Duration) -> Option<Vec<Parked>> {
        let (_, name) = *self.due.first().filter(|(until, _)| *until <= now)?;
        Some(self.take_early(&name, |parked| parked.until <= now))
    }

    /// All that wait.
    pub(crate) fn parked(&self) -> impl Iterator<Item = &Parked> {
        let waiting = self.open.values().flat_map(|open| &open.waiting);
        self.early.values().flatten().chain(waiting)
    }
}

/// Most embargoes of one gift that are lifted.
pub(crate) const MAX_LIFTED: usize = 64;
/// Most ended gifts that are remembered.
const MAX_REMEMBERED: usize = 1_024;
