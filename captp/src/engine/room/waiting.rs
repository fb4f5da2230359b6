//! What comes to wait for room, and the order in which it will leave.

use super::Names;
use crate::connection::Connection;
use crate::connection::unsent::{Follower, Item, What};
use crate::engine::Engine;
use crate::engine::describe::Given;
use crate::engine::node::Place;
use crate::message::encode::{Built, Cap, Described};
use crate::message::write::{self, CallHead};
use crate::{ConnId, Content, ExportId, Host, ImportId, PeerMisbehaved, QuestionId, Transmit};

impl<H: Host> Engine<H> {
    /// A call waits. It has been described, and its question is in the table.
    pub(in crate::engine) fn put_call(
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
            caps: given.caps.len(),
            fds: given.fds.len(),
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
    pub(in crate::engine) fn transmit_behind(
        &mut self,
        conn: ConnId,
        built: &Built,
        names: &[Names<'_>],
    ) {
        let asks = names.iter().find_map(|names| match names {
            Names::Asks(question) => Some(*question),
            Names::Question(_) | Names::Place(_) | Names::Nothing => None,
        });
        let segments = built.get_segments_for_output();
        let bytes = segments.iter().map(|segment| segment.len()).sum();
        let has_room = asks.is_none_or(|_| {
            let row = self.connections.get(conn);
            // It is in the table already.
            row.is_none_or(|row| row.may_ask_now(bytes, row.under_way().saturating_sub(1)))
        });
        if !self.has_unsent(conn) && has_room {
            return self.transmit(conn, built, &[]);
        }
        let what = asks.map_or(What::Other, |question| What::Ask { question });
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
    pub(in crate::engine) fn transmit_disembargo(
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
    pub(in crate::engine) fn note_forwarded(&mut self, conn: ConnId, id: QuestionId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let waits = row.question(id).map_or(0, |question| question.waits);
        if let Some(unsent) = row.unsent.as_mut().filter(|_| waits > 0) {
            unsent.forwarded = waits;
        }
    }

    /// Sends the Finish for a question, which stays as it is.
    pub(in crate::engine) fn transmit_finish(&mut self, conn: ConnId, id: QuestionId, all: bool) {
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
    pub(in crate::engine) fn transmit_release(
        &mut self,
        conn: ConnId,
        id: ImportId,
        refs: u32,
        named: u64,
    ) {
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
    pub(in crate::engine) fn transmit_follower(&mut self, conn: ConnId, message: Follower) {
        match message {
            Follower::Disembargo(mut message) => {
                self.transmit_to(conn, |out| {
                    out.append(&mut message);
                });
            }
            Follower::Finish { question, all } => {
                self.transmit_ending(conn, |out| {
                    out.push_with(|out| write::finish(out, question, all));
                });
            }
            Follower::Release { import, refs } => {
                self.transmit_ending(conn, |out| {
                    out.push_with(|out| write::release(out, import, refs));
                });
            }
        }
    }

    /// Sends a Resolve. To something of the peer's own it must not overtake calls.
    pub(in crate::engine) fn transmit_resolve(
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
            entry.resolve_waits = true;
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
}
