//! What the transport received: cut into messages, decoded, given to who handles it.

use std::os::fd::OwnedFd;

use super::{Engine, Output};
use crate::frame::{Frame, Message};
use crate::message::encode::{self, Built};
use crate::message::{Envelope, Unimplemented, decode, quick};
use crate::payload::Place;
use crate::{CloseReason, ConnId, Host, PeerMisbehaved};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

/// Descriptors of one message; each is taken once.
pub(super) type Fds = Vec<Option<OwnedFd>>;

impl<H: Host> Engine<H> {
    /// What the transport received; returns how many of the bytes were taken.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) -> usize {
        let plain = self
            .connections
            .get(conn)
            .is_none_or(|row| row.fds.is_empty() && row.fds_behind.is_empty());
        let result = if fds.is_empty() && plain {
            self.receive_plain(conn, bytes)
        } else {
            self.receive_with_fds(conn, bytes, fds)
                .map(|()| bytes.len())
        };
        result.unwrap_or_else(|fault| {
            self.abort(conn, fault);
            bytes.len()
        })
    }

    /// Goes on until the vat has something to do. Answers to calls of its own, and what nobody holds
    /// any more, are gathered: only before the next call comes in must it have had its say.
    fn receive_plain(&mut self, conn: ConnId, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes;
        while let Some(row) = self.connections.get_mut(conn) {
            let before = self.outputs.len();
            let decoded = row.whole_segment(&mut rest);
            if let Some((segment, envelope, content)) = decoded {
                let frame = |at| Frame::of_content(segment, at);
                self.on_frequent(conn, envelope, content, frame)?;
            } else {
                let frame = row.next_frame(&mut rest)?;
                self.weigh(conn);
                let Some(frame) = frame else {
                    return Ok(bytes.len());
                };
                self.on_frame(conn, frame, Vec::new())?;
            }
            self.settle();
            if self.outputs.is_empty() || self.connections.get(conn).is_none() {
                continue;
            }
            let mut new = self.outputs.range(before.min(self.outputs.len())..);
            let gathers =
                |output: &Output<H>| matches!(output, Output::Returned { .. } | Output::Dropped(_));
            if !new.all(gathers) || self.outputs.len() >= ANSWERS {
                return Ok(bytes.len() - rest.len());
            }
        }
        // What a closed connection still receives is thrown away.
        Ok(bytes.len())
    }

    /// What the transport wrote where it was told to; whether that completed a message.
    pub(super) fn received_in_room(
        &mut self,
        conn: ConnId,
        count: usize,
        fds: Vec<OwnedFd>,
    ) -> bool {
        let Some(row) = self.connections.get_mut(conn) else {
            return true;
        };
        if !fds.is_empty() {
            // No message begins there. But one may begin behind, in what was sent together with this
            // and had no room: with Unix sockets, descriptors come with the first bytes of what was
            // sent together.
            let filled = count > 0 && count == row.framer.room_len();
            if !row.descriptors || !filled || !row.fds_behind.is_empty() {
                self.abort(conn, PeerMisbehaved::UnexpectedFds);
                return true;
            }
            row.fds_behind = fds;
        }
        let Some(frame) = row.framer.arrived_in_room(count) else {
            return false;
        };
        let behind = std::mem::take(&mut row.fds_behind);
        let fds = std::mem::replace(&mut row.fds, behind);
        self.weigh(conn);
        if let Err(fault) = self.on_frame(conn, frame, fds) {
            self.abort(conn, fault);
        }
        true
    }

    /// Descriptors belong to the last message whose first byte lies in these bytes: which one that
    /// is shows when all of them are cut. Those that came with the end of a message before belong to
    /// the first one that begins here.
    fn receive_with_fds(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        if !row.descriptors && !fds.is_empty() {
            return Err(PeerMisbehaved::UnexpectedFds);
        }
        let began_before = !row.framer.is_between();
        let mut held = std::mem::take(&mut row.fds);
        let mut frames: Vec<(Frame, Vec<OwnedFd>)> = Vec::new();
        let mut rest = bytes;
        let fault = loop {
            match row.next_frame(&mut rest) {
                Ok(Some(frame)) => {
                    let behind = std::mem::take(&mut row.fds_behind);
                    frames.push((frame, std::mem::replace(&mut held, behind)));
                }
                Ok(None) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let tail = !row.framer.is_between();
        let tail_began_here = tail && !(began_before && frames.is_empty());
        let last_began_here = frames.len() > usize::from(began_before);
        row.fds = held;
        let owner = match frames.last_mut() {
            _ if tail_began_here => Some(&mut row.fds),
            Some((_, owned)) if last_began_here => Some(owned),
            _ => None,
        };
        let mut fault = fault;
        if !fds.is_empty() {
            match owner.filter(|owned| owned.is_empty()) {
                Some(owned) => *owned = fds,
                None => fault = fault.or(Some(PeerMisbehaved::UnexpectedFds)),
            }
        }
        self.weigh(conn);
        for (frame, fds) in frames {
            self.on_frame(conn, frame, fds)?;
            self.settle();
        }
        fault.map_or(Ok(()), Err)
    }

    /// One complete message.
    pub(super) fn on_frame(&mut self, conn: ConnId, frame: Frame, fds: Vec<OwnedFd>) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        if fds.is_empty()
            && !row.awaits_hello
            && let Some(segment) = frame.single()
            && let Some((envelope, content)) = quick::decode(segment, &row.limits)
        {
            let focused = |at| {
                let mut frame = frame;
                frame.focus(at);
                frame
            };
            return self.on_frequent(conn, envelope, content, focused);
        }
        row.received += 1;
        row.heard = self.now;
        let message = frame.into_message(row.limits.traversal_factor, row.limits.nesting);
        if fds.len() > row.limits.fds_per_message {
            return Err(PeerMisbehaved::TooManyFds(fds.len()));
        }
        if row.awaits_hello {
            row.awaits_hello = false;
            return self.on_hello(conn, &message);
        }
        let envelope = decode::decode(&message, &row.limits)?;
        tracing::trace!(%conn, ?envelope, "received");
        let mut fds: Fds = fds.into_iter().map(Some).collect();
        self.on_envelope(conn, envelope, message, None, &mut fds)
    }

    /// One of the frequent messages; `frame` makes its words, of which not all have need, with what
    /// stands at a word as the root.
    fn on_frequent(
        &mut self,
        conn: ConnId,
        envelope: Envelope,
        content: Option<usize>,
        frame: impl FnOnce(usize) -> Frame,
    ) -> Result<()> {
        let Some(row) = self.connections.get_mut(conn) else {
            return Ok(());
        };
        row.received += 1;
        row.heard = self.now;
        tracing::trace!(%conn, ?envelope, "received");
        let words = content.map_or_else(Frame::default, frame);
        let nesting = row.limits.nesting.saturating_sub(quick::CONTENT_DEPTH);
        let message = words.into_message(row.limits.traversal_factor, nesting);
        self.on_envelope(conn, envelope, message, Some(Place::Root), &mut Vec::new())
    }

    /// What a message asks of us. `content` is where its payload lies, if not where its kind has it.
    fn on_envelope(
        &mut self,
        conn: ConnId,
        envelope: Envelope,
        message: Message,
        content: Option<Place>,
        fds: &mut Fds,
    ) -> Result<()> {
        match envelope {
            Envelope::Unimplemented(what) => self.on_unimplemented(conn, what),
            Envelope::Abort(reason) => {
                self.teardown(conn, CloseReason::PeerAborted(reason));
                Ok(())
            }
            Envelope::Bootstrap { answer } => self.on_bootstrap(conn, answer),
            Envelope::Call(call) => {
                let at = content.unwrap_or(Place::Call);
                self.on_call(conn, &call, (message, at), fds)
            }
            Envelope::Return(ret) => {
                let at = content.unwrap_or(Place::Return);
                self.on_return(conn, ret, (message, at), fds)
            }
            Envelope::Finish {
                answer,
                release_results,
            } => self.on_finish(conn, answer, release_results),
            Envelope::Resolve { import, to } => self.on_resolve(conn, import, to, fds),
            Envelope::Release { export, count } => self.on_release(conn, export, count),
            Envelope::Disembargo { target, context } => {
                self.on_disembargo(conn, &target, &context, &message)
            }
            Envelope::Provide {
                answer,
                target,
                recipient,
            } => self.on_provide(conn, answer, &target, &recipient, &message),
            Envelope::Accept {
                answer,
                claim,
                embargo,
            } => self.on_accept(conn, answer, &claim, embargo, &message),
            Envelope::Unknown => self.echo(conn, &message),
        }
    }

    fn on_unimplemented(&mut self, conn: ConnId, what: Unimplemented) -> Result<()> {
        match what {
            Unimplemented::Resolve(Some(export)) => self.on_release(conn, export, 1),
            Unimplemented::Handoff(question) => {
                self.handoff_refused(conn, question);
                Ok(())
            }
            Unimplemented::Resolve(None) | Unimplemented::Optional => Ok(()),
            Unimplemented::Required(what) => Err(PeerMisbehaved::RequiredUnimplemented(what)),
        }
    }

    /// Sends a message back that we do not speak.
    pub(super) fn echo(&mut self, conn: ConnId, original: &Message) -> Result<()> {
        let bytes = original.get_segments().bytes();
        let words = u32::try_from(bytes / 8 + 4).unwrap_or(u32::MAX);
        let mut built = encode::new_message(words);
        copy_unimplemented(&mut built, original)?;
        self.transmit(conn, &built, &[]);
        Ok(())
    }
}

/// Copies a whole message into an Unimplemented.
fn copy_unimplemented(built: &mut Built, original: &Message) -> Result<()> {
    use crate::captp_capnp::message;
    use capnp::traits::{Imbue as _, ImbueMut as _};

    let table = crate::hook::index_table(ECHO_CAPS);
    let mut copied = capnp::private::layout::CapTable::new();
    let mut from: message::Reader<'_> = original.get_root()?;
    from.imbue(&table);
    let mut root = built.init_root::<message::Builder<'_>>();
    root.imbue_mut(&mut copied);
    root.set_unimplemented(from)?;
    Ok(())
}

/// Most answers that are gathered before the vat gets them. An allocator keeps about that many freed
/// blocks of one size at hand, so that each takes the room of an earlier one.
const ANSWERS: usize = 7;

/// Capability pointers that an echoed message may hold; the numbers mean nothing to the peer.
const ECHO_CAPS: usize = 64;
