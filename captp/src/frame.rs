//! One received message: its words, and where its segments lie in them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use capnp::Word;
use capnp::message::{ReaderOptions, ReaderSegments};

/// The segments of one message in one allocation.
#[derive(Default)]
pub(crate) struct Frame {
    words: Words,
    /// End of each segment, in words; empty if there is one segment only.
    ends: Vec<u32>,
}

/// A received message, ready to be read within limits.
pub(crate) type Message = capnp::message::Reader<Frame>;

impl Frame {
    pub(crate) fn new(words: Vec<Word>, ends: Vec<u32>) -> Self {
        let words = match words.len() * 8 < SHARED_BYTES {
            true => Words::Own(words),
            false => Words::Shared(Arc::new(words)),
        };
        Self { words, ends }
    }

    /// The same bytes, which lie in this message, without copying them: if they are many, and not
    /// only a small part of the message, which lives as long as they.
    pub(crate) fn share(&self, bytes: &[u8]) -> Option<Bytes> {
        let Words::Shared(words) = &self.words else {
            return None;
        };
        let all = Word::words_to_bytes(words);
        if !is_shared(bytes.len(), all.len()) {
            return None;
        }
        let start = bytes.as_ptr().addr().checked_sub(all.as_ptr().addr())?;
        let range = start..start.checked_add(bytes.len())?;
        all.get(range.clone())?;
        let words = Arc::clone(words);
        Some(Bytes::from_owner(Part { words, range }))
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

    /// A message of one segment, whose root is what stands at this word: see [`focus`](Self::focus).
    pub(crate) fn of_content(segment: &[u8], at: usize) -> Self {
        let mut words = words_of(segment);
        set_root(&mut words, at);
        Self::new(words, Vec::new())
    }

    /// Makes the struct, list or capability pointer at a word the root of the message.
    pub(crate) fn focus(&mut self, at: usize) {
        if self.ends.is_empty() {
            set_root(self.words.all_mut(), at);
        }
    }

    pub(crate) fn duplicate(&self) -> Self {
        let words = match &self.words {
            Words::Own(words) => Words::Own(words.clone()),
            Words::Shared(words) => Words::Shared(Arc::clone(words)),
        };
        Self {
            words,
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

/// From how many bytes on shared data is not copied, sent or received.
pub const SHARED_BYTES: usize = 16 << 10;
/// It is then at least this part of what stays alive with it.
const SHARED_PART: usize = 4;

/// Whether data of `len` bytes, a part of `holds` that stay alive with it, is shared rather than
/// copied: it is large, and at least a quarter.
#[must_use]
pub const fn is_shared(len: usize, holds: usize) -> bool {
    len >= SHARED_BYTES && len >= holds / SHARED_PART
}

/// The words of a message. Those of a large one can be kept beyond it.
enum Words {
    Own(Vec<Word>),
    Shared(Arc<Vec<Word>>),
}

impl Words {
    fn all_mut(&mut self) -> &mut [Word] {
        match self {
            Self::Own(words) => words,
            Self::Shared(words) => Arc::make_mut(words).as_mut_slice(),
        }
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl std::ops::Deref for Words {
    type Target = [Word];

    fn deref(&self) -> &[Word] {
        match self {
            Self::Own(words) => words,
            Self::Shared(words) => words,
        }
    }
}

/// Some of the bytes of a message.
struct Part {
    words: Arc<Vec<Word>>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let all = Word::words_to_bytes(&self.words);
        all.get(self.range.clone()).unwrap_or_default()
    }
}

fn set_root(words: &mut [Word], at: usize) {
    let all = Word::words_to_bytes_mut(words).as_chunks_mut().0;
    let Some(pointer) = all.get(at).map(|word| u64::from_le_bytes(*word)) else {
        return;
    };
    // The root stands before the first word, so that the way from there is longer by `at`.
    let offset = match pointer & 0b11 {
        0 | 1 if pointer != 0 => (at as u64) << 2,
        _ => 0,
    };
    let low = pointer.wrapping_add(offset) & 0xffff_ffff;
    if let Some(root) = all.first_mut() {
        *root = (pointer & !0xffff_ffff | low).to_le_bytes();
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
