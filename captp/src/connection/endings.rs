//! Finishes and Releases at the end of what is to be transmitted.
//!
//! Nobody waits for them. And mostly the one reference in an answer is given back right behind the
//! Finish for the answer: as long as that has not left it can say so itself, and there need be no
//! Release. But only if nothing in between may name the reference.
//!
//! Places are counted in bytes from the beginning of the stream.

use crate::ImportId;

/// What is known of the end of the stream.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    /// Behind this there are Finishes and Releases only.
    from: u64,
    /// Finishes behind it, by the end of each, for answers that hold this reference and no other.
    finishes: Vec<(ImportId, u64)>,
}

/// Most Finishes that are remembered. Who lets go of references at once lets go of the last ones.
const REMEMBERED: usize = 16;

impl Endings {
    /// A message that is none of them ends here.
    pub(crate) fn begin(&mut self, at: u64) {
        self.from = at;
        if !self.finishes.is_empty() {
            self.finishes.clear();
        }
    }

    /// Whether all that is behind this place is one of them.
    pub(crate) const fn all_from(&self, at: u64) -> bool {
        self.from <= at
    }

    /// A Finish ends here.
    pub(crate) fn note(&mut self, only: ImportId, end: u64) {
        if self.finishes.len() == REMEMBERED {
            self.finishes.remove(0);
        }
        self.finishes.push((only, end));
    }

    /// The end of the Finish for the answer in which the reference came.
    pub(crate) fn take(&mut self, only: ImportId) -> Option<u64> {
        let at = self.finishes.iter().position(|(id, _)| *id == only)?;
        Some(self.finishes.remove(at).1)
    }
}
