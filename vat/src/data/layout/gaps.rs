//! The free space inside words that are counted already.

/// Free space inside already counted words: for each size from 1 to 32 bits at most one gap, as
/// its offset in units of its own size. 0 is none: the first thing placed is there.
#[derive(Clone, Copy)]
pub(super) struct Gaps([u32; 6]);

impl Gaps {
    pub(super) const NONE: Self = Self([0; 6]);

    const fn at(&self, size: u8) -> u32 {
        self.0[size as usize]
    }

    /// Takes the smallest gap that fits, from its low end.
    pub(super) const fn take(&mut self, size: u8) -> Option<u32> {
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
    pub(super) const fn fill(&mut self, size: u8, behind: u32, limit: u8) {
        let mut size = size;
        let mut behind = behind;
        while size < limit {
            self.0[size as usize] = behind;
            behind = behind.div_ceil(2);
            size += 1;
        }
    }

    /// Joins the `steps` gaps that directly follow an area, or changes nothing.
    pub(super) const fn grow(&mut self, size: u8, offset: u32, steps: u8) -> bool {
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
    pub(super) const fn smallest(&self, size: u8) -> Option<u8> {
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
