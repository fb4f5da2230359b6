//! The content of a payload while it is written: a message of its own, whose root is the content.
//!
//! All pointers of a message are relative, so that a content of one segment can be laid into the
//! message that carries it as it is; only its root pointer moves. A small content is built on the
//! stack.

use capnp::message::{Builder, HeapAllocator, ScratchSpaceHeapAllocator};
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue as _, ImbueMut as _};
use capnp::{OutputSegments, Word, any_pointer};

use crate::Exception;

/// Words of the stack that a small content takes.
const ROOM_WORDS: usize = 32;
/// Most words that are taken by a guess.
const GUESS_WORDS: u32 = 1 << 20;

/// Where a small content is built.
pub(crate) struct Room([Word; ROOM_WORDS]);

/// A content being written.
pub(crate) enum Content<'a> {
    Small(Builder<ScratchSpaceHeapAllocator<'a>>),
    Large(Builder<HeapAllocator>),
}

impl Room {
    pub(crate) const fn new() -> Self {
        Self([capnp::word(0, 0, 0, 0, 0, 0, 0, 0); ROOM_WORDS])
    }
}

impl<'a> Content<'a> {
    /// For a content of about that many words. A good guess saves a copy.
    pub(crate) fn new(words: u32, room: &'a mut Room) -> Self {
        let words = words.saturating_add(1); // the root pointer
        if words as usize <= ROOM_WORDS {
            let room = Word::words_to_bytes_mut(&mut room.0);
            return Self::Small(Builder::new(ScratchSpaceHeapAllocator::new(room)));
        }
        let allocator = HeapAllocator::new().first_segment_words(words.min(GUESS_WORDS));
        Self::Large(Builder::new(allocator))
    }

    pub(crate) fn root(&mut self) -> Result<any_pointer::Builder<'_>, capnp::Error> {
        match self {
            Self::Small(built) => built.get_root(),
            Self::Large(built) => built.get_root(),
        }
    }

    fn segments(&self) -> OutputSegments<'_> {
        match self {
            Self::Small(built) => built.get_segments_for_output(),
            Self::Large(built) => built.get_segments_for_output(),
        }
    }

    /// Its only segment, after [`join`](Self::join).
    pub(crate) fn segment(&self) -> &[u8] {
        match self.segments() {
            OutputSegments::SingleSegment([segment]) => segment,
            OutputSegments::MultiSegment(segments) => segments.first().copied().unwrap_or_default(),
        }
    }

    /// Copies what became several segments into one. `table` is what its capability pointers mean.
    pub(crate) fn join(&mut self, table: &mut CapTable) -> Result<(), Exception> {
        let OutputSegments::MultiSegment(segments) = self.segments() else {
            return Ok(());
        };
        let bytes: usize = segments.iter().map(|segment| segment.len()).sum();
        drop(segments);
        let words = u32::try_from(bytes / 8 + 1).unwrap_or(u32::MAX);
        let mut copy = Builder::new(HeapAllocator::new().first_segment_words(words));
        let mut copied = CapTable::new();
        let mut from: any_pointer::Reader<'_> = match self {
            Self::Small(built) => built.get_root_as_reader()?,
            Self::Large(built) => built.get_root_as_reader()?,
        };
        from.imbue(table);
        let mut root: any_pointer::Builder<'_> = copy.get_root()?;
        root.imbue_mut(&mut copied);
        root.set_as::<any_pointer::Owned>(from)?;
        *table = copied;
        *self = Self::Large(copy);
        Ok(())
    }
}
