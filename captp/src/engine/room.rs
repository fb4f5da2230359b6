//! Room at the peer: calls beyond a soft limit wait here, and leave in order as answers come and as
//! the transport takes what was sent.
//!
//! What waits, and what may overtake it, is told in [`crate::connection::unsent`]. A message that
//! overtakes waiting calls must not lead the peer past them: a reference to something of the peer's
//! own is described in a Return as a promise, whose Resolve waits behind the calls.
//!
//! So that nothing waits here for ever, the limits [give way](super::patience).

use super::Engine;
use super::describe::Given;
use super::node::Place;
#[cfg(doc)]
use crate::Limits;
use crate::connection::question::{Sort, State};
use crate::connection::unsent::{Follower, Item, What};
use crate::connection::{Connection, Window};
use crate::message::encode::{Built, Cap, Described};
use crate::message::write::{self, CallHead};
use crate::{
    ConnId, Content, Exception, ExportId, Host, ImportId, PeerMisbehaved, QuestionId, Transmit,
};

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
        if others >= self.window.most_calls || !self.knows_room(bytes, others) {
            return false;
        }
        if sort == Sort::Pipeline {
            return true;
        }
        let fits = self.asked_bytes == 0 || self.asked_bytes + bytes <= self.window_bytes();
        fits && self.asked < self.window_calls()
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
    fn under_way(&self) -> usize {
        let waiting = self.unsent.as_ref().map_or(0, |unsent| unsent.questions());
        self.questions_len().saturating_sub(waiting + self.answered)
    }

    /// Those that will not end by an answer, waiting ones too.
    fn held_questions(&self) -> usize {
        let waiting = self.unsent.as_ref().map_or(0, |unsent| unsent.asked());
        let questions = self.questions_len();
        questions.saturating_sub(self.asked + waiting + self.answered)
    }

    /// Answers that the peer keeps, or will, except those whose Finish is on its way and that waiting
    /// calls do not name.
    fn kept_for_long(&self) -> usize {
        let unsent = self.unsent.as_ref();
        let (lingering, finishes) =
            unsent.map_or((0, 0), |unsent| (unsent.lingering(), unsent.finishes()));
        self.answered.saturating_sub(finishes) + lingering
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
    /// Whether a call of that size may leave at once; if not, it waits.
    pub(super) fn may_leave(
        &self,
        conn: ConnId,
        sort: Sort,
        bytes: usize,
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
        self.may_wait_in_all(bytes, false).map(|()| false)
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

    // ---- what waits

    /// A call waits. It has been described, and its question is in the table.
    pub(super) fn put_call(
        &mut self,
        conn: ConnId,
        question: QuestionId,
        head: CallHead<'_>,
        given: &Given,
        content: &mut Content,
    ) {
        let (sort, bytes) = (head.sort, given.bytes);
        let what = What::Call {
            question,
            sort,
            bytes,
        };
        let push = |out: &mut Transmit| out.push_content(content, &given.fds);
        let Some(serial) = self.put(conn, what, push) else {
            return;
        };
        self.question_waits(conn, question, serial);
        self.name(conn, &Names::Place(head.place), serial);
        for cap in &given.caps {
            self.name_cap(conn, cap, serial);
        }
    }

    /// What asks this question waits.
    fn question_waits(&mut self, conn: ConnId, id: QuestionId, serial: u64) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let Some(question) = row.question_mut(id) else {
            return;
        };
        question.waits = serial;
        question.named = serial;
        let sort = question.sort;
        if let Some(unsent) = &mut row.unsent {
            unsent.add_question(sort);
        }
    }

    /// Sends a message that must not overtake calls.
    pub(super) fn transmit_behind(&mut self, conn: ConnId, built: &Built, names: &[Names<'_>]) {
        if !self.has_unsent(conn) {
            return self.transmit(conn, built, &[]);
        }
        let asks = names.iter().find_map(|names| match names {
            Names::Asks(question) => Some(*question),
            Names::Question(_) | Names::Place(_) | Names::Nothing => None,
        });
        let what = asks.map_or(What::Other, |question| What::Ask { question });
        let segments = built.get_segments_for_output();
        let Some(serial) = self.put(conn, what, |out| out.push(&segments, &[])) else {
            return;
        };
        if let Some(question) = asks {
            self.question_waits(conn, question, serial);
        }
        for names in names {
            self.name(conn, names, serial);
        }
    }

    /// Sends a Disembargo of another vat on its way, to this place. It follows calls of that vat; our
    /// own came before the peer was told what it is about, or need not come before. `from`: who sent
    /// it, and loses the connection if too many wait.
    pub(super) fn transmit_disembargo(
        &mut self,
        from: ConnId,
        conn: ConnId,
        built: &Built,
        place: Option<&Place>,
    ) {
        let row = self.connections.get_mut(conn);
        let waits = |row: &&mut Connection<H>| {
            let unsent = row.unsent.as_ref();
            unsent.is_some_and(|unsent| unsent.is_named(unsent.forwarded))
        };
        let Some(row) = row.filter(waits) else {
            return self.transmit(conn, built, &[]);
        };
        let limit = row.limits.embargoes;
        let serial = row.next_serial();
        let Some(unsent) = &mut row.unsent else {
            return;
        };
        if unsent.disembargoes() >= limit {
            let what = "disembargoes that wait behind calls";
            return self.abort(from, PeerMisbehaved::TableFull { what, limit });
        }
        let mut message = Transmit::new();
        message.push(&built.get_segments_for_output(), &[]);
        let last = unsent.forwarded;
        unsent.follow(last, serial, Follower::Disembargo(message));
        self.name(conn, &place.map_or(Names::Nothing, Names::Place), last);
        self.weigh(conn);
    }

    /// A call of another vat was sent.
    pub(super) fn note_forwarded(&mut self, conn: ConnId, id: QuestionId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let waits = row.question(id).map_or(0, |question| question.waits);
        if let Some(unsent) = row.unsent.as_mut().filter(|_| waits > 0) {
            unsent.forwarded = waits;
        }
    }

    /// Sends the Finish for a question, which stays as it is.
    pub(super) fn transmit_finish(&mut self, conn: ConnId, id: QuestionId, all: bool) {
        let question = self.question_mut(conn, id);
        let named = question.map_or(0, |question| question.named);
        let finish = Follower::Finish { question: id, all };
        if self.transmit_end(conn, named, finish)
            && let Some(question) = self.question_mut(conn, id)
        {
            question.finish_waits = true;
        }
    }

    /// Sends a Release.
    pub(super) fn transmit_release(&mut self, conn: ConnId, id: ImportId, refs: u32, named: u64) {
        self.transmit_end(conn, named, Follower::Release { import: id, refs });
    }

    /// Sends a message that ends something, behind those that name it. Whether it waits.
    fn transmit_end(&mut self, conn: ConnId, named: u64, message: Follower) -> bool {
        if !self.is_named(conn, named) {
            self.transmit_follower(conn, message);
            return false;
        }
        if let Some(row) = self.connections.get_mut(conn) {
            let serial = row.next_serial();
            if let Some(unsent) = &mut row.unsent {
                unsent.follow(named, serial, message);
            }
        }
        self.weigh(conn);
        true
    }

    /// Sends what has nothing left to wait for.
    fn transmit_follower(&mut self, conn: ConnId, message: Follower) {
        match message {
            Follower::Disembargo(mut message) => {
                self.transmit_to(conn, |out| {
                    out.append(&mut message);
                });
            }
            Follower::Finish { question, all } => {
                self.transmit_to(conn, |out| {
                    out.push_with(|out| write::finish(out, question, all));
                });
            }
            Follower::Release { import, refs } => {
                self.transmit_to(conn, |out| {
                    out.push_with(|out| write::release(out, import, refs));
                });
            }
        }
    }

    /// Sends a Resolve. To something of the peer's own it must not overtake calls.
    pub(super) fn transmit_resolve(
        &mut self,
        conn: ConnId,
        export: ExportId,
        built: &Built,
        cap: Option<&Cap>,
        given: &Given,
    ) {
        let row = self.connections.get(conn);
        let entry = row.and_then(|row| row.exports.get(export.raw()));
        let Some((serial, named)) = entry.map(|entry| (entry.serial, entry.named)) else {
            return self.transmit(conn, built, &given.fds);
        };
        let home = cap.is_some_and(|cap| matches!(cap.as_what, Described::Theirs(_)));
        if !(home && self.has_unsent(conn) || self.is_named(conn, named)) {
            return self.transmit(conn, built, &given.fds);
        }
        let what = What::Resolve { export, serial };
        let segments = built.get_segments_for_output();
        let put = self.put(conn, what, |out| out.push(&segments, &given.fds));
        let row = self.connections.get_mut(conn);
        if let Some(entry) = row.and_then(|row| row.exports.get_mut(export.raw())) {
            entry.refs = entry.refs.saturating_add(1);
        }
        if let (Some(cap), Some(serial)) = (cap, put) {
            self.name_cap(conn, cap, serial);
        }
    }

    fn is_named(&self, conn: ConnId, named: u64) -> bool {
        self.connections
            .get(conn)
            .and_then(|row| row.unsent.as_ref())
            .is_some_and(|unsent| unsent.is_named(named))
    }

    /// Puts a message behind all others; its serial number.
    fn put(&mut self, conn: ConnId, what: What, push: impl FnOnce(&mut Transmit)) -> Option<u64> {
        let row = self.connections.get_mut(conn)?;
        let serial = row.next_serial();
        if row.unsent.is_none() {
            self.crowded.push(conn);
        }
        let unsent = row.unsent.get_or_insert_default();
        let before = unsent.bytes.len();
        push(&mut unsent.bytes);
        let len = unsent.bytes.len() - before;
        unsent.push(Item::new(serial, len, what));
        self.weigh(conn);
        Some(serial)
    }

    fn name_cap(&mut self, conn: ConnId, cap: &Cap, serial: u64) {
        match &cap.as_what {
            Described::Theirs(place) => self.name(conn, &Names::Place(place), serial),
            Described::Promise(id) => {
                let row = self.connections.get_mut(conn);
                if let Some(entry) = row.and_then(|row| row.exports.get_mut(id.raw())) {
                    entry.named = serial;
                }
            }
            Described::Null | Described::Hosted(_) | Described::Third { .. } => {}
        }
    }

    fn name(&mut self, conn: ConnId, names: &Names<'_>, serial: u64) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let question = match names {
            Names::Nothing => return,
            Names::Place(Place::Import { id, .. }) => {
                if let Some(entry) = row.imports.get_mut(id.raw()) {
                    entry.named = entry.named.max(serial);
                }
                return;
            }
            Names::Place(Place::Answer { question, .. })
            | Names::Question(question)
            | Names::Asks(question) => question,
        };
        let most = row.window.most_calls;
        let Some(entry) = row.question_mut(*question) else {
            return;
        };
        let lingers = entry.would_linger(serial, most);
        if serial <= entry.named {
            return;
        }
        let last = std::mem::replace(&mut entry.named, serial);
        let lingered = entry.lingers;
        entry.lingers |= lingers;
        if entry.lingers
            && let Some(unsent) = &mut row.unsent
        {
            unsent.linger(if lingered { last } else { 0 }, serial);
        }
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

    // ---- what leaves

    /// Lets everything leave for which there is room.
    pub(super) fn let_leave(&mut self) {
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
            What::Ask { .. } => others < row.window.most_calls,
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
        if question.state == State::Ended {
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
            } => {
                let Some(entry) = row.question_mut(question) else {
                    return;
                };
                if entry.waits != item.serial {
                    return;
                }
                entry.waits = 0;
                if sort != Sort::Pipeline {
                    entry.bytes = bytes;
                    row.asked += 1;
                    row.asked_bytes += bytes;
                }
                if let Some(unsent) = &mut row.unsent {
                    unsent.remove_question(sort);
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
            What::Resolve { export, serial } => {
                let entry = row.exports.get(export.raw());
                if entry.is_some_and(|entry| entry.serial == serial) {
                    // The peer may have released it since.
                    let _: Option<()> = self.release_export(conn, export, 1);
                }
            }
            What::Other => {}
        }
    }
}
