//! What a peer said of itself in its hello.

use std::fmt;
use std::ops::BitOr;

/// Abilities beyond level 1, announced in the hello: one bit each. A side uses one only if both
/// have announced it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u64);

/// Names of the bits, by number.
const NAMES: [&str; 2] = ["three-party handoff", "extended calls"];

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// The messages of level 3, in their redesigned form.
    pub const THREE_PARTY_HANDOFF: Self = Self(1 << 0);
    /// Calls with more fields than Cap'n Proto's own, such as a deadline.
    pub const EXTENDED_CALLS: Self = Self(1 << 1);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those that both have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for bit in (0..64).filter(|bit| self.0 & (1 << bit) != 0) {
            match NAMES.get(bit) {
                Some(name) => set.entry(name),
                None => set.entry(&bit),
            };
        }
        set.finish()
    }
}

/// What the peer said of itself. Everything in it is the peer's claim.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PeerHello {
    /// Minor version of what it speaks; the major one is ours.
    pub minor: u16,
    /// What it can do; bits that this version does not know are kept.
    pub features: Features,
    /// Name and version of its program library, at most 128 bytes, for people.
    pub agent: String,
    /// Largest message it accepts, in bytes; `None` if it did not say. Larger ones are not sent.
    pub message_bytes: Option<u64>,
    /// Most references it accepts in one message; `None` if it did not say. More are not sent.
    pub caps_per_message: Option<u32>,
    /// Most file descriptors it accepts with one message; `None` if it did not say. More are not
    /// sent.
    pub fds_per_message: Option<u32>,
    /// Most unanswered calls it takes before it lets further ones wait; `None` if it did not say.
    /// No more are sent once the hello has come, as long as answers come.
    pub calls_soft: Option<u32>,
    /// Most unanswered calls it takes at all, and as many answers again that are not finished; `None`
    /// if it did not say. No more are sent once the hello has come, if none is [for references only](crate::LocalCall::pipeline_only).
    pub calls: Option<u32>,
    /// Most bytes of unanswered calls it takes before it lets further ones wait; `None` if it did
    /// not say. No more are sent, as long as answers come.
    pub call_bytes_soft: Option<u64>,
    /// Most bytes of unanswered calls it takes at all; `None` if it did not say. No more are sent.
    pub call_bytes: Option<u64>,
    /// Where it says it can be reached; at most 8, each of at most 256 bytes.
    pub addresses: Vec<String>,
}

/// Most bytes of an agent's name that are kept.
pub(crate) const AGENT_BYTES: usize = 128;
