//! How vats name and introduce each other: the vat network's part of three-party handoff.
//!
//! `schema/network.capnp` says what the structures are and what is signed.

use std::fmt;
use std::rc::Rc;

use capnp::{any_pointer, text_list};

use crate::network_capnp::{claim, completion, contact, third_party_await};

mod introduction;

pub use introduction::Introduction;

/// The public key that names a vat.
///
/// It identifies and never authorises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "made by the host")]
pub struct VatKey(pub [u8; 32]);

/// The vat's own key, and what can be done with keys. Both methods are functions of their
/// arguments.
pub trait Signer {
    /// This vat's signature.
    fn sign(&self, message: &[u8]) -> [u8; 64];

    /// Whether `signature` is that of the vat named `key`.
    fn verify(&self, key: &VatKey, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// Who this vat is. An engine that has one can hand references over between vats, so that they talk
/// to each other without it.
#[derive(Clone)]
pub struct Identity {
    pub(crate) key: VatKey,
    pub(crate) session: u64,
    pub(crate) addresses: Vec<String>,
    signer: Rc<dyn Signer>,
}

impl Identity {
    /// `session` is a random number, or at least one that this key was never used with before:
    /// gifts are numbered within it.
    #[must_use]
    pub fn new(key: VatKey, session: u64, signer: Rc<dyn Signer>) -> Self {
        Self {
            key,
            session,
            addresses: Vec::new(),
            signer,
        }
    }

    /// Where the vat can be reached by those to whom others introduce it; at most 8 are told.
    #[must_use]
    pub fn with_addresses(mut self, addresses: Vec<String>) -> Self {
        self.addresses = addresses;
        self
    }
}

/// A gift, at its exporter: who gives, and the gifter's own number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GiftName {
    pub(crate) gifter: VatKey,
    pub(crate) nonce: [u8; 16],
}

impl GiftName {
    /// A nonce is the number within a session, above the session's own.
    const fn new(by: &Identity, number: u64) -> Self {
        let nonce = (number as u128) << 64 | by.session as u128;
        Self {
            gifter: by.key,
            nonce: nonce.to_le_bytes(),
        }
    }

    /// The session and the number of a gift that was named so.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half, and the upper"
    )]
    const fn parts(&self) -> (u64, u64) {
        let nonce = u128::from_le_bytes(self.nonce);
        (nonce as u64, (nonce >> 64) as u64)
    }
}

/// How to get a gift: for its recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) exporter: VatKey,
    pub(crate) addresses: Vec<String>,
    pub(crate) claim: Claim,
}

/// That somebody may accept a gift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) gift: GiftName,
    /// To whom the gifter gave it.
    pub(crate) recipient: VatKey,
    signature: [u8; 64],
    /// To whom it was passed on, each by the one before.
    forwards: Vec<Forward>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Forward {
    to: VatKey,
    signature: [u8; 64],
}

/// Who may accept a gift: for its exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Await {
    pub(crate) recipient: VatKey,
    pub(crate) nonce: [u8; 16],
}

impl Claim {
    /// A new gift of this vat.
    pub(crate) fn new(by: &Identity, number: u64, exporter: &VatKey, recipient: VatKey) -> Self {
        let gift = GiftName::new(by, number);
        let signature = by
            .signer
            .sign(&handoff_message(exporter, &recipient, &gift));
        Self {
            gift,
            recipient,
            signature,
            forwards: Vec::new(),
        }
    }

    /// Who may accept.
    pub(crate) fn holder(&self) -> VatKey {
        self.forwards
            .last()
            .map_or(self.recipient, |forward| forward.to)
    }

    /// Who handed it to the holder.
    pub(crate) fn giver(&self) -> VatKey {
        match self.forwards.as_slice() {
            [] => self.gift.gifter,
            [_] => self.recipient,
            [.., before, _] => before.to,
        }
    }

    /// Whether it was passed on.
    pub(crate) const fn was_forwarded(&self) -> bool {
        !self.forwards.is_empty()
    }

    /// Whether it may be passed on once more.
    pub(crate) fn can_be_forwarded(&self) -> bool {
        self.forwards.len() < MAX_FORWARDS
    }

    /// The same, passed on by its holder, which is this vat.
    pub(crate) fn forwarded(&self, by: &Identity, exporter: &VatKey, to: VatKey) -> Self {
        let mut claim = self.clone();
        let message = forward_message(exporter, &self.gift, &by.key, &to);
        let signature = by.signer.sign(&message);
        claim.forwards.push(Forward { to, signature });
        claim
    }

    /// How many signatures there are to check.
    pub(crate) fn signatures(&self) -> usize {
        1 + self.forwards.len()
    }

    /// To whom it was given who passed it on, in order.
    fn forwarders(&self) -> impl Iterator<Item = VatKey> {
        let given = std::iter::once(self.recipient);
        let all = given.chain(self.forwards.iter().map(|forward| forward.to));
        all.take(self.forwards.len())
    }

    /// Whether all signatures are good, for this vat as the exporter.
    pub(crate) fn is_signed(&self, exporter: &Identity) -> bool {
        self.is_signed_for(&exporter.key, &*exporter.signer)
    }

