//! What a contact proves to somebody who is asked to connect the two: a launcher, between the vats
//! that it launched.

use capnp::message::{Builder, HeapAllocator};

#[cfg(any(test, feature = "testing"))]
use super::{Claim, Identity};
use super::{Contact, Signer, VatKey};
use crate::frame::Frame;

/// That a vat was introduced to another one: by whom, and through whom it was passed on. Whoever
/// connects vats may ask for it, so that only an introduction makes a connection.
///
/// It proves nothing until [`is_signed`](Self::is_signed) has said so, and nothing beyond who signed:
/// anybody can make a key and introduce whom they like under it. Who asks decides which introducers
/// count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction(Contact);

impl Introduction {
    pub(crate) fn of(contact: &Contact) -> Self {
        Self(Contact {
            exporter: contact.exporter,
            addresses: Vec::new(),
            claim: contact.claim.clone(),
        })
    }

    /// Gift `number` of `gifter`, for something of `exporter`, that went through `forwarders` to `recipient`.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn new(
        gifter: &Identity,
        number: u64,
        exporter: VatKey,
        forwarders: &[Identity],
        recipient: VatKey,
    ) -> Self {
        let holders = forwarders.iter().map(|by| by.key);
        let mut holders = holders.chain([recipient]);
        let first = holders.next().unwrap_or(recipient);
        let mut claim = Claim::new(gifter, number, &exporter, first);
        for (by, to) in forwarders.iter().zip(holders) {
            claim = claim.forwarded(by, &exporter, to);
        }
        Self(Contact {
            exporter,
            addresses: Vec::new(),
            claim,
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written. `None`: it is nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MOST || !bytes.len().is_multiple_of(8) || bytes.is_empty() {
            return None;
        }
        let message = Frame::of_bytes(bytes).into_message(1, NESTING);
        let contact = Contact::read(message.get_root().ok()?)?;
        Some(Self::of(&contact))
    }

    /// A `Contact` of `schema/network.capnp` without addresses, as one segment.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = u32::try_from(MOST / 8).unwrap_or(u32::MAX);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
        self.0.write(message.init_root());
        match message.get_segments_for_output().as_ref() {
            [one] => one.to_vec(),
            _ => Vec::new(), // more forwards than there can be
        }
    }

    /// Whose object was given.
    #[must_use]
    pub const fn exporter(&self) -> VatKey {
        self.0.exporter
    }

    /// Who may have it: the last to whom it was given.
    #[must_use]
    pub fn recipient(&self) -> VatKey {
        self.0.claim.holder()
    }

    /// Who has a reference there and gave it.
    #[must_use]
    pub const fn gifter(&self) -> VatKey {
        self.0.claim.gift.gifter
    }

    /// The number under which the gifter gave it, see [`Identity::new`](crate::Identity::new): who
    /// assigned it knows whether the gifter gave it in its present life.
    #[must_use]
    pub const fn session(&self) -> u64 {
        let (session, _) = self.0.claim.gift.parts();
        session
    }

    /// The gifter's number for it: as many gifts had been made under that session, with this one.
    #[must_use]
    pub const fn number(&self) -> u64 {
        let (_, number) = self.0.claim.gift.parts();
        number
    }

    /// Through whom it went afterwards, without having been accepted, in this order.
    pub fn forwarders(&self) -> impl Iterator<Item = VatKey> {
        self.0.claim.forwarders()
    }

    /// Whether everybody who is said to have given it has signed that.
    #[must_use]
    pub fn is_signed(&self, signer: &dyn Signer) -> bool {
        self.0.claim.is_signed_for(&self.0.exporter, signer)
    }
}

/// Longest one, in bytes: with as many forwards as there may be it takes 1,288.
const MOST: usize = 2 << 10;
/// Pointers in pointers: the contact, its claim, the forwards, their keys.
const NESTING: u16 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::MAX_FORWARDS;
    use crate::tests::net::{Key, identity, key};

    /// Given by 1 to 2, of an object of 9, and passed on `forwards` times.
    fn introduction(forwards: u8) -> Introduction {
        let through: Vec<_> = (2..2 + forwards).map(identity).collect();
        Introduction::new(&identity(1), 5, key(9), &through, key(2 + forwards))
    }

    #[test]
    fn it_says_who_gave_what_to_whom_and_survives_as_bytes() {
        for forwards in [0, 1, 8] {
            let written = introduction(forwards).to_bytes();
            assert!(written.len() <= MOST, "{}", written.len());
            let read = Introduction::from_bytes(&written).unwrap();
            assert_eq!(read, introduction(forwards));
            assert_eq!((read.exporter(), read.gifter()), (key(9), key(1)));
            assert_eq!((read.session(), read.number()), (7, 5));
            assert_eq!(read.recipient(), key(2 + forwards));
            let through: Vec<_> = (2..2 + forwards).map(key).collect();
            assert_eq!(read.forwarders().collect::<Vec<_>>(), through);
            assert!(read.is_signed(&Key::new(7)));
        }
        assert_eq!(MAX_FORWARDS, 8, "the longest was tried");
    }

    #[test]
    fn a_changed_one_is_not_signed_and_anything_else_is_none() {
        let written = introduction(2).to_bytes();
        // What was signed before it was passed on stays true: that alone can be cut out.
        let signed: Vec<_> = (0..=2).map(introduction).collect();
        for at in 0..written.len() {
            let mut changed = written.clone();
            changed[at] ^= 1;
            if let Some(read) = Introduction::from_bytes(&changed) {
                let good = read.is_signed(&Key::new(7));
                assert_eq!(good, signed.contains(&read), "byte {at}");
            }
        }
        for len in [0, 1, 8, 16, written.len() - 8, MOST + 8] {
            let mut wrong = written.clone();
            wrong.resize(len, 0);
            let read = Introduction::from_bytes(&wrong);
            assert!(
                read.is_none_or(|read| !read.is_signed(&Key::new(7))),
                "{len}"
            );
        }
    }
}
