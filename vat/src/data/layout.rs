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

#[cfg(test)]
mod tests;

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

/// Free space inside already counted words: for each size from 1 to 32 bits at most one gap, as
/// its offset in units of its own size. 0 is none: the first thing placed is there.
#[derive(Clone, Copy)]
struct Gaps([u32; 6]);

impl Gaps {
    const NONE: Self = Self([0; 6]);

    const fn at(&self, size: u8) -> u32 {
        self.0[size as usize]
    }

    /// Takes the smallest gap that fits, from its low end.
    const fn take(&mut self, size: u8) -> Option<u32> {
        if size >= 6 {
            return None;
        }
        let gap = self.at(size);
        if gap != 0 {
            self.0[size as usize] = 0;
            return Some(gap);
        }
        match self.take(size + 1) {
            Some(larger) => {
                self.0[size as usize] = larger * 2 + 1;
                Some(larger * 2)
            }
            None => None,
        }
    }

    /// Records what is left of an area of size `limit` whose front, up to `behind`, was taken.
    const fn fill(&mut self, size: u8, behind: u32, limit: u8) {
        let mut size = size;
        let mut behind = behind;
        while size < limit {
            self.0[size as usize] = behind;
            behind = behind.div_ceil(2);
            size += 1;
        }
    }

    /// Joins the `steps` gaps that directly follow an area, or changes nothing.
    const fn grow(&mut self, size: u8, offset: u32, steps: u8) -> bool {
        if steps == 0 {
            return true;
        }
        if size >= 6 || self.at(size) != offset + 1 {
            return false;
        }
        let grown = self.grow(size + 1, offset / 2, steps - 1);
        if grown {
            self.0[size as usize] = 0;
        }
        grown
    }

    /// The size of the smallest gap that `size` fits into.
    const fn smallest(&self, size: u8) -> Option<u8> {
        let mut larger = size;
        while larger < 6 {
            if self.at(larger) != 0 {
                return Some(larger);
            }
            larger += 1;
        }
        None
    }
}

/// The struct itself.
struct Root {
    words: u32,
    pointers: u32,
    gaps: Gaps,
}

impl Root {
    const EMPTY: Self = Self {
        words: 0,
        pointers: 0,
        gaps: Gaps::NONE,
    };

    const fn data(&mut self, size: u8) -> u32 {
        if let Some(offset) = self.gaps.take(size) {
            return offset;
        }
        let offset = self.words << (6 - size);
        self.words += 1;
        self.gaps.fill(size, offset + 1, 6);
        offset
    }

    const fn pointer(&mut self) -> u32 {
        self.pointers += 1;
        self.pointers - 1
    }
}

/// What is known of a union.
#[derive(Clone, Copy)]
struct Union {
    started: u16,
    tag: Option<u32>,
}

impl Union {
    const NEW: Self = Self {
        started: 0,
        tag: None,
    };
}

/// A data area that the branches of a union share.
#[derive(Clone, Copy)]
struct Spot {
    union: u16,
    size: u8,
    /// In units of the spot's size.
    offset: u32,
}

impl Spot {
    const NONE: Self = Self {
        union: 0,
        size: 0,
        offset: 0,
    };
}

/// A pointer that the branches of a union share.
#[derive(Clone, Copy)]
struct Owned {
    union: u16,
    index: u32,
}

impl Owned {
    const NONE: Self = Self { union: 0, index: 0 };
}

/// What a branch has taken of a spot: the first `used` bits (as a logarithm), without the gaps.
#[derive(Clone, Copy)]
struct Use {
    used: Option<u8>,
    gaps: Gaps,
}

impl Use {
    const NOTHING: Self = Self {
        used: None,
        gaps: Gaps::NONE,
    };

    /// The size of the gap that a placement would cost, if it fits into a spot of size `spot`.
    const fn cost(&self, spot: u8, size: u8) -> Option<u8> {
        match self.used {
            None if size <= spot => Some(spot),
            Some(used) if size >= used => {
                if size < spot {
                    Some(size)
                } else {
                    None
                }
            }
            Some(used) => match self.gaps.smallest(size) {
                None if used < spot => Some(used),
                gap => gap,
            },
            None => None,
        }
    }

    /// Places at an affordable cost; the offset is from the start of the spot.
    const fn place(&mut self, size: u8) -> u32 {
        let Some(used) = self.used else {
            self.used = Some(size);
            return 0;
        };
        if size >= used {
            self.gaps.fill(used, 1, size);
            self.used = Some(size + 1);
            return 1;
        }
        if let Some(offset) = self.gaps.take(size) {
            return offset;
        }
        let offset = 1 << (used - size);
        self.gaps.fill(size, offset + 1, used);
        self.used = Some(used + 1);
        offset
    }

    /// The size that the spot would need for a placement that does not fit now.
    const fn wanted(&self, size: u8) -> u8 {
        match self.used {
            None => size,
            Some(used) if used > size => used + 1,
            Some(_) => size + 1,
        }
    }

    /// Places after the spot has grown to `wanted`.
    const fn place_grown(&mut self, size: u8, wanted: u8) -> u32 {
        let Some(used) = self.used else {
            self.used = Some(size);
            return 0;
        };
        self.gaps.fill(used, 1, wanted);
        self.used = Some(wanted);
        match self.gaps.take(size) {
            Some(offset) => offset,
            None => panic!("a spot that has grown has room"),
        }
    }
}

/// Whether a branch has started, its discriminant value, how many pointers of its union it uses.
#[derive(Clone, Copy)]
struct Started {
    variant: Option<u16>,
    pointers: u32,
}

