//! Cuts the bytes of a stream into messages.
//!
//! A message is a segment table (count less one, then each size in words, padded to a word) and the
//! segments. Memory is taken as bytes arrive, never by a length that a peer declared: at most twice
//! what has arrived and 64 KiB.

use capnp::Word;

use crate::frame::Frame;
use crate::{Limits, PeerMisbehaved};

/// Most memory taken ahead of what has arrived, in words.
const STEP_WORDS: usize = (64 << 10) / 8;

/// From so many missing bytes on, the rest of a message is received where it stays.
const DIRECT: usize = 16 << 10;

/// State between two pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    state: State,
}

#[derive(Debug)]
enum State {
    /// 1. In the segment table; what has arrived of it.
    Table(Vec<u8>),
    /// 2. In the segments.
    Body(Body),
    /// 3. After a fault: nothing can be read any more.
    Lost,
}

struct Body {
    words: Vec<Word>,
    /// Bytes of `words` that have arrived.
    filled: usize,
    /// Words of the whole message.
    total: usize,
    ends: Vec<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self::Table(Vec::new())
    }
}

impl Framer {
    /// The next message that `bytes` completes; `bytes` is advanced. `None` if it ends inside of
    /// one.
    pub(crate) fn next(
        &mut self,
        bytes: &mut &[u8],
        limits: &Limits,
    ) -> Result<Option<Frame>, PeerMisbehaved> {
        loop {
            match &mut self.state {
                State::Table(table) => {
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    match read_table(table, bytes, limits) {
                        Ok(Some(body)) => self.state = State::Body(body),
                        Ok(None) => return Ok(None),
                        Err(fault) => {
                            self.state = State::Lost;
                            return Err(fault);
                        }
                    }
                }
                State::Body(body) => {
                    body.fill(bytes);
                    return Ok(self.complete());
                }
                State::Lost => {
                    *bytes = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Room for what arrives next of a large message, where it can stay. `None` if little or nothing
    /// is missing of one: then read what is there, and let [`next`](Self::next) cut it.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        let State::Body(body) = &mut self.state else {
            return None;
        };
        if body.total * 8 - body.filled < DIRECT {
            return None;
        }
        if body.filled == body.words.len() * 8 {
            body.grow(0);
        }
        Word::words_to_bytes_mut(&mut body.words).get_mut(body.filled..)
    }

    /// How much has room there.
    pub(crate) fn room_len(&mut self) -> usize {
        self.room().map_or(0, |room| room.len())
    }

    /// Says that so many bytes have arrived in the [room](Self::room); the message, if they complete
    /// it.
    pub(crate) fn arrived_in_room(&mut self, count: usize) -> Option<Frame> {
        let State::Body(body) = &mut self.state else {
            return None;
        };
        body.filled = (body.filled + count).min(body.words.len() * 8);
        self.complete()
    }

    /// The message whose body is all there.
    fn complete(&mut self) -> Option<Frame> {
        let State::Body(body) = &mut self.state else {
            return None;
        };
        if body.filled < body.total * 8 {
            return None;
        }
        let frame = Frame::new(
            std::mem::take(&mut body.words),
            std::mem::take(&mut body.ends),
        );
        self.state = State::default();
        Some(frame)
    }

    /// Bytes that have arrived of a message that is not complete; `None` between two messages.
    pub(crate) fn arrived(&self) -> Option<usize> {
        match &self.state {
            State::Table(table) if table.is_empty() => None,
            State::Table(table) => Some(table.len()),
            State::Body(body) => Some(body.filled),
            State::Lost => None,
        }
    }

    /// Bytes of memory that an incomplete message takes, with the room for what arrives next.
    pub(crate) fn weight(&self) -> usize {
        match &self.state {
            State::Table(table) => table.capacity(),
            State::Body(body) => body.words.capacity() * 8 + body.ends.capacity() * 4,
            State::Lost => 0,
        }
    }

    /// Whether the stream stands between two messages.
    pub(crate) fn is_between(&self) -> bool {
        matches!(&self.state, State::Table(table) if table.is_empty())
    }
}

/// The most frequent case by far, between two messages: one of one segment that is all there. The
/// segment, and what comes behind.
pub(crate) fn whole<'b>(bytes: &'b [u8], limits: &Limits) -> Option<(&'b [u8], &'b [u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    let head = u64::from_le_bytes(*head);
    let size = usize::try_from(head >> 32).ok()?.checked_mul(8)?;
    if head & 0xffff_ffff != 0 || size > limits.message_bytes {
        return None;
    }
    rest.split_at_checked(size)
}

/// Reads the segment table, which may have begun in an earlier piece.
fn read_table(
    table: &mut Vec<u8>,
    bytes: &mut &[u8],
    limits: &Limits,
) -> Result<Option<Body>, PeerMisbehaved> {
    // Mostly there is one segment, and the table comes in one piece.
    if table.is_empty()
        && let Some((head, rest)) = bytes.split_first_chunk::<8>()
        && let [0, 0, 0, 0, a, b, c, d] = *head
    {
        *bytes = rest;
        return Body::new(&[u32::from_le_bytes([a, b, c, d])], limits).map(Some);
    }
    if !take_until(table, 4, bytes) {
        return Ok(None);
    }
    let count = word32(table, 0).wrapping_add(1);
    if count == 0 || count as usize > limits.segments {
        return Err(PeerMisbehaved::TooManySegments(count.wrapping_sub(1)));
    }
    let length = (4 + 4 * count as usize).next_multiple_of(8);
    if !take_until(table, length, bytes) {
        return Ok(None);
    }
    let sizes: Vec<u32> = (1..=count as usize)
        .map(|index| word32(table, index))
        .collect();
    Body::new(&sizes, limits).map(Some)
}

/// Moves bytes until `table` has `length`; `false` if there are not enough.
fn take_until(table: &mut Vec<u8>, length: usize, bytes: &mut &[u8]) -> bool {
    let missing = length.saturating_sub(table.len()).min(bytes.len());
    let (now, later) = bytes.split_at(missing);
    table.extend_from_slice(now);
    *bytes = later;
    table.len() >= length
}

fn word32(table: &[u8], index: usize) -> u32 {
    match table.get(4 * index..).and_then(|rest| rest.first_chunk()) {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => 0,
    }
}

impl Body {
    fn new(sizes: &[u32], limits: &Limits) -> Result<Self, PeerMisbehaved> {
        let total: u64 = sizes.iter().map(|size| u64::from(*size)).sum();
        if total * 8 > limits.message_bytes as u64 {
            return Err(PeerMisbehaved::MessageTooLarge {
                bytes: total * 8,
                limit: limits.message_bytes,
            });
        }
        let mut ends = Vec::new();
        if sizes.len() > 1 {
            ends.reserve_exact(sizes.len());
            let mut end = 0u32;
            for size in sizes {
                end = end.saturating_add(*size);
                ends.push(end);
            }
        }
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        Ok(Self {
            words: Vec::new(),
            filled: 0,
            total,
            ends,
        })
    }

    fn fill(&mut self, bytes: &mut &[u8]) {
        while !bytes.is_empty() && self.filled < self.total * 8 {
            if self.filled == self.words.len() * 8 {
                self.grow(bytes.len());
            }
            let count = (self.words.len() * 8 - self.filled).min(bytes.len());
            let (now, later) = bytes.split_at(count);
            let room = Word::words_to_bytes_mut(&mut self.words);
            if let Some(room) = room.get_mut(self.filled..self.filled + count) {
                room.copy_from_slice(now);
            }
            self.filled += count;
            *bytes = later;
        }
    }

    /// Room for what is there, and for as much again as has arrived or one step.
    fn grow(&mut self, arrived: usize) {
        let have = self.words.len();
        let want = arrived
            .div_ceil(8)
            .max(have.min(STEP_WORDS * 16))
            .max(STEP_WORDS.min(have));
        let want = if arrived < (self.total - have) * 8 {
            want.max(STEP_WORDS)
        } else {
            want
        };
        let add = want.min(self.total - have);
        self.words.reserve_exact(add);
        self.words
            .resize(have + add, capnp::word(0, 0, 0, 0, 0, 0, 0, 0));
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} of {} bytes)", self.filled, self.total * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::ReaderSegments as _;

    fn message(sizes: &[u32]) -> Vec<u8> {
        let mut bytes = (u32::try_from(sizes.len()).unwrap() - 1)
            .to_le_bytes()
            .to_vec();
        for size in sizes {
            bytes.extend(size.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let words: u32 = sizes.iter().sum();
        bytes.extend((0..words * 8).map(|byte| (byte % 251) as u8));
        bytes
    }

    fn frames(framer: &mut Framer, mut bytes: &[u8]) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        while let Some(frame) = framer.next(&mut bytes, &Limits::default()).unwrap() {
            let sizes = (0u32..).map_while(|index| frame.get_segment(index).map(<[u8]>::len));
            found.push(sizes.collect());
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn messages_come_out_wherever_the_stream_is_cut() {
        let stream = [
            message(&[2]),
            message(&[1, 0, 3]),
            message(&[4, 4]),
            message(&[1]),
        ]
        .concat();
        let expected = vec![vec![16], vec![8, 0, 24], vec![32, 32], vec![8]];
        for step in 1..stream.len() {
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                found.extend(frames(&mut framer, piece));
            }
            assert_eq!(found, expected, "cut every {step} bytes");
            assert!(framer.is_between());
        }
    }

    #[test]
    fn content_survives_the_cuts() {
        let whole = message(&[20_000]);
        let mut framer = Framer::default();
        let mut got = None;
        for piece in whole.chunks(777) {
            let mut piece = piece;
            if let Some(frame) = framer.next(&mut piece, &Limits::default()).unwrap() {
                got = Some(frame.get_segment(0).unwrap().to_vec());
            }
        }
        assert_eq!(got.unwrap(), whole[8..]);
    }

    #[test]
    fn nothing_is_allocated_by_a_declared_length() {
        let mut framer = Framer::default();
        let mut bytes: &[u8] = &message(&[1_000_000])[..64];
        assert!(
            framer
                .next(&mut bytes, &Limits::default())
                .unwrap()
                .is_none()
        );
        let State::Body(body) = &framer.state else {
            panic!("in the body")
        };
        assert!(body.words.capacity() <= STEP_WORDS);
    }

    #[test]
    fn impossible_tables_are_refused() {
        let limits = Limits::default();
        let mut bytes: &[u8] = &[0xff; 16];
        let fault = Framer::default().next(&mut bytes, &limits).err().unwrap();
        assert_eq!(fault, PeerMisbehaved::TooManySegments(u32::MAX));
        let mut bytes: &[u8] = &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f];
        let fault = Framer::default().next(&mut bytes, &limits).err().unwrap();
        assert!(matches!(fault, PeerMisbehaved::MessageTooLarge { .. }));
    }
}
