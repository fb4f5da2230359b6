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
//! **Recipient.** A *gift* is a reference that has not been accepted. States:
//!
//! 1. *Kept*: nothing has been sent. Passed on in a call → stays, another vine. First call, somebody
//!    who waits for it, or a description as a promise → 2, or 3 if the exporter is connected.
//! 2. *Dialing*: the host is asked for a connection. Calls wait. Connected → 3. Not to be had → the
//!    gift becomes its vine, and the waiting calls go there: nothing was sent on another way.
//! 3. *Accepting*: a question like any other; calls are pipelined on it. Return → the vine is
//!    released. An exception breaks the reference: calls may have been lost, so later ones must be.
//!
//! The gifter lost in 1 or 2: broken. Ours to export: the same without a connection.
//!
//! **Exporter.** A *provision* lives from the Provide to its Finish, and meets any number of
//! Accepts, which may come first: those wait a limited time. An Accept under an embargo waits for
//! the Disembargo that comes along the vine. The end of the provision fails what waits; its name is
//! remembered for a while, so that a late Accept fails at once.
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
}

/// The exporter's table.
#[derive(Debug, Default)]
pub(crate) struct Provisions {
    pub(crate) open: BTreeMap<GiftName, Provision>,
    /// Accepts whose Provide has not come.
    pub(crate) early: Vec<(GiftName, Parked)>,
    /// Gifts that ended, with the time until which they are remembered.
    ended: VecDeque<(Duration, GiftName)>,
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

/// An Accept that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) by: Acceptor,
    /// To whom the gifter gave it, as the claim says.
    pub(crate) recipient: VatKey,
    pub(crate) embargo: Option<EmbargoName>,
    /// When waiting for the Provide ends.
    pub(crate) until: Duration,
}

/// Who accepts.
#[derive(Debug)]
pub(crate) enum Acceptor {
    /// A peer.
    Peer(AnswerToken),
    /// This vat itself: a gift. Not counted.
    Own(NodeId),
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
        while let Some((_, name)) = self.ended.pop_front_if(|(until, _)| *until <= now) {
            self.remembered.remove(&name);
        }
    }

    /// When something here ends by itself.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.early.iter().map(|(_, parked)| parked.until).min()
    }
}

/// Most ended gifts that are remembered.
const MAX_REMEMBERED: usize = 1_024;
