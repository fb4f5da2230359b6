//! What a connection has to send, gathered so that it leaves in as few system calls as possible.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Bytes on their way to a peer. One per connection, reused: the driver keeps it, lets
/// [`Engine::poll_transmit`](crate::Engine::poll_transmit) fill it, and takes from its
/// [`head`](Self::head) what the transport accepts.
///
/// File descriptors must be passed with the first byte of the run that they head, in a call that
/// carries nothing but this run; a short write is continued without them. [`advance`](Self::advance)
/// keeps account of that.
#[derive(Default)]
pub struct Transmit {
    bytes: Vec<u8>,
    /// How many bytes have been sent.
    sent: usize,
    /// Messages with descriptors that are not fully sent: where each begins and ends.
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    start: usize,
    end: usize,
    fds: Vec<Rc<OwnedFd>>,
}

impl Transmit {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next run of bytes, and the file descriptors that go with its first byte. `None` when
    /// everything has been sent.
    #[must_use]
    pub fn head(&self) -> Option<(&[u8], &[Rc<OwnedFd>])> {
        let (end, fds): (usize, &[Rc<OwnedFd>]) = match self.marks.front() {
            Some(mark) if mark.start > self.sent => (mark.start, &[]),
            Some(mark) => (mark.end, &mark.fds),
            None => (self.bytes.len(), &[]),
        };
        let run = self.bytes.get(self.sent..end)?;
        (!run.is_empty()).then_some((run, fds))
    }

    /// Says that the transport took `count` bytes of the head, and its descriptors if `count` is
    /// not 0.
    pub fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if let Some(mark) = self.marks.front_mut() {
            if self.sent >= mark.end {
                self.marks.pop_front();
            } else if self.sent > mark.start {
                mark.fds.clear();
            }
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
            self.marks.clear();
        } else if self.sent > KEEP_BYTES && self.sent > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Gives the room of what was sent back, so that a transport that is never quite done does not
    /// make the buffer grow for ever.
    fn compact(&mut self) {
        self.bytes.drain(..self.sent);
        for mark in &mut self.marks {
            mark.start = mark.start.saturating_sub(self.sent);
            mark.end -= self.sent;
        }
        self.sent = 0;
    }

    /// Adds messages that are complete already, with the file descriptors that belong to the first
    /// of them.
    pub fn queue(&mut self, messages: &[u8], fds: &[Rc<OwnedFd>]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(messages);
        self.mark(start, fds);
    }

    /// Moves the first message, of that many bytes, to another one, with its descriptors.
    pub(crate) fn move_message(&mut self, bytes: usize, to: &mut Self) {
        let here = |mark: &mut Mark| mark.start == self.sent;
        let fds = self.marks.pop_front_if(here).map(|mark| mark.fds);
        let end = self.sent.saturating_add(bytes);
        let message = self.bytes.get(self.sent..end).unwrap_or_default();
        to.queue(message, &fds.unwrap_or_default());
        self.advance(bytes);
    }

    /// The room for bytes, if there is any worth keeping and nothing is in it.
    pub(crate) fn take_room(&mut self) -> Option<Vec<u8>> {
        let worth = self.bytes.is_empty() && self.bytes.capacity() > IDLE_BYTES;
        worth.then(|| std::mem::take(&mut self.bytes))
    }

    /// Room for bytes, if it is more than there is already.
    pub(crate) fn give_room(&mut self, room: Vec<u8>) {
        if self.bytes.is_empty() && self.bytes.capacity() < room.capacity() {
            self.bytes = room;
        }
    }

