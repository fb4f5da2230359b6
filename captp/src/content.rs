//! The content of a payload while it is written, with the message around it.
//!
//! Everything is laid into one segment, each thing behind the last. All pointers of a message are
//! relative, so that a content can be written where it will be sent from. Only large data that is
//! shared lies apart, each in a segment of its own, behind a far pointer. Layout: the Cap'n Proto
//! encoding specification.

mod message;

use bytes::Bytes;
use capnp::message::{Builder, HeapAllocator, ScratchSpaceHeapAllocator};
use capnp::private::layout::CapTable;
use capnp::traits::{Imbue as _, ImbueMut as _};
use capnp::{OutputSegments, Word, any_pointer};

use crate::frame::is_shared;
use crate::hook::{cap_index, hook_node};
use crate::{Exception, NodeId};

/// Parameters or results while they are written: one root pointer, and what it leads to.
///
/// They are written either with the types of the `capnp` crate ([`build`](Self::build)), or directly:
/// the methods that make something behind a pointer say where it lies, in bytes, and
/// [`set_number`](Self::set_number) and the pointers inside it go by that. Everything begins as
/// zero.
///
/// A place that is none is left alone: nothing here panics. What would be larger than a segment can
/// be is not made, `None`.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    /// Where the root pointer lies. Before it is the message around.
    root: usize,
    /// What capability pointers mean, by index. Borrowed.
    caps: Vec<Option<NodeId>>,
    /// What lies in segments of its own, the first in segment 1. Only in a message.
    apart: Vec<Apart>,
    is_message: bool,
}

/// Data in a segment of its own, behind a landing pad: the list pointer to it.
#[derive(Debug)]
pub(crate) struct Apart {
    /// Where the far pointer to it lies.
    at: usize,
    pub(crate) data: Bytes,
    /// Bytes that stay alive with it.
    pub(crate) holds: usize,
}

impl Apart {
    pub(crate) const fn segment_len(&self) -> usize {
        8 + self.data.len().next_multiple_of(8)
    }

    pub(crate) const fn landing_pad(&self) -> [u8; 8] {
        list_of_bytes(0, self.data.len()).to_le_bytes()
    }

    /// What comes behind, to whole words.
    pub(crate) fn padding(&self) -> &'static [u8] {
        let len = self.data.len().next_multiple_of(8) - self.data.len();
        PADDING.get(..len).unwrap_or_default()
    }
}

const PADDING: &[u8] = &[0; 7];

/// A pointer to a list of that many bytes.
const fn list_of_bytes(offset: usize, count: usize) -> u64 {
    LIST | (offset as u64) << 2 | 2 << 32 | (count as u64) << 35
}

/// A word that is to hold a pointer, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(usize);

impl Slot {
    /// The word that many words behind a byte that a method of [`Content`] named.
    #[must_use]
    pub const fn new(base: usize, index: usize) -> Self {
        Self(base.saturating_add(index.saturating_mul(8)))
    }
}

/// Size of the elements of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the encoding has no other lists without structs"
)]
pub enum Elements {
    /// Nothing but their number.
    Void,
    /// Numbers of this many bits, as a logarithm: 0 and 3 to 6.
    Bits(u8),
    /// Pointers.
    Pointer,
}

/// Kinds of pointers.
const STRUCT: u64 = 0;
const LIST: u64 = 1;
const FAR: u64 = 2;
const OTHER: u64 = 3;

/// Elements of a list, and words of a list of structs, have 29 bits.
const MAX_COUNT: u64 = (1 << 29) - 1;
/// Most bytes of a content, so that every offset fits.
const MAX_BYTES: usize = (1 << 29) * 8;
/// Most segments beside the first: other implementations take 512 in all.
const MOST_APART: usize = 64;
/// Bytes that an empty one keeps room for.
const KEPT: usize = 2 << 20;

