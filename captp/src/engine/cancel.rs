//! Calls that nobody wants any more.
//!
//! A call of another vat that went on and is cancelled is answered when its callee has answered, so
//! that it counts as long as anybody has it: one that goes round in a circle, with its Finish behind
//! it, comes to an end at some limit. But a callee that does not answer what is cancelled must not
//! keep the place that it has in the table of the caller: after ten seconds, or when very many such
//! calls wait, the caller is answered without the callee.

use std::collections::VecDeque;
use std::time::Duration;

use super::Engine;
use crate::connection::question::{Asker, Sort, State};
use crate::{AnswerToken, ConnId, Exception, Host, QuestionId};

/// How long a caller waits at most for the answer to a call that it has cancelled.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Most cancelled calls of others that wait for their callees.
const MOST: usize = 16_384;

/// Cancelled calls of other vats that went on, the oldest first. Behind one that waits, some may be
/// answered already.
#[derive(Default)]
pub(super) struct Canceled(VecDeque<Waiting>);

struct Waiting {
    due: Duration,
    conn: ConnId,
    question: QuestionId,
    /// The call, as its caller made it.
    call: AnswerToken,
}

impl Canceled {
    fn push(&mut self, now: Duration, conn: ConnId, question: QuestionId, call: AnswerToken) {
        self.0.push_back(Waiting {
            due: now.saturating_add(ANSWERED_WITHIN),
            conn,
            question,
            call,
        });
    }

    /// When the oldest one has waited long enough.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.0.front().map(|waiting| waiting.due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<H: Host> Engine<H> {
    /// Our Finish before the Return: nobody here wants the results.
    ///
    /// Who made the call learns it at once. But a call of another vat is answered when its callee has
    /// answered, see the module.
    pub(super) fn cancel_question(&mut self, conn: ConnId, id: QuestionId) -> bool {
        let row = self.connections.get_mut(conn);
        let Some(question) = row.and_then(|row| row.question_mut(id)) else {
            return false;
        };
        let taken = match question.state {
            _ if question.sort != Sort::Call => return false,
            State::Asked => None,
            State::Taking(answer) => Some(answer),
            State::Finished | State::Answered | State::Ended { .. } => return false,
        };
        question.state = State::Finished;
        let asker = match &question.asker {
            Asker::Forward(token) if taken.is_none() => {
                self.canceled.push(self.now, conn, id, token.duplicate());
                Asker::Nobody
            }
            _ => std::mem::replace(&mut question.asker, Asker::Nobody),
        };
        let pipelined = std::mem::take(&mut question.pipelined);
        self.transmit_finish(conn, id, true);
        if let Some(answer) = taken {
            self.leave_results(conn, answer);
            self.drop_question(conn, id);
        }
        let reason = canceled();
        for (_, node) in pipelined {
            self.become_broken(node, reason.clone());
        }
        self.returned(asker, Err(reason));
        self.expire_canceled();
        true
    }

    /// Answers cancelled calls that have waited long enough, and forgets those that are answered.
    pub(super) fn expire_canceled(&mut self) {
        while let Some(first) = self.canceled.0.front() {
            let is_due = first.due <= self.now || self.canceled.0.len() > MOST;
            if !is_due && self.still_waits(first) {
                return;
            }
            let Some(first) = self.canceled.0.pop_front() else {
                return;
            };
            if self.still_waits(&first)
                && let Some(question) = self.question_mut(first.conn, first.question)
            {
                let asker = std::mem::replace(&mut question.asker, Asker::Nobody);
                self.returned(asker, Err(canceled()));
            }
        }
    }

    fn still_waits(&self, waiting: &Waiting) -> bool {
        let row = self.connections.get(waiting.conn);
        let question = row.and_then(|row| row.question(waiting.question));
        question.is_some_and(|question| {
            question.state == State::Finished
                && matches!(&question.asker, Asker::Forward(call) if *call == waiting.call)
        })
    }
}

/// What a call is answered with that nobody wants any more.
pub(super) fn canceled() -> Exception {
    Exception::failed("the call was canceled")
}
