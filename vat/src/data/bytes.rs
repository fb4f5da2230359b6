//! Bytes that are shared instead of copied.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, RangeBounds};

use bytes::Bytes as Inner;

/// Bytes that are shared instead of copied: the type for bulk data.
///
/// An immutable, reference-counted piece of memory: cloning and slicing one copies nothing. As an
/// argument or a result it is Cap'n Proto's `Data`, like `Vec<u8>`: either side may use either, and
/// so may any other implementation.
///
/// What it costs when it crosses to another vat:
///
/// - *Sent*, 16 KiB or more are not copied: the socket gets them from where they lie. They count
///   against all limits of the connection (message size, what waits to be sent) until they have left,
///   and what they keep alive counts as what all connections have in flight. A slice of less than a
///   quarter of what it keeps alive is copied like fewer bytes are: what waits to be sent keeps at
///   most four times its size alive. The message has a segment for each, up to 64; further ones are
///   copied.
/// - *Received*, 16 KiB or more that are at least a quarter of their message are not copied: the
///   value keeps the received message alive. So what is kept takes at most four times its size.
///   Anything else is copied into memory of its own, and so is what came in one piece with the
///   beginning of its message (up to 64 KiB), once. To keep a small slice of a large value, copy
///   it: `Bytes::copy_from_slice(&large[..10])`.
/// - With `Vec<u8>` both sides copy everything once. Below 16 KiB the two cost the same.
///
/// Within a vat, nothing is ever copied.
///
/// It holds one of the [`bytes`](https://docs.rs/bytes) crate and says besides how much that keeps
/// alive, which it does not tell. So one that is [made](Self::from) of such a piece as it is will be
/// copied when it is sent; to vouch for it that it is no slice of something larger, use
/// [`from_owner`](Self::from_owner).
///
/// ```
/// use vat::Bytes;
/// use vat::prelude::*;
///
/// #[vat::interface]
/// pub trait Store {
///     /// Keeps a picture.
///     fn put(&mut self, turn: &Turn, picture: Bytes) -> Result<()>;
///     /// Bytes `from` to `to` of what is kept.
///     fn part(&self, turn: &Turn, from: u32, to: u32) -> Result<Bytes>;
/// }
///
/// #[derive(Clone, vat::Object)]
/// struct Memory(Bytes); // rolled back like everything else, without a copy
///
/// impl Store for Memory {
///     fn put(&mut self, _: &Turn, picture: Bytes) -> Result<()> {
///         self.0 = picture;
///         Ok(())
///     }
///
///     fn part(&self, _: &Turn, from: u32, to: u32) -> Result<Bytes> {
///         let (from, to) = (from as usize, to as usize);
///         match from <= to && to <= self.0.len() {
///             true => Ok(self.0.slice(from..to)),
///             false => Err(Error::failed("there is not that much")),
///         }
///     }
/// }
///
/// let vat = vat::Vat::new("store");
/// let store = vat.turn(|turn| Ok(StoreRef::new(turn, Memory(Bytes::new()))))?;
/// store.put(Bytes::from(vec![7; 1 << 20])).detach(); // takes the `Vec` over as it is
/// let part = store.part(10, 20);
/// vat.run(1_000);
/// assert_eq!(part.try_take().unwrap()?, [7; 10][..]);
/// # Ok::<(), vat::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Bytes {
    bytes: Inner,
    /// How many bytes stay alive with these.
    holds: usize,
}

/// Nobody knows how many.
const UNKNOWN: usize = usize::MAX;

impl Bytes {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self::from_static(&[])
    }

    /// Those that are part of the program, without copying them.
    #[must_use]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self {
            bytes: Inner::from_static(bytes),
            holds: 0,
        }
    }

    /// A copy.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        Self::from(bytes.to_vec())
    }

    /// Those of a value that stays alive as long as they do, without copying them: a mapped file,
    /// or memory that another library shares. The value should hold about as much as its bytes.
    #[must_use]
    pub fn from_owner(owner: impl AsRef<[u8]> + Send + 'static) -> Self {
        let bytes = Inner::from_owner(owner);
        let holds = bytes.len();
        Self { bytes, holds }
    }

    /// Bytes of something larger of that many.
    pub(super) const fn part(bytes: Inner, holds: usize) -> Self {
        Self { bytes, holds }
    }

    /// A part, which keeps everything alive.
    ///
    /// # Panics
    ///
    /// Like the slice of an array, if there is no such part.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self {
            bytes: self.bytes.slice(range),
            holds: self.holds,
        }
    }

    pub(super) const fn inner(&self) -> &Inner {
        &self.bytes
    }

    /// How many bytes stay alive with these.
    pub(crate) const fn holds(&self) -> usize {
        self.holds
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let holds = bytes.capacity();
        Self::part(bytes.into(), holds)
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&'static [u8]> for Bytes {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from_static(bytes)
    }
}

/// It may be a slice of something larger, and is copied when it is sent.
impl From<Inner> for Bytes {
    fn from(bytes: Inner) -> Self {
        Self::part(bytes, UNKNOWN)
    }
}

impl From<Bytes> for Inner {
    fn from(bytes: Bytes) -> Self {
        bytes.bytes
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.bytes.into()
    }
}

impl FromIterator<u8> for Bytes {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        bytes.into_iter().collect::<Vec<u8>>().into()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl Eq for Bytes {}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Bytes {
    fn eq(&self, other: &T) -> bool {
        self.bytes == *other.as_ref()
    }
}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use captp::SHARED_BYTES;

    use super::*;
    use crate::data::Data as _;

    /// Whether they are sent from where they lie.
    fn is_shared(bytes: &Bytes) -> bool {
        assert_eq!(
            bytes.words() == 0,
            captp::is_shared(bytes.len(), bytes.holds())
        );
        bytes.words() == 0
    }

    #[test]
    fn only_what_keeps_little_else_alive_is_sent_from_where_it_lies() {
        let whole = Bytes::from(vec![7; 4 * SHARED_BYTES]);
        assert!(is_shared(&whole) && is_shared(&whole.slice(SHARED_BYTES..)));
        assert!(is_shared(&whole.slice(SHARED_BYTES..2 * SHARED_BYTES)));
        let twice = whole.slice(..3 * SHARED_BYTES).slice(2 * SHARED_BYTES..);
        assert!(is_shared(&twice));
        assert!(!is_shared(&whole.slice(1..SHARED_BYTES)), "too few");
        let larger = Bytes::from(vec![7; 5 * SHARED_BYTES]);
        assert!(!is_shared(&larger.slice(..SHARED_BYTES)), "a small part");
        let mut roomy = Vec::with_capacity(5 * SHARED_BYTES);
        roomy.resize(SHARED_BYTES, 7);
        assert!(!is_shared(&roomy.into()), "with much room behind");
    }

    #[test]
    fn what_nobody_vouches_for_is_copied() {
        let inner = Inner::from(vec![7; SHARED_BYTES]);
        assert!(!is_shared(&inner.clone().into()));
        assert!(is_shared(&Bytes::from_owner(inner)));
        static PROGRAM: [u8; SHARED_BYTES] = [7; SHARED_BYTES];
        assert!(is_shared(&Bytes::from_static(&PROGRAM).slice(..)));
    }
}
