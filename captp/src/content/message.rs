//! A content with the message around it.

use std::borrow::Cow;

use super::{Apart, Content, KEPT, list_of_bytes};
use crate::NodeId;

impl Content {
    /// One without room, not even for the root pointer.
    pub(crate) const fn blank() -> Self {
        Self {
            bytes: Vec::new(),
            root: 0,
            caps: Vec::new(),
            apart: Vec::new(),
            is_message: false,
        }
    }

    /// Begins again: `write` writes the message up to the pointer to the content, which is null, and
    /// what else comes before the content.
    pub(crate) fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        // One that rests is empty.
        if !self.bytes.is_empty() {
            self.rest();
        }
        self.is_message = true;
        self.root = write(&mut self.bytes);
    }

    /// The message as far as it is written.
    pub(crate) const fn message(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes of message and content there are, in all segments.
    pub(crate) fn len(&self) -> usize {
        match self.apart.as_slice() {
            [] => self.end(),
            apart => self.end() + apart.iter().map(Apart::segment_len).sum::<usize>(),
        }
    }

    /// How many bytes stay alive with them.
    pub(crate) fn weight(&self) -> usize {
        let besides = |apart: &Apart| apart.segment_len() - apart.data.len() + apart.holds;
        self.end() + self.apart.iter().map(besides).sum::<usize>()
    }

    /// Where the first segment ends.
    pub(crate) const fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The content without what was written behind it, all in one segment.
    pub(crate) fn segment_until(&self, end: usize) -> Cow<'_, [u8]> {
        let segment = self.bytes.get(self.root..end).unwrap_or_default();
        if self.apart.is_empty() {
            return Cow::Borrowed(segment);
        }
        let mut joined = segment.to_vec();
        for apart in &self.apart {
            let at = apart.at - self.root;
            let offset = (joined.len().saturating_sub(at) / 8).saturating_sub(1);
            let pointer = list_of_bytes(offset, apart.data.len());
            if let Some(place) = joined.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = pointer.to_le_bytes();
            }
            joined.extend_from_slice(&apart.data);
            joined.extend_from_slice(apart.padding());
        }
        Cow::Owned(joined)
    }

    pub(crate) fn apart(&self) -> &[Apart] {
        &self.apart
    }

    pub(crate) fn take_apart(&mut self) -> Vec<Apart> {
        std::mem::take(&mut self.apart)
    }

    /// A word of the message.
    pub(crate) fn word(&self, at: usize) -> u64 {
        let word = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u64::from_le_bytes(*word))
    }

    /// Overwrites a word of the message.
    pub(crate) fn patch(&mut self, at: usize, word: u64) {
        let place = self
            .bytes
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut());
        if let Some(place) = place {
            *place = word.to_le_bytes();
        }
    }

    pub(crate) const fn root_at(&self) -> usize {
        self.root
    }

    /// What the capability pointers mean.
    pub(crate) fn caps(&self) -> &[Option<NodeId>] {
        &self.caps
    }

    /// Takes over room, if it is more than there is and worth keeping.
    pub(crate) fn give_room(&mut self, room: Vec<u8>) {
        if self.bytes.is_empty() && (self.bytes.capacity()..=KEPT).contains(&room.capacity()) {
            self.bytes = room;
        }
    }

    /// Gives room back that is more than worth keeping.
    pub(crate) fn rest(&mut self) {
        self.bytes.clear();
        self.caps.clear();
        // Mostly there is nothing, which need not be looked at closely.
        if !self.apart.is_empty() {
            self.apart.clear();
        }
        if self.bytes.capacity() > KEPT || self.caps.capacity() > KEPT / 1024 {
            self.bytes.shrink_to(KEPT);
            self.caps.shrink_to(KEPT / 1024);
        }
    }
}
