//! Questions: calls that we made on a connection.
//!
//! States, and what leaves them:
//!
//! 1. *Asked*. Return → 3 or freed.
//! 2. *Finished* early: our Finish is out, nobody here wants the results. Return → freed.
//! 3. *Answered*, kept because exports or answers of the same connection still stand for a
//!    reference inside the answer ([`Question::pins`]): calls that the peer sends there must go
//!    back along the same way. Last pin gone → Finish, freed.
//!
//! Law: one Finish and one Return, in any order, unless the Return said that no Finish is needed;
//! then the id is free. Pipelined nodes are not counted here: they take themselves off the list
//! when they are dropped, and all of them resolve or break on the Return.

use std::rc::Rc;

use crate::{AnswerToken, ConnId, ExportId, Host, NodeId};

/// A call that we made.
pub(crate) struct Question<H: Host> {
    pub(crate) state: State,
    pub(crate) asker: Asker<H>,
    /// What the parameters exported, to be given back if the Return says so.
    pub(crate) params: Vec<ExportId>,
    /// References inside the answer, with the path to each. Not counted.
    pub(crate) pipelined: Vec<(Rc<[u16]>, NodeId)>,
    /// Pinned references inside the answer.
    pub(crate) pins: u32,
    /// Which round trip it belongs to, from 1 on: one more than those whose answers were there
    /// when it was asked.
    pub(crate) trip: u64,
}

/// The numbers are those of the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// 1.
    Asked,
    /// 2.
    Finished,
    /// 3.
    Answered,
}

/// Who waits for the answer.
pub(crate) enum Asker<H: Host> {
    /// A call of this vat.
    Reply(H::Reply),
    /// A call of another vat, which we passed on.
    Forward(AnswerToken),
    /// The vine that a gift came with, which is released then. Counted.
    Accept { vine: NodeId },
    /// A Provide: there should be no answer. The vine at the recipient.
    Provision { conn: ConnId, vine: ExportId },
    /// Only the references inside.
    Nobody,
}

impl<H: Host> Question<H> {
    pub(crate) const fn new(trip: u64) -> Self {
        Self {
            state: State::Asked,
            asker: Asker::Nobody,
            params: Vec::new(),
            pipelined: Vec::new(),
            pins: 0,
            trip,
        }
    }

    /// A pin is gone. Whether the Finish is due now.
    pub(crate) fn unpin(&mut self) -> bool {
        self.pins = self.pins.saturating_sub(1);
        self.pins == 0 && self.state == State::Answered
    }
}
