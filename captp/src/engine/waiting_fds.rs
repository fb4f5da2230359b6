//! File descriptors of calls that wait: a process has only so many.
//!
//! A call of a peer may wait at a soft limit, for a promise, or for room at the peer that it goes on
//! to. What it brought stays open meanwhile, and counts for the connection it came from until an
//! object has the call, it has gone on, or it is answered. Beyond the limit a call that would have to
//! wait is refused, which closes its descriptors; one that need not wait is not affected.

use super::Engine;
use super::node::Kind;
use crate::connection::Connection;
use crate::{AnswerToken, ConnId, Exception, Host, NodeId, QuestionId};

impl<H: Host> Engine<H> {
    /// The call has to wait with the descriptors that came with it. Once is enough.
    ///
    /// # Errors
    /// If it may not.
    pub(super) fn wait_with_fds(&mut self, token: &AnswerToken) -> Result<(), Exception> {
        let Some(entry) = self.answer_mut(token) else {
            return Ok(());
        };
        let fds = usize::from(entry.fds);
        if fds == 0 || entry.fds_wait {
            return Ok(());
        }
        entry.fds_wait = true;
        let Some(row) = self.connections.get_mut(token.conn) else {
            return Ok(());
        };
        let (waiting, limit) = (row.waiting_fds, row.limits.waiting_fds);
        row.waiting_fds += fds;
        if row.waiting_fds <= limit {
            return Ok(());
        }
        self.end_fds_wait(token);
        Err(Exception::overloaded(format!(
            "{waiting} file descriptors came with calls that wait, {fds} more are above the limit \
             (waiting_fds) of {limit}; wait for answers before passing more"
        )))
    }

    /// The same, if it goes to a reference where it has to wait for a promise.
    pub(super) fn may_wait_at(
        &mut self,
        target: NodeId,
        token: &AnswerToken,
    ) -> Result<(), Exception> {
        let node = self.nodes.get(self.nodes.terminal(target));
        match node.map(|node| &node.kind) {
            Some(Kind::Promise | Kind::Gift(_)) => self.wait_with_fds(token),
            _ => Ok(()),
        }
    }

    /// The same, if it goes on to a peer where it has to wait for room.
    pub(super) fn may_wait_for_room(
        &mut self,
        conn: ConnId,
        token: &AnswerToken,
    ) -> Result<(), Exception> {
        let row = self.connections.get(conn);
        match row.is_some_and(|row| row.unsent.is_some() || row.has_fds_unsent()) {
            true => self.wait_with_fds(token),
            false => Ok(()),
        }
    }

    /// The call has gone on as this question, and perhaps waits for room there. (A tail call does not
    /// come here: it is answered, and waits only if it is the first one to do so.)
    pub(super) fn went_on_with_fds(
        &mut self,
        token: &AnswerToken,
        conn: ConnId,
        question: QuestionId,
    ) {
        let question = self.question_mut(conn, question);
        match question.is_some_and(|question| question.waits > 0) {
            // The first one to wait was not expected to.
            true => drop(self.wait_with_fds(token)),
            false => self.end_fds_wait(token),
        }
    }

    /// The call waits no longer.
    pub(super) fn end_fds_wait(&mut self, token: &AnswerToken) {
        let Some(entry) = self.answer_mut(token) else {
            return;
        };
        if std::mem::take(&mut entry.fds_wait) {
            let fds = usize::from(entry.fds);
            if let Some(row) = self.connections.get_mut(token.conn) {
                row.waiting_fds -= fds;
            }
        }
    }
}

impl<H: Host> Connection<H> {
    /// Whether as many descriptors wait to be transmitted as calls may have that wait: then those
    /// that come wait as well, and count.
    pub(super) fn has_fds_unsent(&self) -> bool {
        self.outbound.descriptors() >= self.limits.waiting_fds.max(1)
    }
}
