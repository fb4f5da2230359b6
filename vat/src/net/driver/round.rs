//! Rounds: input in turn, turns of the vat, then one write per connection.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use captp::ConnId;
use tokio::sync::Notify;

use super::gate::Held;
use super::gather::Rest;
use super::link::Link;
use crate::core::Vat;
use crate::net::{Stream, handoff};

/// Most turns that run before the next call of a peer comes in, and that one step of a round takes.
const TURNS: usize = 32;
/// Most steps of one round: what a peer can make another one wait for.
const STEPS: usize = 256;
/// Steps between two looks at the clock.
const CLOCK: usize = 8;
/// About how long a round may take; a turn that is longer is not interrupted.
const ROUND: Duration = Duration::from_millis(1);
/// Bytes received at once, at most.
const PIECE: usize = 64 << 10;
/// Pieces sent at once, at most.
const SLICES: usize = 8;
/// Buffers kept for the next connections that receive something.
const BUFFERS: usize = 2;

/// What the handles of a driver and its tasks share.
pub(super) struct Inner {
    pub(super) vat: Vat,
    /// There is something to do.
    pub(super) wake: Arc<Notify>,
    pub(super) links: RefCell<BTreeMap<ConnId, Rc<Link>>>,
    /// Connections with input, in turn.
    ready: RefCell<VecDeque<Rc<Link>>>,
    /// Connections with nothing to send but that we are done with something: that leaves in the next
    /// round, together with what the tasks do that this one has woken.
    pub(super) later: RefCell<Vec<ConnId>>,
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Tells those who wait for it that a connection has sent everything, or is gone.
    pub(super) progress: Notify,
    /// How many wait for that.
    pub(super) flushing: Cell<usize>,
    clock: handoff::Clock,
    /// Some of what was said has to wait for the disk.
    pub(super) gated: Cell<bool>,
    pub(super) held: RefCell<Held>,
    /// Whether the processor may be offered to others.
    pub(super) rest: Rest,
    /// Wakes the watch.
    pub(super) alarm: Rc<Notify>,
    /// The watch looks again soon by itself.
    pub(super) watching: Cell<bool>,
}

/// Whether a round left something for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    Some,
}

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Some bytes, and maybe there are more.
    Some,
    /// All that was there.
    All,
    /// More of a message that is not complete.
    Part,
    /// The peer sends no more.
    End,
}

impl Inner {
    pub(super) fn new(vat: Vat, wake: Arc<Notify>) -> Self {
        Self {
            clock: handoff::Clock::of(&vat),
            gated: Cell::new(false),
            held: RefCell::default(),
            rest: Rest::default(),
            vat,
            wake,
            links: RefCell::default(),
            ready: RefCell::default(),
            later: RefCell::default(),
            buffers: RefCell::default(),
            progress: Notify::new(),
            flushing: Cell::new(0),
            alarm: Rc::default(),
            watching: Cell::new(false),
        }
    }

    /// One round.
    pub(super) fn serve(&self) -> Left {
        let begun = self.clock.tick(&self.vat);
        let mut left = Left::Some;
        for step in 1..=STEPS {
            let ran = self.vat.run(TURNS);
            let next = self.ready.borrow_mut().pop_front();
            match next {
                Some(link) => self.feed(link),
                None if ran < TURNS => {
                    left = Left::Nothing;
                    break;
                }
                None => {}
            }
            if (ran == TURNS || step % CLOCK == 0) && begun.elapsed() > ROUND {
                break;
            }
        }
        self.end_closed();
        let sent = match self.vat.passage() {
            None => self.send_all(),
            Some(passage) => self.send_durable(passage),
        };
        self.clock.arm(&self.vat, &self.wake);
        // What was sent made room for calls that had to wait.
        let admits = sent && self.vat.engine(|engine| engine.may_have_output());
        match admits || !self.later.borrow().is_empty() {
            true => Left::Some,
            false => left,
        }
    }

    /// Gives the engine the next call of a connection's input.
    fn feed(&self, link: Rc<Link>) {
        let mut input = link.input.borrow_mut();
        if link.closed.get() {
            input.start = input.end;
        }
        let descriptors = std::mem::take(&mut input.descriptors);
        let bytes = input.buffer.get(input.start..input.end);
        let bytes = bytes.unwrap_or_default();
        let taken = match bytes {
            [] => 0,
            bytes => self
                .vat
                .engine(|engine| engine.handle_bytes(link.conn, bytes, descriptors)),
        };
        input.start = (input.start + taken).min(input.end);
        if !input.is_empty() {
            drop(input);
            return self.ready.borrow_mut().push_back(link);
        }
        self.give_buffer(std::mem::take(&mut input.buffer));
        if self
            .vat
            .engine(|engine| engine.is_receiving_message(link.conn))
        {
            self.rouse_watch();
        }
        if !link.serving.get() {
            link.wake();
        }
    }

    fn end_closed(&self) {
        for (conn, reason) in self.vat.take_closed() {
            tracing::debug!(%conn, err = %reason, "connection closed");
            if let Some(link) = self.links.borrow().get(&conn) {
                link.reason.replace(Some(reason.to_string().into()));
                link.closed.set(true);
                link.wake();
            }
        }
        handoff::answer_dials(&self.vat, &self.wake);
    }

