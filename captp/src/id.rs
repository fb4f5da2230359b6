//! Names of things: one newtype per table, so that an id cannot be used in the wrong one.
//!
//! Ids are always *ours*: what the peer calls its question is our answer, its export our import.
//! Received messages are flipped once, while they are decoded.

use std::fmt;

macro_rules! wire_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            pub(crate) const fn new(raw: u32) -> Self {
                Self(raw)
            }

            pub(crate) const fn raw(self) -> u32 {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

wire_id!(
    /// A call that we made and that the peer has not yet done with. We choose the number.
    QuestionId
);
wire_id!(
    /// A call that the peer made. The peer chose the number.
    AnswerId
);
wire_id!(
    /// A reference that the peer gave us. The peer chose the number.
    ImportId
);
wire_id!(
    /// A reference that we gave the peer. We choose the number.
    ExportId
);
wire_id!(
    /// An embargo that we wait to see lifted. We choose the number.
    EmbargoId
);

/// A reference in the engine: an object, a promise, something far or something broken.
///
/// Copying the id does not count; see [`Engine`](crate::Engine) for who owns a count. An id whose
/// last count is gone is *stale*: using it does no harm, it behaves as a broken reference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    index: u32,
    generation: u32,
}

impl NodeId {
    /// An id that never was anything but stale: for a reference whose engine is gone.
    pub const STALE: Self = Self {
        index: u32::MAX,
        generation: 0,
    };

    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }

    /// Both halves in one word, for a capability hook.
    pub(crate) const fn to_bits(self) -> usize {
        (self.generation as usize) << 32 | self.index as usize
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of a 64-bit word"
    )]
    pub(crate) const fn from_bits(bits: usize) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

const _: () = assert!(usize::BITS >= 64, "node ids travel in one machine word");

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({}.{})", self.index, self.generation)
    }
}

/// One connection of the engine. Never reused: an id of a closed connection stays dead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({}.{})", self.index, self.generation)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The host's own name for an object it lets others refer to: a facet, that is, an object and the
/// interface it is shown with. The engine compares keys and hands them back, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the host makes them")]
pub struct ObjectKey(pub u64);

impl ObjectKey {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(crate) const fn low(self) -> u32 {
        self.0 as u32
    }
}
