//! Checked arguments: values with the slots they go to, ready to be written without a description.

/// Arguments that fit their method. `R` is what stands for a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Arguments<R> {
    pub(super) root: Record<R>,
    pub(super) words: usize,
}

impl<R> Arguments<R> {
    /// How many bytes they take in a message, about.
    pub fn size(&self) -> usize {
        self.words * 8
    }
}

/// A struct: its size and what is not zero or null in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record<R> {
    pub(super) size: Size,
    pub(super) slots: Vec<Slot<R>>,
}

/// The sizes of a struct's two sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) data_words: u16,
    pub(super) pointers: u16,
}

impl Size {
    pub(super) fn words(self) -> usize {
        usize::from(self.data_words) + usize::from(self.pointers)
    }
}

/// One field's place and content.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slot<R> {
    /// `bits` at `offset` in units of 2^`log2` bits.
    Bits { log2: u8, offset: u32, bits: u64 },
    /// A pointer.
    Pointer { index: u32, to: Target<R> },
}

/// What a pointer points to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target<R> {
    Null,
    Text(String),
    Data(Vec<u8>),
    Record(Record<R>),
    Reference(R),
    /// A list of that many nothings.
    Voids(u32),
    /// A list of numbers of 2^`log2` bits.
    Bits {
        log2: u8,
        values: Vec<u64>,
    },
    Pointers(Vec<Self>),
    Records {
        size: Size,
        /// Of each element, in order.
        slots: Vec<Vec<Slot<R>>>,
    },
}