    fn is_signed_for(&self, exporter: &VatKey, signer: &dyn Signer) -> bool {
        let verify = |key: &VatKey, message: &[u8], sig| signer.verify(key, message, sig);
        let message = handoff_message(exporter, &self.recipient, &self.gift);
        if !verify(&self.gift.gifter, &message, &self.signature) {
            return false;
        }
        let mut holder = self.recipient;
        self.forwards.iter().all(|Forward { to, signature }| {
            let message = forward_message(exporter, &self.gift, &holder, to);
            let good = verify(&holder, &message, signature);
            holder = *to;
            good
        })
    }

    fn read(from: claim::Reader<'_>) -> Option<Self> {
        let list = from.get_forwards().ok()?;
        if list.len() as usize > MAX_FORWARDS {
            return None;
        }
        let forwards = list.iter().map(|forward| {
            Some(Forward {
                to: key(forward.get_to())?,
                signature: bytes(forward.get_signature())?,
            })
        });
        Some(Self {
            gift: GiftName {
                gifter: key(from.get_gifter())?,
                nonce: bytes(from.get_nonce())?,
            },
            recipient: key(from.get_recipient())?,
            signature: bytes(from.get_signature())?,
            forwards: forwards.collect::<Option<_>>()?,
        })
    }

    fn write(&self, mut to: claim::Builder<'_>) {
        to.set_gifter(&self.gift.gifter.0);
        to.set_nonce(&self.gift.nonce);
        to.set_recipient(&self.recipient.0);
        to.set_signature(&self.signature);
        if self.forwards.is_empty() {
            return;
        }
        let count = u32::try_from(self.forwards.len()).unwrap_or(u32::MAX);
        let mut list = to.init_forwards(count);
        for (index, forward) in (0u32..).zip(&self.forwards) {
            let mut entry = list.reborrow().get(index);
            entry.set_to(&forward.to.0);
            entry.set_signature(&forward.signature);
        }
    }
}

impl Contact {
    pub(crate) fn read(from: any_pointer::Reader<'_>) -> Option<Self> {
        let from: contact::Reader<'_> = from.get_as().ok()?;
        Some(Self {
            exporter: key(from.get_exporter())?,
            addresses: read_addresses(from.get_addresses().ok()?),
            claim: Claim::read(from.get_claim().ok()?)?,
        })
    }

    pub(crate) fn write(&self, to: any_pointer::Builder<'_>) {
        let mut to: contact::Builder<'_> = to.init_as();
        to.set_exporter(&self.exporter.0);
        if !self.addresses.is_empty() {
            let count = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
            write_addresses(to.reborrow().init_addresses(count), &self.addresses);
        }
        self.claim.write(to.init_claim());
    }
}

impl Await {
    pub(crate) fn read(from: any_pointer::Reader<'_>) -> Option<Self> {
        let from: third_party_await::Reader<'_> = from.get_as().ok()?;
        Some(Self {
            recipient: key(from.get_recipient())?,
            nonce: bytes(from.get_nonce())?,
        })
    }

    pub(crate) fn write(&self, to: any_pointer::Builder<'_>) {
        let mut to: third_party_await::Builder<'_> = to.init_as();
        to.set_recipient(&self.recipient.0);
        to.set_nonce(&self.nonce);
    }
}

/// Reads a completion.
pub(crate) fn read_completion(from: any_pointer::Reader<'_>) -> Option<Claim> {
    let from: completion::Reader<'_> = from.get_as().ok()?;
    Claim::read(from.get_claim().ok()?)
}

/// Writes a completion.
pub(crate) fn write_completion(claim: &Claim, to: any_pointer::Builder<'_>) {
    let to: completion::Builder<'_> = to.init_as();
    claim.write(to.init_claim());
}

/// Addresses that a peer named, as far as they are usable.
pub(crate) fn read_addresses(from: text_list::Reader<'_>) -> Vec<String> {
    from.iter()
        .take(MAX_ADDRESSES)
        .filter_map(|address| address.ok()?.to_str().ok().map(str::to_owned))
        .filter(|address| address.len() <= MAX_ADDRESS)
        .collect()
}

/// Writes addresses into a list that was made for them.
pub(crate) fn write_addresses(mut to: text_list::Builder<'_>, addresses: &[String]) {
    for (index, address) in (0u32..).zip(addresses) {
        to.set(index, address.as_str());
    }
}

fn handoff_message(exporter: &VatKey, recipient: &VatKey, gift: &GiftName) -> Vec<u8> {
    let parts: [&[u8]; 4] = [b"vat handoff 1\0", &exporter.0, &recipient.0, &gift.nonce];
    parts.concat()
}

fn forward_message(exporter: &VatKey, gift: &GiftName, by: &VatKey, to: &VatKey) -> Vec<u8> {
    let parts: [&[u8]; 6] = [
        b"vat forward 1\0",
        &exporter.0,
        &gift.gifter.0,
        &gift.nonce,
        &by.0,
        &to.0,
    ];
    parts.concat()
}

fn bytes<const N: usize>(from: capnp::Result<&[u8]>) -> Option<[u8; N]> {
    from.ok()?.try_into().ok()
}

fn key(from: capnp::Result<&[u8]>) -> Option<VatKey> {
    bytes(from).map(VatKey)
}

/// How often a gift may be passed on before somebody accepts it.
const MAX_FORWARDS: usize = 8;
/// Addresses that are told and read.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Longest address, in bytes.
const MAX_ADDRESS: usize = 256;

impl fmt::Debug for VatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VatKey(")?;
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…)")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("key", &self.key)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