impl Content {
    /// An empty one: the root is null. Nothing is around it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: vec![0; 8],
            root: 0,
            caps: Vec::new(),
            apart: Vec::new(),
            is_message: false,
        }
    }

    /// Makes room for that many words, as far as they are not absurdly many; a good guess saves
    /// copies.
    pub fn reserve(&mut self, words: u32) {
        self.bytes.reserve(words.min(GUESS_WORDS) as usize * 8);
    }

    /// The root pointer.
    #[must_use]
    pub const fn root(&self) -> Slot {
        Slot(self.root)
    }

    /// What was written so far: one segment, the root pointer first. In a call or answer that is
    /// being sent, large [shared data](Self::shared_data) lies elsewhere, behind far pointers.
    #[must_use]
    pub fn segment(&self) -> &[u8] {
        self.bytes.get(self.root..).unwrap_or_default()
    }

    /// Makes a struct. The pointers lie behind its data: `data` words further.
    pub fn structure(&mut self, at: Slot, data: u16, pointers: u16) -> Option<usize> {
        let size = u64::from(data) << 32 | u64::from(pointers) << 48;
        let words = usize::from(data) + usize::from(pointers);
        if words == 0 {
            // A struct without sections lies before its own pointer; otherwise it would be null.
            self.put(at.0, size | u64::from((-1_i32 << 2).cast_unsigned()));
            return Some(at.0);
        }
        let start = self.allocate(words)?;
        self.point(at, start, STRUCT | size);
        Some(start)
    }

    /// Makes a list of numbers or pointers.
    pub fn list(&mut self, at: Slot, elements: Elements, count: u32) -> Option<usize> {
        let (code, bits) = match elements {
            Elements::Void => (0, 0),
            Elements::Bits(0) => (1, 1),
            Elements::Bits(3) => (2, 8),
            Elements::Bits(4) => (3, 16),
            Elements::Bits(5) => (4, 32),
            Elements::Bits(_) => (5, 64),
            Elements::Pointer => (6, 64),
        };
        if u64::from(count) > MAX_COUNT {
            return None;
        }
        let words = (u64::from(count) * bits).div_ceil(64);
        let start = self.allocate(usize::try_from(words).ok()?)?;
        self.point_to_list(at, start, code, count.into());
        Some(start)
    }

    /// Makes a list of structs, one behind the other.
    pub fn structs(&mut self, at: Slot, count: u32, data: u16, pointers: u16) -> Option<usize> {
        let words = u64::from(count) * (u64::from(data) + u64::from(pointers));
        if words > MAX_COUNT || u64::from(count) > MAX_COUNT {
            return None;
        }
        let start = self.allocate(usize::try_from(words).ok()? + 1)?;
        let size = u64::from(data) << 32 | u64::from(pointers) << 48;
        self.put(start, u64::from(count) << 2 | size);
        self.point_to_list(at, start, 7, words);
        Some(start + 8)
    }

    /// Writes bytes.
    #[must_use = "whether it fits"]
    pub fn data(&mut self, at: Slot, value: &[u8]) -> Option<()> {
        self.blob(at, value, value.len())
    }

    /// Writes bytes that are shared: [so many](crate::SHARED_BYTES) are not copied, but sent from where they
    /// are. Such a message has more than one segment, as any other implementation may send one.
    ///
    /// `holds`: how many bytes stay alive with them until they are sent, which is more than they are
    /// if they are a slice. Those count as [in flight](crate::Config::in_flight_bytes). A slice of
    /// less than a quarter is copied: see [`is_shared`].
    #[must_use = "whether it fits"]
    pub fn shared_data(&mut self, at: Slot, value: &Bytes, holds: usize) -> Option<()> {
        let fits = self.is_message && self.apart.len() < MOST_APART && at.0 >= self.root;
        if !is_shared(value.len(), holds) || !fits {
            return self.data(at, value);
        }
        let end = self.len().checked_add(value.len())?;
        if end - self.root > MAX_BYTES || value.len() as u64 > MAX_COUNT {
            return None;
        }
        self.put(at.0, 0); // what was there before, and lies apart, goes first
        let segment = self.apart.len() as u64 + 1;
        self.put(at.0, FAR | segment << 32);
        self.apart.push(Apart {
            at: at.0,
            data: value.clone(),
            holds: holds.max(value.len()),
        });
        Some(())
    }

    /// Writes a text, and the zero behind it.
    #[must_use = "whether it fits"]
    pub fn text(&mut self, at: Slot, value: &str) -> Option<()> {
        self.blob(at, value.as_bytes(), value.len() + 1)
    }

    /// Writes a reference. The node is borrowed: the engine retains what it sends.
    pub fn reference(&mut self, at: Slot, node: NodeId) {
        let index = self.caps.len() as u64;
        self.caps.push(Some(node));
        self.put(at.0, OTHER | index << 32);
    }

    /// The references that were written, by the index that their pointers have; `None` for null.
    #[must_use]
    pub fn references(&self) -> &[Option<NodeId>] {
        &self.caps
    }

    /// Writes the number of 2 to the power of `size` bits (0, 3 to 6) that is the one at `index` of
    /// those that begin at a byte. Higher bits are cut off.
    #[expect(clippy::cast_possible_truncation, reason = "higher bits are cut off")]
    #[inline]
    pub fn set_number(&mut self, base: usize, size: u8, index: u32, value: u64) {
        let index = index as usize;
        match size {
            0 => {
                let at = base.saturating_add(index / 8);
                if at >= self.root
                    && let Some(byte) = self.bytes.get_mut(at)
                {
                    let bit = 1 << (index % 8);
                    *byte = if value & 1 == 1 {
                        *byte | bit
                    } else {
                        *byte & !bit
                    };
                }
            }
            3 => self.overwrite(base.saturating_add(index), [value as u8]),
            4 => self.overwrite(base.saturating_add(2 * index), (value as u16).to_le_bytes()),
            5 => self.overwrite(base.saturating_add(4 * index), (value as u32).to_le_bytes()),
            _ => self.overwrite(base.saturating_add(8 * index), value.to_le_bytes()),
        }
    }

    /// Writes everything with the types of the `capnp` crate, references as pointers made with
    /// [`cap_hook`](crate::cap_hook). `words`: about how many words that will be; a good guess saves
    /// a copy.
    ///
    /// # Errors
    /// What `write` says, or if a capability pointer is of another library.
    pub fn build<E: From<Exception>>(
        &mut self,
        words: u32,
        write: impl FnOnce(any_pointer::Builder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.build_with(words, &[], write)
    }

    /// The same; `caps` are what index hooks mean.
    pub(crate) fn build_with<E: From<Exception>>(
        &mut self,
        words: u32,
        caps: &[NodeId],
        write: impl FnOnce(any_pointer::Builder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let words = words.saturating_add(1); // the root pointer
        if words as usize > ROOM_WORDS {
            let allocator = HeapAllocator::new().first_segment_words(words.min(GUESS_WORDS));
            return self.build_in(Builder::new(allocator), caps, write);
        }
        let mut room = [capnp::word(0, 0, 0, 0, 0, 0, 0, 0); ROOM_WORDS];
        let room = ScratchSpaceHeapAllocator::new(Word::words_to_bytes_mut(&mut room));
        self.build_in(Builder::new(room), caps, write)
    }

    fn build_in<A: capnp::message::Allocator, E: From<Exception>>(
        &mut self,
        mut built: Builder<A>,
        caps: &[NodeId],
        write: impl FnOnce(any_pointer::Builder<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut table = CapTable::new();
        let mut root: any_pointer::Builder<'_> = built.get_root().map_err(Exception::from)?;
        root.imbue_mut(&mut table);
        write(root)?;
        if let OutputSegments::SingleSegment([segment]) = built.get_segments_for_output() {
            self.lay(segment);
        } else {
            let words = u32::try_from(built.size_in_words()).unwrap_or(u32::MAX);
            let mut copy = Builder::new(HeapAllocator::new().first_segment_words(words));
            let copied = copy_into(&mut copy, &built, &table).map_err(Exception::from)?;
            table = copied;
            self.lay(
                copy.get_segments_for_output()
                    .first()
                    .copied()
                    .unwrap_or_default(),
            );
        }
        self.caps = nodes_of(&table, caps)?;
        Ok(())
    }

    /// Lays a segment behind, whose root pointer becomes this one's.
    pub(crate) fn lay(&mut self, segment: &[u8]) {
        let Some((root, content)) = segment.split_first_chunk() else {
            return;
        };
        let root = u64::from_le_bytes(*root);
        // What it leads to lies further away from it than it did.
        let further = (self.bytes.len() - self.root) / 8 - 1;
        let moved = match root & 0b11 {
            STRUCT | LIST if root != 0 && !is_empty_struct(root) => {
                root & !0xffff_ffff | (root + ((further as u64) << 2)) & 0xffff_ffff
            }
            _ => root,
        };
        self.put(self.root, moved);
        self.bytes.extend_from_slice(content);
    }

    fn allocate(&mut self, words: usize) -> Option<usize> {
        let start = self.bytes.len();
        let end = start.checked_add(words.checked_mul(8)?)?;
        if end - self.root > MAX_BYTES {
            return None;
        }
        self.bytes.resize(end, 0);
        Some(start)
    }

    fn blob(&mut self, at: Slot, value: &[u8], count: usize) -> Option<()> {
        let start = self.bytes.len();
        let end = start.checked_add(count.checked_next_multiple_of(8)?)?;
        if end - self.root > MAX_BYTES || count as u64 > MAX_COUNT {
            return None;
        }
        self.point_to_list(at, start, 2, count as u64);
        self.bytes.reserve(end - start);
        self.bytes.extend_from_slice(value);
        self.bytes.resize(end, 0);
        Some(())
    }

    fn point(&mut self, at: Slot, target: usize, pointer: u64) {
        let offset = (target.saturating_sub(at.0) / 8).saturating_sub(1);
        self.put(at.0, pointer | (offset as u64) << 2);
    }

    fn point_to_list(&mut self, at: Slot, target: usize, code: u64, count: u64) {
        self.point(at, target, LIST | code << 32 | count << 35);
    }

    fn put(&mut self, at: usize, word: u64) {
        if !self.apart.is_empty() {
            self.drop_apart(at);
        }
        self.overwrite(at, word.to_le_bytes());
    }

    /// Another pointer takes the place of one to what lies apart, which is not sent then.
    #[cold]
    fn drop_apart(&mut self, at: usize) {
        let Some(index) = self.apart.iter().position(|apart| apart.at == at) else {
            return;
        };
        self.apart.remove(index);
        let later: Vec<usize> = self
            .apart
            .iter()
            .skip(index)
            .map(|apart| apart.at)
            .collect();
        for (segment, at) in (index as u64 + 1..).zip(later) {
            self.overwrite(at, (FAR | segment << 32).to_le_bytes());
        }
    }

    /// Never in the message around the content.
    #[inline]
    fn overwrite<const N: usize>(&mut self, at: usize, with: [u8; N]) {
        if at < self.root {
            return;
        }
        if let Some(place) = self
            .bytes
            .get_mut(at..)
            .and_then(|rest| rest.first_chunk_mut())
        {
            *place = with;
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

/// Words of the stack in which a small content is built.
const ROOM_WORDS: usize = 32;
/// Most words that are taken by a guess.
const GUESS_WORDS: u32 = 1 << 20;

/// Whether a struct pointer leads to a struct without sections, which lies nowhere.
const fn is_empty_struct(pointer: u64) -> bool {
    pointer & 0b11 == STRUCT && pointer >> 32 == 0
}

fn copy_into<A: capnp::message::Allocator>(
    copy: &mut Builder<HeapAllocator>,
    built: &Builder<A>,
    table: &CapTable,
) -> Result<CapTable, capnp::Error> {
    let mut copied = CapTable::new();
    let mut from: any_pointer::Reader<'_> = built.get_root_as_reader()?;
    from.imbue(table);
    let mut root: any_pointer::Builder<'_> = copy.get_root()?;
    root.imbue_mut(&mut copied);
    root.set_as::<any_pointer::Owned>(from)?;
    Ok(copied)
}

/// What the hooks of a capability table stand for; `caps`: the references of a payload that was
/// copied.
fn nodes_of(table: &CapTable, caps: &[NodeId]) -> Result<Vec<Option<NodeId>>, Exception> {
    let node = |hook: &Option<Box<dyn capnp::private::capability::ClientHook>>| {
        let Some(hook) = hook else { return Ok(None) };
        hook_node(&**hook)
            .or_else(|| caps.get(cap_index(&**hook)?).copied())
            .map(Some)
            .ok_or_else(|| Exception::failed("a capability pointer of another library"))
    };
    table.iter().map(node).collect()
}

#[cfg(test)]
mod tests;
