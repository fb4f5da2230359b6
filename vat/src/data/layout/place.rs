//! The algorithm: places one field after the other.

use super::gaps::Gaps;
use super::unions::{Owned, Spot, Started, Union, Use};
use super::{Branch, Kind, Member, Size, Slot};

/// A list in borrowed memory, so that the same code runs in constants and in tests.
pub(super) struct List<'a, T> {
    pub(super) items: &'a mut [T],
    pub(super) len: usize,
}

impl<T: Copy> List<'_, T> {
    const fn push(&mut self, item: T) {
        self.items[self.len] = item;
        self.len += 1;
    }
}

/// The struct itself.
pub(super) struct Root {
    words: u32,
    pointers: u32,
    gaps: Gaps,
}

impl Root {
    pub(super) const EMPTY: Self = Self {
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

/// The state of the algorithm.
pub(super) struct Work<'a> {
    pub(super) root: Root,
    pub(super) unions: &'a mut [Union],
    pub(super) branches: &'a mut [Started],
    pub(super) spots: List<'a, Spot>,
    pub(super) pointers: List<'a, Owned>,
    /// What branch `b` has taken of spot `s`: `uses[b * columns + s]`.
    pub(super) uses: &'a mut [Use],
    pub(super) columns: usize,
}

impl Work<'_> {
    pub(super) const fn place_all(&mut self, members: &[Member], slots: &mut [Slot]) -> Size {
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
