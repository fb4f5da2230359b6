//! One received message: its words, and where its segments lie in them.

use capnp::OutputSegments;
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

    /// The same message as one that is about to be sent.
    pub(crate) fn copy_of(segments: &OutputSegments<'_>) -> Self {
        let mut words = Vec::new();
        let mut ends = Vec::new();
        for segment in segments.iter() {
            let at = words.len();
            words.resize(at + segment.len() / 8, capnp::word(0, 0, 0, 0, 0, 0, 0, 0));
            if let Some(room) = words.get_mut(at..) {
                Word::words_to_bytes_mut(room).copy_from_slice(segment);
            }
            ends.push(u32::try_from(words.len()).unwrap_or(u32::MAX));
        }
        if ends.len() == 1 {
            ends.clear();
        }
        Self { words, ends }
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