    /// Bytes not yet sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether everything has been sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything, sent or not. A large buffer is given back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.sent = 0;
        self.marks.clear();
    }

    /// Takes the unsent bytes, for a transport that passes no descriptors.
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = if self.sent == 0 {
            std::mem::take(&mut self.bytes)
        } else {
            self.bytes.split_off(self.sent)
        };
        self.clear();
        bytes
    }

    /// Moves everything from `other`, of which nothing may have been sent yet, to the end.
    pub(crate) fn append(&mut self, other: &mut Self) -> bool {
        if other.is_empty() {
            return false;
        }
        if self.bytes.is_empty() {
            std::mem::swap(self, other);
            return true;
        }
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.marks.extend(other.marks.drain(..).map(|mark| Mark {
            start: mark.start + base,
            end: mark.end + base,
            fds: mark.fds,
        }));
        other.clear();
        true
    }

    /// Adds one message, given by its segments.
    pub(crate) fn push(&mut self, segments: &[&[u8]], fds: &[Rc<OwnedFd>]) {
        let start = self.bytes.len();
        let total: usize = segments.iter().map(|segment| segment.len()).sum();
        self.bytes.reserve(total + 4 + 4 * segments.len() + 4);
        self.put_header(segments);
        for segment in segments {
            self.bytes.extend_from_slice(segment);
        }
        self.mark(start, fds);
    }

    fn mark(&mut self, start: usize, fds: &[Rc<OwnedFd>]) {
        if !fds.is_empty() {
            self.marks.push_back(Mark {
                start,
                end: self.bytes.len(),
                fds: fds.to_vec(),
            });
        }
    }

    /// Adds one message that `write` writes, its segment table included.
    pub(crate) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
    }

    /// Adds one message that is complete, its segment table included. A large one is not copied if
    /// nothing is before it: `message` gets other room.
    pub(crate) fn push_whole(&mut self, message: &mut Vec<u8>, fds: &[Rc<OwnedFd>]) {
        let start = self.bytes.len();
        if start == 0 && message.len() > LARGE {
            std::mem::swap(&mut self.bytes, message);
        } else {
            self.bytes.extend_from_slice(message);
        }
        self.mark(start, fds);
    }

    /// The segment table: count less one, sizes in words, padded to a whole word.
    fn put_header(&mut self, segments: &[&[u8]]) {
        let count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        self.bytes
            .extend_from_slice(&count.saturating_sub(1).to_le_bytes());
        for segment in segments {
            let words = u32::try_from(segment.len() / 8).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&words.to_le_bytes());
        }
        if segments.len().is_multiple_of(2) {
            self.bytes.extend_from_slice(&[0; 4]);
        }
    }
}

impl std::fmt::Debug for Transmit {
    /// Shows how much there is, never what: messages may contain secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transmit({} bytes)", self.len())
    }
}

/// Most capacity that a connection keeps while it has nothing to send.
const IDLE_BYTES: usize = 512;
/// Capacity that an emptied buffer keeps.
pub(crate) const KEEP_BYTES: usize = 64 << 10;
/// From this size on, a message's room is taken over rather than its bytes copied.
const LARGE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> Rc<OwnedFd> {
        let (one, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Rc::new(one.into())
    }

    #[test]
    fn a_message_with_descriptors_is_a_run_of_its_own() {
        let mut transmit = Transmit::new();
        transmit.push(&[&[1; 8]], &[]);
        transmit.push(&[&[2; 8]], &[fd()]);
        transmit.push(&[&[3; 8]], &[]);
        let (run, fds) = transmit.head().unwrap();
        assert_eq!((run.len(), fds.len()), (16, 0));
        transmit.advance(16);
        let (run, fds) = transmit.head().unwrap();
        assert_eq!((run.len(), fds.len()), (16, 1));
        transmit.advance(3);
        let (run, fds) = transmit.head().unwrap();
        assert_eq!(
            (run.len(), fds.len()),
            (13, 0),
            "a short write is continued without them"
        );
        transmit.advance(13);
        assert_eq!(transmit.head().unwrap().0.len(), 16);
        transmit.advance(16);
        assert!(transmit.is_empty());
        assert!(transmit.head().is_none());
    }

    #[test]
    fn a_transport_that_is_never_quite_done_does_not_make_the_buffer_grow() {
        let mut transmit = Transmit::new();
        let content = [7; 8 << 10];
        transmit.push(&[&content], &[]);
        for round in 0..200 {
            let mut more = Transmit::new();
            more.push(
                &[&content],
                if round % 9 == 0 {
                    vec![fd()]
                } else {
                    Vec::new()
                }
                .as_slice(),
            );
            assert!(transmit.append(&mut more));
            let mut due = 8 + (8 << 10);
            while due > 0 {
                let (run, _) = transmit.head().unwrap();
                let count = run.len().min(due).min(5_000);
                transmit.advance(count);
                due -= count;
            }
            assert_eq!(transmit.len(), 8 + (8 << 10));
        }
        assert!(
            transmit.bytes.len() < 3 * KEEP_BYTES,
            "{}",
            transmit.bytes.len()
        );
        assert_eq!(transmit.head().unwrap().0.first(), Some(&0));
    }

    #[test]
    fn the_header_gives_the_sizes_of_all_segments() {
        let mut transmit = Transmit::new();
        transmit.push(&[&[0; 16], &[0; 8]], &[]);
        let bytes = transmit.take_bytes();
        assert_eq!(
            bytes[..16],
            [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(bytes.len(), 16 + 24);
    }
}
