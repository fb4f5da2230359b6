//! Before the peer's hello: nobody knows yet what the peer takes.
//!
//! Nobody waits for a hello, but until it is there only a little is asked, which any vat takes. What
//! would ask more waits with those calls for which there is no [room](super::room). When the hello
//! comes, some calls may turn out to be larger than the peer takes at all. Those fail. They cannot
//! just be taken out of the queue, as later messages name their questions: a call of a reference
//! that does not exist is sent in the place of each, so that the peer answers it, and what is
//! pipelined on it, with an exception.

use super::Engine;
use super::node::Place;
use crate::connection::Connection;
use crate::connection::question::{Asker, Sort};
use crate::connection::unsent::{Item, What};
use crate::message::write::{self, CallHead};
use crate::path::Path;
use crate::{ConnId, Content, Exception, Host, QuestionId, Transmit};

/// Most questions that are asked before the peer has said how many it takes. Every vat takes as many
/// ([`Limits::answers`](crate::Limits::answers), 16,384 by default, says so), and a program that has
/// just connected hardly makes more within a round trip.
pub(super) const FIRST_CALLS: usize = 64;

/// Most bytes that are sent before, in all messages together: the smallest size that makes sense for
/// a message, and 128 times less than the default of
/// [`Limits::message_bytes`](crate::Limits::message_bytes).
pub(super) const FIRST_BYTES: usize = 64 << 10;

impl<H: Host> Connection<H> {
    /// Whether a call may leave as far as it is known what the peer takes. `others`: how many
    /// questions there are besides it, waiting calls apart.
    pub(super) fn knows_room(&self, bytes: usize, others: usize) -> bool {
        let sent = usize::try_from(self.transmitted).unwrap_or(usize::MAX);
        let sent = sent.saturating_add(self.outbound.len() + bytes);
        !self.awaits_hello || others < FIRST_CALLS && sent <= FIRST_BYTES
    }
}

impl<H: Host> Engine<H> {
    /// The hello has come: calls that wait and are larger than the peer takes fail.
    pub(super) fn fail_too_large(&mut self, conn: ConnId) {
        let Some(row) = self.connections.get_mut(conn) else {
            return;
        };
        let limit = row.send_bytes.min(row.window.single_bytes);
        let (most_caps, most_fds) = (row.send_caps, row.send_fds);
        let Some(unsent) = &mut row.unsent else {
            return;
        };
        let is_too_large = |item: &&Item| match item.what {
            What::Call {
                bytes, caps, fds, ..
            } => bytes > limit || caps > most_caps || fds > most_fds,
            What::Ask { .. } | What::Resolve { .. } | What::Other => false,
        };
        let failing: Vec<Item> = unsent.items().filter(is_too_large).copied().collect();
        if failing.is_empty() {
            return;
        }
        unsent.replace(|item| match item.what {
            What::Call { question, sort, .. } if is_too_large(&item) => {
                Some(call_of_nothing(question, sort))
            }
            _ => None,
        });
        self.weigh(conn);
        for item in failing {
            self.fail_waiting(conn, &item, (limit, most_caps, most_fds));
        }
    }

    fn fail_waiting(&mut self, conn: ConnId, item: &Item, limit: (usize, usize, usize)) {
        let What::Call {
            question,
            bytes,
            caps,
            fds,
            ..
        } = item.what
        else {
            return;
        };
        let entry = self.question_mut(conn, question);
        let Some(entry) = entry.filter(|entry| entry.waits == item.serial) else {
            return;
        };
        let params = std::mem::take(&mut entry.params);
        let asker = std::mem::replace(&mut entry.asker, Asker::Nobody);
        for export in params {
            // Of these the peer never hears.
            let _: Option<()> = self.release_export(conn, export, 1);
        }
        let reason = format!(
            "call of {bytes} bytes, with {caps} references and {fds} descriptors, and the peer has \
             said since that it takes {}, {} and {}; send it in pieces",
            limit.0, limit.1, limit.2
        );
        self.returned(asker, Err(Exception::failed(reason)));
    }
}

/// A call that the peer answers with an exception: of its own answer, which is not there before it.
fn call_of_nothing(question: QuestionId, sort: Sort) -> Transmit {
    let place = Place::Answer {
        question,
        path: Path::Root,
    };
    let head = CallHead {
        place: &place,
        interface: 0,
        method: 0,
        sort,
        time_left: 0,
    };
    let mut content = Content::default();
    write::begin_call(&mut content, head);
    write::end_call(&mut content, false, &[]);
    write::set_question(&mut content, question);
    let mut message = Transmit::new();
    message.push_content(&mut content, &[]);
    message
}
