//! Decisions from a fuzzer's bytes.

/// Bytes that are used up from the front; zeros behind their end.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// True once in `of` times; never at the end.
    pub(super) fn one_in(&mut self, of: usize) -> bool {
        self.below(of) + 1 == of
    }

    /// A place in a table: small nearly always, as those that are taken are small.
    pub(super) const fn id(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => 1 << 30,
            253 => self.byte() as u32 * 257,
            small => (small % 12) as u32,
        }
    }

    /// So many bytes, as far as there are.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of these; 0 if there is none.
    pub(super) fn pick(&mut self, from: &[u32]) -> u32 {
        let index = self.below(from.len());
        from.get(index).copied().unwrap_or_default()
    }
}
