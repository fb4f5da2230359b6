//! What the branches of a union share, and what each of them has taken of it.

use super::gaps::Gaps;

/// What is known of a union.
#[derive(Clone, Copy)]
pub(super) struct Union {
    pub(super) started: u16,
    pub(super) tag: Option<u32>,
}

impl Union {
    pub(super) const NEW: Self = Self {
        started: 0,
        tag: None,
    };
}

/// A data area that the branches of a union share.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) union: u16,
    pub(super) size: u8,
    /// In units of the spot's size.
    pub(super) offset: u32,
}

impl Spot {
    pub(super) const NONE: Self = Self {
        union: 0,
        size: 0,
        offset: 0,
    };
}

/// A pointer that the branches of a union share.
#[derive(Clone, Copy)]
pub(super) struct Owned {
    pub(super) union: u16,
    pub(super) index: u32,
}

impl Owned {
    pub(super) const NONE: Self = Self { union: 0, index: 0 };
}

/// Whether a branch has started, its discriminant value, how many pointers of its union it uses.
#[derive(Clone, Copy)]
pub(super) struct Started {
    pub(super) variant: Option<u16>,
    pub(super) pointers: u32,
}

impl Started {
    pub(super) const NOT: Self = Self {
        variant: None,
        pointers: 0,
    };
}

/// What a branch has taken of a spot: the first `used` bits (as a logarithm), without the gaps.
#[derive(Clone, Copy)]
pub(super) struct Use {
    pub(super) used: Option<u8>,
    gaps: Gaps,
}

impl Use {
    pub(super) const NOTHING: Self = Self {
        used: None,
        gaps: Gaps::NONE,
    };

    /// The size of the gap that a placement would cost, if it fits into a spot of size `spot`.
    pub(super) const fn cost(&self, spot: u8, size: u8) -> Option<u8> {
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
    pub(super) const fn place(&mut self, size: u8) -> u32 {
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
    pub(super) const fn wanted(&self, size: u8) -> u8 {
        match self.used {
            None => size,
            Some(used) if used > size => used + 1,
            Some(_) => size + 1,
        }
    }

    /// Places after the spot has grown to `wanted`.
    pub(super) const fn place_grown(&mut self, size: u8, wanted: u8) -> u32 {
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
