//! Cap'n Proto's struct layout in `const fn`: offsets, sizes and discriminants, as the `capnp`
//! compiler assigns them.
//!
//! Fields are placed one at a time in the order of their ordinals, without look-ahead; a placement
//! depends only on lower ordinals, which is why appending a field never moves another. Free space
//! inside counted words is kept in a *gap table*: at most one gap per size from a bit to 32 bits.
//! The branches of a union share *spots* (data areas) and pointers, as no two of them exist at the
//! same time. The discriminant is placed when the second branch starts.
//!
//! A union inside a branch of another union is not supported: the compiler refuses many such
//! schemas, and appending a field can turn an accepted one into a refused one. Enums with payloads
//! are therefore always structs of their own.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "indexes are counted by the algorithm itself; it runs in constants, where a mistake is a compile error"
)]

mod gaps;
mod place;
#[cfg(test)]
mod tests;
mod unions;

use place::{List, Root, Work};
use unions::{Owned, Spot, Started, Union, Use};

/// Where a value of a type lies in a struct. Known from the type alone, without its layout, so that
/// types may be recursive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nowhere: it has one value only.
    Void,
    /// In the data section; the number is the logarithm of the number of bits: 0 for a `bool`, 3
    /// for a byte, 6 for 64 bits.
    Bits(u8),
    /// In the pointer section.
    Pointer,
}

/// A field as the layout sees it; its position in the list is its ordinal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// What has to be placed.
    pub kind: Kind,
    /// The branch of a union it belongs to.
    pub branch: Option<Branch>,
}

/// A branch of a union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Which union of the struct, from 0 on.
    pub union: u16,
    /// Which branch, from 0 on, counted over all unions of the struct.
    pub index: u16,
}

/// Where a field was placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    /// In units of the field's own size; the index for a pointer; 0 for nothing.
    pub offset: u32,
    /// The discriminant value of the branch it belongs to; 0 outside of unions.
    pub variant: u16,
}

/// Sizes of the two sections of a struct.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Words of 8 bytes in the data section.
    pub data: u16,
    /// Pointers in the pointer section.
    pub pointers: u16,
}

impl Size {
    /// Words of both sections.
    #[must_use]
    pub const fn words(self) -> usize {
        self.data as usize + self.pointers as usize
    }
}

/// A struct's layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Sizes of the sections.
    pub size: Size,
    /// Where the discriminant of the unnamed union is, in units of 16 bits.
    pub discriminant: Option<u32>,
    /// Where each field is, by ordinal.
    pub slots: &'static [Slot],
}

/// The outcome of [`solve`], which owns its slots; [`Layout`] borrows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solved<const N: usize> {
    size: Size,
    discriminant: Option<u32>,
    slots: [Slot; N],
}

impl<const N: usize> Solved<N> {
    /// The layout, for a constant.
    pub const fn layout(&'static self) -> Layout {
        Layout {
            size: self.size,
            discriminant: self.discriminant,
            slots: &self.slots,
        }
    }

    /// Sizes of the sections.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Where the discriminant of the unnamed union is; 0 if there is none.
    pub const fn discriminant(&self) -> u32 {
        match self.discriminant {
            Some(offset) => offset,
            None => 0,
        }
    }

    /// Where the field with this ordinal is.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub const fn slot(&self, ordinal: usize) -> Slot {
        self.slots[ordinal]
    }
}

/// Lays out a struct whose field with ordinal `i` is `members[i]`, in a constant. `B` is the number
/// of branches of its one unnamed union, 0 if it has none.
///
/// # Panics
///
/// When the struct is larger than Cap'n Proto's 65535 words or pointers. In a constant this is a
/// compile error.
pub const fn solve<const N: usize, const B: usize>(members: &[Member; N]) -> Solved<N> {
    let mut slots = [Slot::ORIGIN; N];
    let mut spots = [Spot::NONE; N];
    let mut pointers = [Owned::NONE; N];
    let mut uses = [[Use::NOTHING; N]; B];
    let mut branches = [Started::NOT; B];
    let mut unions = [Union::NEW; 1];
    let mut work = Work {
        spots: List {
            items: &mut spots,
            len: 0,
        },
        pointers: List {
            items: &mut pointers,
            len: 0,
        },
        uses: uses.as_flattened_mut(),
        branches: &mut branches,
        unions: &mut unions,
        root: Root::EMPTY,
        columns: N,
    };
    let size = work.place_all(members, &mut slots);
    let discriminant = work.unions[0].tag;
    Solved {
        size,
        discriminant,
        slots,
    }
}

/// The same for any number of members, for tests that make up types. The slots are leaked.
#[cfg(test)]
pub(crate) fn solve_leaked(members: &[Member], branches: usize) -> Layout {
    let mut slots = vec![Slot::ORIGIN; members.len()];
    let mut unions = [Union::NEW];
    let size = Work {
        spots: List {
            items: &mut vec![Spot::NONE; members.len()],
            len: 0,
        },
        pointers: List {
            items: &mut vec![Owned::NONE; members.len()],
            len: 0,
        },
        uses: &mut vec![Use::NOTHING; members.len() * branches],
        branches: &mut vec![Started::NOT; branches],
        unions: &mut unions,
        root: Root::EMPTY,
        columns: members.len(),
    }
    .place_all(members, &mut slots);
    Layout {
        size,
        discriminant: unions[0].tag,
        slots: slots.leak(),
    }
}

impl Slot {
    const ORIGIN: Self = Self {
        offset: 0,
        variant: 0,
    };
}
