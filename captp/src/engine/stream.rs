//! Streams of calls: how much of them is under way on a reference, and who waits for room.
//!
//! rpc.capnp has no word for it: a streaming call is a call like any other. Whoever makes many of
//! them should not fill the queues of all vats on the way, so that the engine counts their bytes
//! from the moment when they are sent until they are answered, and says when there is room in the
//! window. Nothing is held back: a host that does not ask is not stopped.
//!
//! A stream belongs to a reference. When that becomes another one the stream goes with it, unless
//! that one has a stream of its own; then the old one runs dry by itself, and who waits there waits
//! for the other.

use std::collections::VecDeque;

use super::{Engine, Output, Pending};
use crate::{Host, NodeId};

/// What is under way on one reference.
pub(crate) struct Stream<H: Host> {
    /// Bytes of calls without an answer. Never 0: then the stream ends.
    bytes: usize,
    /// What waits for room.
    waiting: VecDeque<H::Job>,
    /// The reference; not counted, and may be gone.
    node: NodeId,
}

/// Bytes of one call that count in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    stream: u32,
    bytes: usize,
}

/// What a call counts as a least, and while it waits for a promise with its parameters unwritten.
const LEAST_SHARE: usize = 64;

impl<H: Host> Engine<H> {
    /// Whether the window of a reference has room for another streaming call.
    #[must_use]
    pub fn has_stream_room(&self, node: NodeId) -> bool {
        self.stream_bytes(node) < self.config.stream_window
    }

    /// Bytes of streaming calls on a reference that were sent and have no answer yet. Calls to
    /// objects of this vat are not counted once they are delivered.
    #[must_use]
    pub fn stream_bytes(&self, node: NodeId) -> usize {
        let node = self.nodes.get(self.nodes.terminal(node));
        let stream = node.and_then(|node| self.streams.get(node.stream()?));
        stream.map_or(0, |stream| stream.bytes)
    }

    /// Gives the job back with [`Output::Run`] once the window of the reference has
    /// [room](Self::has_stream_room), or once the reference is broken or gone. A streaming call that
    /// is sent when there is room may exceed the window.
    pub fn when_stream_room(&mut self, node: NodeId, job: H::Job) {
        let at = self.nodes.get(self.nodes.terminal(node));
        let id = at.and_then(|node| node.stream());
        let window = self.config.stream_window;
        match id.and_then(|id| self.streams.get_mut(id)) {
            Some(stream) if stream.bytes >= window => stream.waiting.push_back(job),
            _ => self.outputs.push_back(Output::Run(job)),
        }
    }

    /// Counts a streaming call on a node.
    pub(super) fn begin_share(&mut self, at: NodeId, bytes: usize) -> Share {
        let bytes = bytes.max(LEAST_SHARE);
        let known = self.nodes.get(at).and_then(|node| node.stream());
        if let Some(id) = known
            && let Some(stream) = self.streams.get_mut(id)
        {
            stream.bytes = stream.bytes.saturating_add(bytes);
            return Share { stream: id, bytes };
        }
        let id = self.streams.insert(Stream {
            bytes,
            waiting: VecDeque::new(),
            node: at,
        });
        if let Some(node) = self.nodes.get_mut(at) {
            node.set_stream(Some(id));
        }
        Share { stream: id, bytes }
    }

    /// The call is answered, or will never be.
    pub(super) fn end_share(&mut self, share: Option<Share>) {
        let Some(Share { stream: id, bytes }) = share else {
            return;
        };
        let window = self.config.stream_window;
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        stream.bytes = stream.bytes.saturating_sub(bytes);
        if stream.bytes < window {
            let jobs = stream.waiting.drain(..).map(Output::Run);
            self.outputs.extend(jobs);
        }
        if stream.bytes > 0 {
            return;
        }
        let node = stream.node;
        self.streams.remove(id);
        if let Some(node) = self.nodes.get_mut(node)
            && node.stream() == Some(id)
        {
            node.set_stream(None);
        }
    }

    /// A reference has become another one.
    pub(super) fn move_stream(&mut self, from: NodeId, to: NodeId) {
        let Some(id) = self.nodes.get_mut(from).and_then(|node| {
            let id = node.stream();
            node.set_stream(None);
            id
        }) else {
            return;
        };
        let free = self
            .nodes
            .get(to)
            .is_some_and(|node| node.stream().is_none());
        if !free {
            // What counts from now on is the other one's window.
            let stream = self.streams.get_mut(id);
            let waiting = stream.map(|stream| std::mem::take(&mut stream.waiting));
            for job in waiting.into_iter().flatten() {
                self.when_stream_room(to, job);
            }
            return;
        }
        if let (Some(node), Some(stream)) = (self.nodes.get_mut(to), self.streams.get_mut(id)) {
            node.set_stream(Some(id));
            stream.node = to;
        }
    }

    /// What waits in the queue of a promise: a streaming call counts there as well.
    pub(super) fn counted(&mut self, at: NodeId, item: Pending<H>) -> Pending<H> {
        use crate::LocalCall as _;
        match item {
            Pending::Local(call) if call.is_streaming() => {
                let bytes = usize::try_from(call.size_hint()).unwrap_or(usize::MAX);
                let share = self.begin_share(at, bytes.saturating_mul(8));
                Pending::Streamed(call, share)
            }
            item => item,
        }
    }
}