impl Started {
    const NOT: Self = Self {
        variant: None,
        pointers: 0,
    };
}

/// A list in borrowed memory, so that the same code runs in constants and in tests.
struct List<'a, T> {
    items: &'a mut [T],
    len: usize,
}

impl<T: Copy> List<'_, T> {
    const fn push(&mut self, item: T) {
        self.items[self.len] = item;
        self.len += 1;
    }
}

/// The state of the algorithm.
struct Work<'a> {
    root: Root,
    unions: &'a mut [Union],
    branches: &'a mut [Started],
    spots: List<'a, Spot>,
    pointers: List<'a, Owned>,
    /// What branch `b` has taken of spot `s`: `uses[b * columns + s]`.
    uses: &'a mut [Use],
    columns: usize,
}

impl Work<'_> {
    const fn place_all(&mut self, members: &[Member], slots: &mut [Slot]) -> Size {
        let mut at = 0;
        while at < members.len() {
            slots[at] = match members[at].branch {
                None => Slot {
                    offset: self.place(members[at].kind),
                    variant: 0,
                },
                Some(branch) => self.place_in(branch, members[at].kind),
            };
            at += 1;
        }
        assert!(
            self.root.words <= 0xffff,
            "the struct has more than 65535 words of data"
        );
        assert!(
            self.root.pointers <= 0xffff,
            "the struct has more than 65535 pointers"
        );
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let size = Size {
            data: self.root.words as u16,
            pointers: self.root.pointers as u16,
        };
        size
    }

    const fn place(&mut self, kind: Kind) -> u32 {
        match kind {
            Kind::Void => 0,
            Kind::Bits(size) => self.root.data(size),
            Kind::Pointer => self.root.pointer(),
        }
    }

    const fn place_in(&mut self, branch: Branch, kind: Kind) -> Slot {
        let variant = self.start(branch);
        let offset = match kind {
            Kind::Void => 0,
            Kind::Bits(size) => self.data_in(branch, size),
            Kind::Pointer => self.pointer_in(branch),
        };
        Slot { offset, variant }
    }

    /// Starts a branch at its first field; the second branch of a union makes the discriminant.
    const fn start(&mut self, branch: Branch) -> u16 {
        let started = &mut self.branches[branch.index as usize];
        if let Some(variant) = started.variant {
            return variant;
        }
        let union = &mut self.unions[branch.union as usize];
        let variant = union.started;
        started.variant = Some(variant);
        union.started += 1;
        if union.started == 2 {
            union.tag = Some(self.root.data(4));
        }
        variant
    }

    const fn pointer_in(&mut self, branch: Branch) -> u32 {
        let used = self.branches[branch.index as usize].pointers;
        self.branches[branch.index as usize].pointers += 1;
        let mut seen = 0;
        let mut at = 0;
        while at < self.pointers.len {
            let owned = self.pointers.items[at];
            if owned.union == branch.union {
                if seen == used {
                    return owned.index;
                }
                seen += 1;
            }
            at += 1;
        }
        let index = self.root.pointer();
        self.pointers.push(Owned {
            union: branch.union,
            index,
        });
        index
    }

    const fn data_in(&mut self, branch: Branch, size: u8) -> u32 {
        if let Some(offset) = self.fit(branch, size) {
            return offset;
        }
        if let Some(offset) = self.grow_and_fit(branch, size) {
            return offset;
        }
        let offset = self.root.data(size);
        let at = self.row(branch) + self.spots.len;
        self.uses[at].used = Some(size);
        self.spots.push(Spot {
            union: branch.union,
            size,
            offset,
        });
        offset
    }

    /// Places in the spot where it costs the smallest gap; of equals, the first.
    const fn fit(&mut self, branch: Branch, size: u8) -> Option<u32> {
        let row = self.row(branch);
        let mut best: Option<(u8, usize)> = None;
        let mut at = 0;
        while at < self.spots.len {
            let spot = self.spots.items[at];
            if spot.union == branch.union
                && let Some(cost) = self.uses[row + at].cost(spot.size, size)
            {
                match best {
                    Some((lowest, _)) if lowest <= cost => {}
                    _ => best = Some((cost, at)),
                }
            }
            at += 1;
        }
        let Some((_, at)) = best else { return None };
        let spot = self.spots.items[at];
        let inside = self.uses[row + at].place(size);
        Some((spot.offset << (spot.size - size)) + inside)
    }

    /// Places in the first spot that can grow for it.
    const fn grow_and_fit(&mut self, branch: Branch, size: u8) -> Option<u32> {
        let row = self.row(branch);
        let mut at = 0;
        while at < self.spots.len {
            let spot = self.spots.items[at];
            let wanted = self.uses[row + at].wanted(size);
            if spot.union == branch.union
                && wanted <= 6
                && self
                    .root
                    .gaps
                    .grow(spot.size, spot.offset, wanted - spot.size)
            {
                let offset = spot.offset >> (wanted - spot.size);
                self.spots.items[at] = Spot {
                    union: spot.union,
                    size: wanted,
                    offset,
                };
                let inside = self.uses[row + at].place_grown(size, wanted);
                return Some((offset << (wanted - size)) + inside);
            }
            at += 1;
        }
        None
    }

    const fn row(&self, branch: Branch) -> usize {
        branch.index as usize * self.columns
    }
}

impl Slot {
    const ORIGIN: Self = Self {
        offset: 0,
        variant: 0,
    };
}