    /// Writes what the turns said. Whether that was anything.
    pub(super) fn send_all(&self) -> bool {
        let mut due = self.later.take();
        let mut any = !due.is_empty();
        due.drain(..).for_each(|conn| self.send_on(conn));
        self.later.replace(due);
        while let Some(conn) = self.vat.engine(|engine| engine.pending_transmit()) {
            if self
                .vat
                .engine(|engine| engine.transmits_endings_only(conn))
            {
                self.later.borrow_mut().push(conn);
                continue;
            }
            any = true;
            self.send_on(conn);
        }
        any
    }

    pub(super) fn send_on(&self, conn: ConnId) {
        let Some(link) = self.links.borrow().get(&conn).cloned() else {
            return;
        };
        if let Poll::Ready(Err(error)) = self.send_from_round(&link) {
            link.failed.replace(Some(error));
            link.wake();
        }
    }

    fn send_from_round(&self, link: &Link) -> Poll<io::Result<()>> {
        let waker = link.waker.borrow();
        let Some(waker) = &*waker else {
            return Poll::Pending; // the task has not run yet; it begins with this
        };
        self.send(link, &mut Context::from_waker(waker))
    }

    /// Writes as much as the transport takes; ready when that is everything.
    pub(super) fn send(&self, link: &Link, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = link.stream.borrow_mut();
        let Some(stream) = &mut *stream else {
            return Poll::Ready(Ok(()));
        };
        let mut free = self.free_bytes(link).unwrap_or(usize::MAX);
        let taken = self.vat.engine(|engine| {
            loop {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let (count, descriptors) =
                    engine.transmit_slices_within(link.conn, free, &mut slices);
                let slices = slices.get(..count).unwrap_or_default();
                if slices.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match stream.poll_send_slices(cx, slices, descriptors) {
                    Poll::Ready(Ok(count)) => {
                        free = free.saturating_sub(count);
                        engine.transmit_advance(link.conn, count);
                    }
                    other => return other.map_ok(|_| ()),
                }
            }
        });
        if taken.is_pending() {
            self.note_free(link);
        }
        let sent = match taken {
            Poll::Ready(Ok(())) => stream.poll_flush(cx),
            other => other,
        };
        link.unsent.set(sent.is_pending());
        match &sent {
            Poll::Pending => self.rouse_watch(),
            Poll::Ready(_) => self.progressed(),
        }
        sent
    }

    /// Receives what is there into a buffer that the connection keeps until it is used up.
    pub(super) fn receive(&self, link: &Rc<Link>, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut stream = link.stream.borrow_mut();
        let Some(stream) = &mut *stream else {
            return Poll::Ready(Ok(Read::End));
        };
        if let Some(received) = self.receive_in_place(link, stream, cx) {
            return received;
        }
        let mut buffer = self.take_buffer();
        let received = stream.poll_recv(cx, &mut buffer);
        match received {
            Poll::Ready(Ok(received)) if received.bytes > 0 => {
                let all = received.bytes < buffer.len() && received.descriptors.is_empty();
                let mut input = link.input.borrow_mut();
                input.buffer = buffer;
                input.start = 0;
                input.end = received.bytes;
                input.descriptors = received.descriptors;
                drop(input);
                self.ready.borrow_mut().push_back(link.clone());
                Poll::Ready(Ok(if all { Read::All } else { Read::Some }))
            }
            other => {
                self.give_buffer(buffer);
                other.map_ok(|_| Read::End)
            }
        }
    }

    /// Receives the rest of a large message where it stays, if one is arriving.
    fn receive_in_place(
        &self,
        link: &Link,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<Read>>> {
        self.vat.engine(|engine| {
            if !engine.is_receiving_message(link.conn) {
                return None;
            }
            let room = engine.receive_room(link.conn);
            let received = room.map(|room| stream.poll_recv(cx, room));
            let received = received.map(|received| {
                received.map_ok(|received| {
                    let (count, descriptors) = (received.bytes, received.descriptors);
                    if count == 0 {
                        return Read::End;
                    }
                    match engine.handle_received(link.conn, count, descriptors) {
                        true => Read::Some,
                        false => Read::Part,
                    }
                })
            });
            // The room may be what was too much on all connections together.
            if engine.may_have_output() {
                self.wake.notify_one();
            }
            received
        })
    }

    fn take_buffer(&self) -> Vec<u8> {
        let kept = self.buffers.borrow_mut().pop();
        kept.unwrap_or_else(|| vec![0; PIECE])
    }

    fn give_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS && !buffer.is_empty() {
            buffers.push(buffer);
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        let links = self.links.borrow();
        self.vat.engine(|engine| {
            links
                .values()
                .all(|link| engine.transmit_head(link.conn).is_none() && !link.unsent.get())
        })
    }

    /// A connection has sent everything, or is gone.
    pub(super) fn progressed(&self) {
        if self.flushing.get() > 0 {
            self.progress.notify_waiters();
        }
    }

    /// The watch has to look at a connection soon.
    pub(super) fn rouse_watch(&self) {
        if !self.watching.replace(true) {
            self.alarm.notify_one();
        }
    }
}

impl Drop for Inner {
    /// Lets the tasks see that the driver is gone.
    fn drop(&mut self) {
        self.wake.notify_one();
        self.alarm.notify_one();
        for link in self.links.get_mut().values() {
            link.wake();
        }
    }
}
