//! Room at the peer: calls beyond a soft limit wait here, and leave in order as answers come and as
//! the transport takes what was sent.
//!
//! What waits, and what may overtake it, is told in [`crate::connection::unsent`]. A message that
//! overtakes waiting calls must not lead the peer past them: a reference to something of the peer's
//! own is described in a Return as a promise, whose Resolve waits behind the calls.
//!
//! So that nothing waits here for ever, the limits [give way](super::patience).

mod leaving;
mod waiting;

use super::Engine;
use super::node::Place;
#[cfg(doc)]
use crate::Limits;
use crate::connection::question::Sort;
use crate::connection::{Connection, Window};
use crate::message::encode::{Cap, Described};
use crate::{ConnId, Exception, Host, QuestionId};

/// What a message that waits names.
pub(super) enum Names<'a> {
    /// A question that it asks, of whatever sort.
    Asks(QuestionId),
    /// A question.
    Question(QuestionId),
    /// Where it goes.
    Place(&'a Place),
    Nothing,
}

impl<H: Host> Connection<H> {
    /// Whether a call may be sent now, if nothing waits. `others`: how many unanswered questions there
    /// are besides it, waiting calls apart.
    fn has_room(&self, sort: Sort, bytes: usize, others: usize) -> bool {
        let outbound = self.outbound.len();
        if outbound > self.limits.outbound_soft || outbound + bytes > self.outbound_room() {
            return false;
        }
        if self.has_fds_unsent() {
            return false;
        }
        if !self.has_place(others) || !self.knows_room(bytes, others) {
            return false;
        }
        if sort == Sort::Pipeline {
            return true;
        }
        let fits = self.asked_bytes == 0 || self.asked_bytes + bytes <= self.window_bytes();
        fits && self.asked < self.window_calls()
    }

    /// Whether something that asks a question besides `others`, unanswered ones, and is no call may be
    /// sent now, if nothing waits.
    pub(super) fn may_ask_now(&self, bytes: usize, others: usize) -> bool {
        self.has_place(others) && self.knows_room(bytes, others)
    }

    /// Whether the peer's table has a place for one more question besides `others`.
    fn has_place(&self, others: usize) -> bool {
        let most = self.window.most_calls;
        others < most && others + self.answered < most.saturating_mul(2)
    }

    /// Whether a call of that size may be sent at all, with nothing else under way.
    fn fits_window_ever(&self, bytes: usize) -> Result<(), Exception> {
        let limit = self.window.single_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(Exception::failed(format!(
            "call of {bytes} bytes, and the peer takes {limit} bytes of calls; send it in pieces"
        )))
    }

    pub(super) fn window_calls(&self) -> usize {
        let Window {
            calls, most_calls, ..
        } = self.window;
        self.window_valve.widened(calls, most_calls).max(1)
    }

    pub(super) fn window_bytes(&self) -> usize {
        let Window {
            bytes, most_bytes, ..
        } = self.window;
        self.window_valve.widened(bytes, most_bytes)
    }

    /// A question is answered; how many bytes it counted. Perhaps the window need not be wide any
    /// more.
    pub(crate) fn uncount_asked(&mut self, bytes: usize) {
        self.asked -= usize::from(bytes > 0);
        self.asked_bytes -= bytes;
        if self.window_valve.is_open()
            && self.unsent.is_none()
            && self.asked < self.window.calls
            && self.asked_bytes < self.window.bytes
        {
            self.window_valve.close();
        }
    }

    /// Whether one more call may wait, or why not.
    fn may_wait(&self, bytes: usize) -> Result<(), Exception> {
        let unsent = self.unsent.as_ref();
        let calls = unsent.map_or(0, |unsent| unsent.calls());
        let waiting = unsent.map_or(0, |unsent| unsent.bytes.len());
        let (most, most_bytes) = (self.limits.waiting_calls, self.limits.waiting_bytes);
        if calls >= most {
            return Err(Exception::overloaded(format!(
                "{calls} calls wait for room at the peer, the limit (waiting_calls) is {most}; \
                 wait for answers before making more calls"
            )));
        }
        if waiting.saturating_add(bytes) > most_bytes {
            return Err(Exception::overloaded(format!(
                "{waiting} bytes of calls wait for room at the peer, {bytes} more are above the \
                 limit (waiting_bytes) of {most_bytes}; wait for answers before making more calls"
            )));
        }
        Ok(())
    }

    /// Whether there may be one more question in the table, which is a call or something else.
    /// Calls that will be answered may wait.
    pub(super) fn may_ask(&self, sort: Sort, call: bool) -> Result<(), Exception> {
        let limit = self.window.most_calls;
        if call && self.unsent.is_some() {
            self.may_wait(0)?;
        }
        let (sent, held, answered) = (self.under_way(), self.held_questions(), self.answered);
        let asks = self.unsent.as_ref().map_or(0, |unsent| unsent.asks());
        let has_room = match sort {
            Sort::Call | Sort::Tail if call => held < limit && answered < limit,
            Sort::Call | Sort::Tail => sent + asks < limit,
            Sort::Pipeline => sent < limit && held < limit - limit / 4,
        };
        if has_room {
            return Ok(());
        }
        Err(Exception::overloaded(format!(
            "{sent} calls to this peer have no answer, {held} of them will not end by one, and \
             {answered} answers are in use; the limit (ours is questions; the peer may take less) is \
             {limit}; wait for answers, or let go of references inside them"
        )))
    }

