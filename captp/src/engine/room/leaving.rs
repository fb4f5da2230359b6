//! What waited and leaves, when there is room.

use crate::connection::question::{Asker, Sort, State};
use crate::connection::unsent::{Follower, Item, What};
use crate::engine::Engine;
use crate::{ConnId, Host, QuestionId};

impl<H: Host> Engine<H> {
    /// Lets everything leave for which there is room.
    pub(in crate::engine) fn let_leave(&mut self) {
        let mut at = 0;
        while let Some(conn) = self.crowded.get(at).copied() {
            while self.let_first_leave(conn).is_some() {}
            match self.has_unsent(conn) {
                true => at += 1,
                false => drop(self.crowded.swap_remove(at)),
            }
        }
    }

    /// Moves the first message to what is transmitted, if there is room for it.
    fn let_first_leave(&mut self, conn: ConnId) -> Option<()> {
        let row = self.connections.get_mut(conn)?;
        let unsent = row.unsent.as_ref()?;
        let item = *unsent.front()?;
        let others = row.under_way();
        let has_room = match item.what {
            What::Call { sort, bytes, .. } => row.has_room(sort, bytes, others),
            What::Ask { .. } => row.may_ask_now(item.len, others),
            What::Resolve { .. } | What::Other => true,
        };
        if !has_room {
            return None;
        }
        let unsent = row.unsent.as_mut()?;
        unsent.pop();
        let followers = std::iter::from_fn(|| unsent.next_follower(item.serial));
        let followers: Vec<Follower> = followers.collect();
        let mut bytes = std::mem::take(&mut unsent.bytes);
        let last = unsent.front().is_none();
        row.window_valve.moves();
        if last {
            row.unsent = None;
            row.window_valve.rest();
        }
        self.transmit_to(conn, |out| bytes.move_message(item.len, out));
        let row = self.connections.get_mut(conn)?;
        if let Some(unsent) = &mut row.unsent {
            unsent.bytes = bytes;
        }
        self.left(conn, &item);
        for follower in followers {
            let finished = match &follower {
                Follower::Finish { question, .. } => Some(*question),
                Follower::Disembargo(_) | Follower::Release { .. } => None,
            };
            self.transmit_follower(conn, follower);
            if let Some(question) = finished {
                self.finish_left(conn, question);
            }
        }
        self.weigh(conn);
        Some(())
    }

    /// A Finish that waited has left.
    fn finish_left(&mut self, conn: ConnId, id: QuestionId) {
        let Some(question) = self.question_mut(conn, id) else {
            return;
        };
        question.finish_waits = false;
        if matches!(question.state, State::Ended { .. }) {
            self.drop_question(conn, id);
        }
    }

    fn left(&mut self, conn: ConnId, item: &Item) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        match item.what {
            What::Call {
                question,
                sort,
                bytes,
                ..
            } => {
                let Some(entry) = row.question_mut(question) else {
                    return;
                };
                if entry.waits != item.serial {
                    return;
                }
                let caller = match &entry.asker {
                    Asker::Forward(token) => Some(token.duplicate()),
                    _ => None,
                };
                entry.waits = 0;
                if sort != Sort::Pipeline {
                    entry.bytes = bytes;
                    row.asked += 1;
                    row.asked_bytes += bytes;
                }
                if let Some(unsent) = &mut row.unsent {
                    unsent.remove_question(sort);
                }
                if let Some(token) = caller {
                    self.end_fds_wait(&token);
                }
            }
            What::Ask { question } => {
                let entry = row.question_mut(question);
                let Some(entry) = entry.filter(|entry| entry.waits == item.serial) else {
                    return;
                };
                entry.waits = 0;
                let sort = entry.sort;
                if let Some(unsent) = &mut row.unsent {
                    unsent.remove_question(sort);
                }
            }
            What::Resolve { export, serial } => self.resolve_left(conn, export, serial),
            What::Other => {}
        }
    }
}
