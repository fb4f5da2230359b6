//! Questions: calls that we made on a connection.
//!
//! States, and what leaves them:
//!
//! 1. *Asked*. Return → 3, 4 or freed.
//! 2. *Finished* early: our Finish is out, or waits behind calls that name it; nobody here wants the
//!    results. A caller of another vat is still to be answered. Return → freed, or 5.
//! 3. *Answered*, kept because exports or answers of the same connection still stand for a
//!    reference inside the answer that leads back to us ([`Question::pins`]): calls that the peer
//!    sends there must go along the same way as those before. Last pin gone, or everything that
//!    was sent there has arrived → Finish, freed, or 5.
//!
//! 4. *Taking*: the Return said that the results are those of a call that the peer made here. When
//!    that is answered → 3 or freed. Until then everything stays as if there had been no Return, so
//!    that cancelling and pipelining need no other way.
//!
//! 5. *Ended*: nothing here needs it, but the Finish still waits behind calls that name it (see
//!    [`super::unsent`]), so that the peer keeps the answer and counts it. Finish out → freed.
//!
//! Two sorts of calls whose results do not come here live as long as something refers to them:
//! an answer of ours that stands for them ([`Question::held`]), or a reference inside them.
//!
//! - *Tail*: the results stay at the peer, as those of a call that it made to us. From 1, a Return
//!   without results → 3; the Finish comes when that call is finished, in 1 or 3.
//! - *Pipeline*: only for the references inside the answer. There is no Return (but see
//!   [`Connection::honours_pipeline_only`](super::Connection::honours_pipeline_only)); nothing refers
//!   to it any more → Finish, freed.
//!
//! Law: one Finish and one Return, in any order, unless the Return said that no Finish is needed;
//! then the id is free. Pipelined nodes are not counted here: they take themselves off the list
//! when they are dropped, and all of them resolve or break on the Return.

use smallvec::SmallVec;

use super::export::Exports;
use crate::engine::stream::Share;
use crate::path::Path;
use crate::{AnswerId, AnswerToken, ConnId, ExportId, Host, NodeId};

/// A call that we made.
pub(crate) struct Question<H: Host> {
    pub(crate) state: State,
    pub(crate) sort: Sort,
    /// Whether an answer of ours stands for the results of this call.
    pub(crate) held: bool,
    pub(crate) asker: Asker<H>,
    /// What the parameters exported, to be given back if the Return says so.
    pub(crate) params: Exports,
    /// References inside the answer, with the path to each. Not counted.
    pub(crate) pipelined: Pipelined,
    /// Pinned references inside the answer.
    pub(crate) pins: u32,
    /// What it counts as one of a stream of calls, until it is answered.
    pub(crate) share: Option<Share>,
    /// Bytes that it counts as one that was sent and will be answered.
    pub(crate) bytes: usize,
    /// While the call waits for room: the number of the message; else 0.
    pub(crate) waits: u64,
    /// The last message that waited for room and named it.
    pub(crate) named: u64,
    /// Whether it counts among those that waiting messages keep in the peer's table for long.
    pub(crate) lingers: bool,
    /// Whether its Finish waits behind the last message that names it.
    pub(crate) finish_waits: bool,
    /// Which round trip it belongs to, from 1 on: one more than those whose answers were there
    /// when it was asked.
    pub(crate) trip: u64,
}

/// References inside a coming answer, with the path to each. Mostly there is one.
pub(crate) type Pipelined = SmallVec<[(Path, NodeId); 1]>;

/// The numbers are those of the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// 1.
    Asked,
    /// 2.
    Finished,
    /// 3.
    Answered,
    /// 4.
    Taking(AnswerId),
    /// 5.
    Ended {
        /// Whether the peer had answered.
        answered: bool,
    },
}

/// What is to become of the results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// They come here.
    Call,
    /// They stay at the peer.
    Tail,
    /// Only references inside them are used, before they are there.
    Pipeline,
}

/// Who waits for the answer.
pub(crate) enum Asker<H: Host> {
    /// A call of this vat.
    Reply(H::Reply),
    /// A call of another vat, which we passed on.
    Forward(AnswerToken),
    /// The vine that a gift came with, which is released then. Counted.
    Accept { vine: NodeId },
    /// A gift that becomes what is in the answer, or its vine. Not counted.
    Gift(NodeId),
    /// A Provide: there should be no answer. The vine at the recipient.
    Provision { conn: ConnId, vine: ExportId },
    /// Only the references inside.
    Nobody,
}

impl<H: Host> Question<H> {
    pub(crate) fn new(sort: Sort) -> Self {
        Self {
            state: State::Asked,
            sort,
            held: false,
            asker: Asker::Nobody,
            params: Exports::new(),
            pipelined: Pipelined::new(),
            pins: 0,
            share: None,
            bytes: 0,
            waits: 0,
            named: 0,
            lingers: false,
            finish_waits: false,
            trip: 0,
        }
    }

    /// Whether a Return with results that hold no reference concerns nobody but a call of this vat.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.asker, Asker::Reply(_))
            && self.state == State::Asked
            && self.sort == Sort::Call
            && self.params.is_empty()
            && self.pipelined.is_empty()
            && self.pins == 0
            && self.share.is_none()
            && self.named == 0
    }

    /// A pin is gone. Whether the Finish is due now.
    pub(crate) fn unpin(&mut self) -> bool {
        self.pins = self.pins.saturating_sub(1);
        self.pins == 0 && self.state == State::Answered && self.sort == Sort::Call
    }

    /// Whether the peer has answered it, and keeps the answer.
    pub(crate) fn is_answered(&self) -> bool {
        match self.state {
            State::Answered => self.sort == Sort::Call,
            State::Ended { answered } => answered,
            State::Asked | State::Finished | State::Taking(_) => false,
        }
    }

    /// Whether it is answered and nothing here needs the answer.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended { answered: true }
    }

    /// Nothing here needs it any more, but its Finish waits.
    pub(crate) fn end(&mut self) {
        // A Provide has no answer.
        let provides = matches!(self.asker, Asker::Provision { .. });
        let answered = self.sort == Sort::Call && !provides;
        self.state = State::Ended { answered };
        self.asker = Asker::Nobody;
        self.params.clear();
        self.pipelined.clear();
    }

    /// Whether it stays in the peer's table for long if the message with this number, which waits,
    /// names it: it is there already, or its own call waits far before. `most`: how many the peer
    /// takes. Of those whose calls wait not far before there are at most a quarter of them at a time.
    pub(crate) const fn would_linger(&self, serial: u64, most: usize) -> bool {
        self.waits == 0 || serial.saturating_sub(self.waits) > most as u64 / 4
    }

    /// Whether nothing refers any more to results that are not to come here.
    pub(crate) fn is_over(&self) -> bool {
        self.sort != Sort::Call && !self.held && self.pipelined.is_empty()
    }
}
