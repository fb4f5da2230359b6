//! What a connection has to send, gathered so that it leaves in as few system calls as possible.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::{Buf as _, Bytes};

use crate::Content;

#[cfg(test)]
mod tests;

/// Bytes on their way to a peer. One per connection, reused: the driver keeps it, lets
/// [`Engine::poll_transmit`](crate::Engine::poll_transmit) fill it, and takes from its
/// [`head`](Self::head) what the transport accepts.
///
/// File descriptors must be passed with the first byte of the run that they head, in a call that
/// carries nothing but this run; a short write is continued without them. [`advance`](Self::advance)
/// keeps account of that.
///
/// Large [shared](crate::Content::shared_data) data is not copied into the buffer: it is sent from
/// where it lies, between what is.
#[derive(Default)]
pub struct Transmit {
    bytes: Vec<u8>,
    /// How many of `bytes` have been sent.
    sent: usize,
    /// What is sent from elsewhere, in between.
    inserts: VecDeque<Insert>,
    /// Bytes of the inserts, and those that stay alive with them.
    inserted: usize,
    holds: usize,
    /// Messages with descriptors that are not fully sent: where each begins and ends.
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    start: usize,
    end: usize,
    fds: Vec<Rc<OwnedFd>>,
}

/// Comes before the byte `at` of the buffer. It belongs to the message before: none begins with one.
#[derive(Debug)]
struct Insert {
    at: usize,
    data: Bytes,
    /// Bytes that stay alive with it.
    holds: usize,
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
        let (end, fds) = self.run();
        let run = match self.inserts.front() {
            Some(insert) if insert.at <= self.sent => &insert.data,
            Some(insert) => self.bytes.get(self.sent..insert.at.min(end))?,
            None => self.bytes.get(self.sent..end)?,
        };
        (!run.is_empty()).then_some((run, fds))
    }

    /// The same in several pieces, of which as many are filled in as there are and as `slices` has
    /// room for: their number, 0 when everything has been sent.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> (usize, &'a [Rc<OwnedFd>]) {
        self.slices_within(usize::MAX, slices)
    }

    /// The same of the next `bytes` alone.
    pub(crate) fn slices_within<'a>(
        &'a self,
        bytes: usize,
        slices: &mut [IoSlice<'a>],
    ) -> (usize, &'a [Rc<OwnedFd>]) {
        if self.is_empty() || bytes == 0 {
            return (0, &[]);
        }
        let (end, fds) = self.run();
        let mut at = self.sent;
        let mut left = bytes;
        let mut inserts = self.inserts.iter().peekable();
        let mut filled = 0;
        for slice in slices {
            let piece: &[u8] = if let Some(insert) = inserts.next_if(|insert| insert.at <= at) {
                &insert.data
            } else {
                let stop = inserts.peek().map_or(end, |insert| insert.at.min(end));
                let run = self.bytes.get(at..stop).unwrap_or_default();
                at = stop;
                run
            };
            let piece = piece.get(..left).unwrap_or(piece);
            if piece.is_empty() {
                break;
            }
            *slice = IoSlice::new(piece);
            left -= piece.len();
            filled += 1;
        }
        (filled, fds)
    }

    /// Where the run that comes next ends in the buffer, and its descriptors.
    fn run(&self) -> (usize, &[Rc<OwnedFd>]) {
        match self.marks.front() {
            Some(mark) if mark.start > self.sent => (mark.start, &[]),
            // The end of the message before is still to be sent.
            Some(_) if self.next_insert().is_some() => (self.sent, &[]),
            Some(mark) => (mark.end, &mark.fds),
            None => (self.bytes.len(), &[]),
        }
    }

    /// What comes next, if it is not in the buffer.
    fn next_insert(&self) -> Option<&Insert> {
        self.inserts.front().filter(|insert| insert.at <= self.sent)
    }

    /// How many file descriptors are still to be sent.
    pub(crate) fn descriptors(&self) -> usize {
        self.marks.iter().map(|mark| mark.fds.len()).sum()
    }

    /// Says that the transport took `count` bytes of the head, and its descriptors if `count` is
    /// not 0.
    pub fn advance(&mut self, count: usize) {
        let mut left = count;
        while left > 0 && !self.is_empty() {
            left -= self.advance_piece(left);
        }
        if let Some(mark) = self.marks.front_mut() {
            if self.sent >= mark.end {
                self.marks.pop_front();
            } else if self.sent > mark.start {
                mark.fds.clear();
            }
        }
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
            self.marks.clear();
        } else if self.sent > KEEP_BYTES && self.sent > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// At most `most` bytes of the first piece have been sent; how many it were.
    fn advance_piece(&mut self, most: usize) -> usize {
        if let Some(insert) = self.inserts.front_mut()
            && insert.at <= self.sent
        {
            let count = most.min(insert.data.len());
            insert.data.advance(count);
            self.inserted -= count;
            let sent = self.inserts.pop_front_if(|insert| insert.data.is_empty());
            self.holds -= sent.map_or(0, |insert| insert.holds);
            return count;
        }
        let stop = self
            .inserts
            .front()
            .map_or(self.bytes.len(), |insert| insert.at);
        let count = most.min(stop.saturating_sub(self.sent));
        self.sent += count;
        count
    }

    /// Gives the room of what was sent back, so that a transport that is never quite done does not
    /// make the buffer grow for ever.
    fn compact(&mut self) {
        self.bytes.drain(..self.sent);
        for mark in &mut self.marks {
            mark.start = mark.start.saturating_sub(self.sent);
            mark.end -= self.sent;
        }
        for insert in &mut self.inserts {
            insert.at = insert.at.saturating_sub(self.sent);
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
        let start = to.bytes.len();
        let mut left = bytes;
        while left > 0 && !self.is_empty() {
            let count = if let Some(insert) = self.next_insert() {
                to.insert(insert.data.clone(), insert.holds);
                insert.data.len()
            } else {
                let stop = self.inserts.front().map_or(usize::MAX, |next| next.at);
                let stop = stop.min(self.sent.saturating_add(left));
                let stop = stop.min(self.bytes.len());
                let run = self.bytes.get(self.sent..stop).unwrap_or_default();
                to.bytes.extend_from_slice(run);
                run.len()
            };
            self.advance(count);
            left = left.saturating_sub(count);
        }
        to.mark(start, &fds.unwrap_or_default());
    }

    fn insert(&mut self, data: Bytes, holds: usize) {
        self.inserted += data.len();
        self.holds += holds;
        let at = self.bytes.len();
        self.inserts.push_back(Insert { at, data, holds });
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
        self.bytes.len() - self.sent + self.inserted
    }

    /// Bytes that stay alive until those are sent.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() - self.sent + self.holds
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
        self.inserts.clear();
        self.inserted = 0;
        self.holds = 0;
        self.marks.clear();
    }

    /// Forgets what comes behind the next `keep` bytes, which end with a message.
    pub(crate) fn truncate(&mut self, keep: usize) {
        let (mut at, mut left, mut kept) = (self.sent, keep, 0);
        for insert in &self.inserts {
            let run = insert.at.saturating_sub(at);
            if left < run + insert.data.len() {
                break;
            }
            left -= run + insert.data.len();
            at = at.max(insert.at);
            kept += 1;
        }
        for dropped in self.inserts.drain(kept..) {
            self.inserted -= dropped.data.len();
            self.holds -= dropped.holds;
        }
        let end = at.saturating_add(left).min(self.bytes.len());
        self.bytes.truncate(end);
        self.marks.retain(|mark| mark.start < end);
    }

    /// Takes the unsent bytes, for a transport that passes no descriptors.
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = if !self.inserts.is_empty() {
            let mut bytes = Vec::with_capacity(self.len());
            let mut slices = vec![IoSlice::new(&[]); 2 * self.inserts.len() + 1];
            self.marks.clear();
            let (count, _) = self.slices(&mut slices);
            slices
                .iter()
                .take(count)
                .for_each(|slice| bytes.extend_from_slice(slice));
            bytes
        } else if self.sent == 0 {
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
        if self.is_empty() {
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
        self.inserted += other.inserted;
        self.holds += other.holds;
        self.inserts
            .extend(other.inserts.drain(..).map(|insert| Insert {
                at: insert.at + base,
                ..insert
            }));
        other.clear();
        true
    }

    /// Adds one message, given by its segments.
    pub(crate) fn push(&mut self, segments: &[&[u8]], fds: &[Rc<OwnedFd>]) {
        let start = self.bytes.len();
        let total: usize = segments.iter().map(|segment| segment.len()).sum();
        self.bytes.reserve(total + 4 + 4 * segments.len() + 4);
        self.put_header(segments.iter().map(|segment| segment.len()));
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

    /// Changes the word behind which there are so many bytes, none of them from elsewhere, if it has
    /// not been sent.
    pub(crate) fn patch_last(&mut self, behind: usize, change: impl FnOnce(u64) -> u64) -> bool {
        let end = self.bytes.len().checked_sub(behind);
        let start = end.and_then(|end| end.checked_sub(8)).unwrap_or(0);
        if start < self.sent || self.inserts.back().is_some_and(|last| last.at > start) {
            return false;
        }
        let word = self.bytes.get_mut(start..);
        let Some(word) = word.and_then(|rest| rest.first_chunk_mut()) else {
            return false;
        };
        *word = change(u64::from_le_bytes(*word)).to_le_bytes();
        true
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

    /// Adds one message that is complete, with what lies in segments of its own.
    pub(crate) fn push_content(&mut self, content: &mut Content, fds: &[Rc<OwnedFd>]) {
        if content.apart().is_empty() {
            return self.push_whole(content.message(), fds);
        }
        let start = self.bytes.len();
        let apart = content.take_apart();
        let message = content.message();
        // Its own segment table is one for this segment alone.
        let main = message.get(8..).unwrap_or_default();
        let sizes = apart.iter().map(|apart| apart.segment_len());
        self.put_header(std::iter::once(main.len()).chain(sizes));
        self.bytes.extend_from_slice(main);
        for apart in apart {
            self.bytes.extend_from_slice(&apart.landing_pad());
            let padding = apart.padding();
            self.insert(apart.data, apart.holds);
            self.bytes.extend_from_slice(padding);
        }
        self.mark(start, fds);
    }

    /// The segment table: count less one, sizes in words, padded to a whole word.
    fn put_header(&mut self, sizes: impl Iterator<Item = usize> + Clone) {
        let count = sizes.clone().count();
        let less_one = u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(1);
        self.bytes.extend_from_slice(&less_one.to_le_bytes());
        for size in sizes {
            let words = u32::try_from(size / 8).unwrap_or(u32::MAX);
            self.bytes.extend_from_slice(&words.to_le_bytes());
        }
        if count.is_multiple_of(2) {
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