    /// Questions that the peer has not answered, calls that wait apart.
    pub(super) fn under_way(&self) -> usize {
        let waiting = self.unsent.as_ref().map_or(0, |unsent| unsent.questions());
        self.questions_len().saturating_sub(waiting + self.answered)
    }

    /// Those that will not end by an answer, waiting ones too.
    fn held_questions(&self) -> usize {
        let waiting = self.unsent.as_ref().map_or(0, |unsent| unsent.asked());
        let questions = self.questions_len();
        questions.saturating_sub(self.asked + waiting + self.answered)
    }

    /// Answers that the peer keeps, or will, except those whose Finish waits for what does not name
    /// them for long.
    fn kept_for_long(&self) -> usize {
        let lingering = self.unsent.as_ref().map_or(0, |unsent| unsent.lingering());
        self.answered - self.ended + lingering
    }

    /// Whether a call that comes to wait now makes this place one of an answer that lingers.
    fn would_linger(&self, place: &Place) -> bool {
        let Place::Answer { question, .. } = place else {
            return false;
        };
        let Some(question) = self.question(*question) else {
            return false;
        };
        let unsent = self.unsent.as_ref().filter(|_| question.lingers);
        !unsent.is_some_and(|unsent| unsent.is_named(question.named))
            && question.would_linger(self.last_serial() + 1, self.window.most_calls)
    }
}

impl<H: Host> Engine<H> {
    /// Whether a call of that size may leave at once; if not, it waits. `weight` stays alive with it.
    pub(super) fn may_leave(
        &self,
        conn: ConnId,
        sort: Sort,
        bytes: usize,
        weight: usize,
    ) -> Result<bool, Exception> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(true);
        };
        row.fits_ever(bytes)?;
        row.fits_window_ever(bytes)?;
        if row.unsent.is_none() && row.has_room(sort, bytes, row.under_way()) {
            return Ok(true);
        }
        row.may_wait(bytes)?;
        self.may_wait_in_all(weight, false).map(|()| false)
    }

    /// Whether calls wait for room.
    pub(super) fn has_unsent(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|row| row.unsent.is_some())
    }

    /// Whether a call of another vat may go on to a peer. Such calls fill half of the queue only: no
    /// other vat shall keep us from making calls of our own. And they wait only where they will leave
    /// whatever happens: one that goes round in a circle may be what all others wait for.
    pub(super) fn has_forward_room(&self, conn: ConnId) -> Result<(), Exception> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let limits = &row.limits;
        let most = row.window.most_calls;
        if row.questions_len() - row.answered >= most {
            return Err(Exception::overloaded(format!(
                "{most} calls to the peer that this one goes on to have no answer, which is the \
                 limit (ours is questions; the peer may take less); try again when some are answered"
            )));
        }
        let Some(unsent) = &row.unsent else {
            return Ok(());
        };
        let (calls, bytes) = (unsent.calls(), unsent.bytes.len());
        if calls >= limits.waiting_calls.div_ceil(2) || bytes > limits.waiting_bytes / 2 {
            return Err(Exception::overloaded(format!(
                "{calls} calls of {bytes} bytes wait for room at the peer that this one goes on to, \
                 and calls of other vats may fill half of the limits (waiting_calls, \
                 waiting_bytes); try again when some are answered"
            )));
        }
        self.may_wait_in_all(0, true)
    }

    /// Whether a call that waits may name what it names. The peer keeps the answers that waiting calls
    /// name, and they must not fill its table: then none of those could leave.
    pub(super) fn may_name(
        &self,
        conn: ConnId,
        place: &Place,
        caps: &[Cap],
    ) -> Result<(), Exception> {
        let Some(row) = self.connections.get(conn) else {
            return Ok(());
        };
        let theirs = caps.iter().filter_map(|cap| match &cap.as_what {
            Described::Theirs(place) => Some(place),
            _ => None,
        });
        let new = theirs
            .chain([place])
            .filter(|place| row.would_linger(place));
        let (new, kept) = (new.count(), row.kept_for_long());
        let limit = row.window.most_calls - row.window.most_calls / 4;
        if new == 0 || kept + new <= limit {
            return Ok(());
        }
        Err(Exception::overloaded(format!(
            "{kept} answers of the peer are in use, by calls that wait for room and others, and {new} \
             more are above the limit of {limit} (three quarters of questions; the peer may take \
             less); wait for answers before making more calls"
        )))
    }
}
