//! One received message: its words, and where its segments lie in them.

use capnp::Word;
use capnp::message::{ReaderOptions, ReaderSegments};

/// The segments of one message in one allocation.
#[derive(Default)]
pub(crate) struct Frame {
    words: Vec<Word>,
    /// End of each segment, in words; empty if there is one segment only.
    ends: Vec<u32>,
}

/// A received message, ready to be read within limits.
pub(crate) type Message = capnp::message::Reader<Frame>;

impl Frame {
    pub(crate) const fn new(words: Vec<Word>, ends: Vec<u32>) -> Self {
        Self { words, ends }
    }

    /// The bytes of a message's only segment.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        self.ends
            .is_empty()
            .then(|| Word::words_to_bytes(&self.words))
    }

    /// A message of one segment.
    pub(crate) fn of_bytes(segment: &[u8]) -> Self {
        Self::new(words_of(segment), Vec::new())
    }

    /// Makes the struct, list or capability pointer at a word the root of the message.
    pub(crate) fn focus(&mut self, at: usize) {
        let Some(pointer) = self
            .single()
            .and_then(|segment| segment.as_chunks().0.get(at).copied())
            .map(u64::from_le_bytes)
        else {
            return;
        };
        // The root stands before the first word, so that the way from there is longer by `at`.
        let offset = match pointer & 0b11 {
            0 | 1 if pointer != 0 => (at as u64) << 2,
            _ => 0,
        };
        let low = pointer.wrapping_add(offset) & 0xffff_ffff;
        let moved = pointer & !0xffff_ffff | low;
        if let Some(root) = self.words.get_mut(..1) {
            Word::words_to_bytes_mut(root).copy_from_slice(&moved.to_le_bytes());
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self {
            words: self.words.clone(),
            ends: self.ends.clone(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Ready to be read: at most `factor` times its own size, at most `nesting` deep.
    pub(crate) fn into_message(self, factor: usize, nesting: u16) -> Message {
        let limit = self.words.len().saturating_mul(factor).saturating_add(1024);
        let options = ReaderOptions {
            traversal_limit_in_words: Some(limit),
            nesting_limit: i32::from(nesting),
        };
        capnp::message::Reader::new(self, options)
    }
}

/// The words that bytes are; what does not fill a word is left out.
fn words_of(bytes: &[u8]) -> Vec<Word> {
    let mut words = Word::allocate_zeroed_vec(bytes.len() / 8);
    let room = Word::words_to_bytes_mut(&mut words);
    if let Some(bytes) = bytes.get(..room.len()) {
        room.copy_from_slice(bytes);
    }
    words
}

impl ReaderSegments for Frame {
    fn get_segment(&self, index: u32) -> Option<&[u8]> {
        let index = index as usize;
        if self.ends.is_empty() {
            return (index == 0).then(|| Word::words_to_bytes(&self.words));
        }
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.words.get(start..end).map(Word::words_to_bytes)
    }

    fn len(&self) -> usize {
        self.ends.len().max(1)
    }
}
