//! References to other vats' objects in durable state: those that can be had again.
//!
//! A reference that was granted in a power slot is written as the slot's name, one that came from a
//! sturdy ref as its URI and the slot of the network power through which it was enlivened. The first is
//! whatever is granted in that slot in the next life. The second is brought back dormant: it is
//! enlivened by the first call on it, and a call later than its end breaks, as with any reference.
//! All others die with their connection, and cannot be kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::codec::{self, CodecError, Ext, POWER_EXT, STURDY_EXT};
use crate::core::{Near, Ref, Route, Shared, Turn, WeakRef, routed};
use crate::error::Result;
use crate::power::NetworkRef;
use crate::sturdy::SturdyRef;

/// References of which it is known how to have them again.
#[derive(Default)]
pub(super) struct Known {
    powers: RefCell<BTreeMap<String, Ref>>,
    sturdy: RefCell<Vec<Enlivened>>,
}

struct Enlivened {
    reference: WeakRef,
    sturdy: SturdyRef,
    /// The slot of the network power.
    slot: String,
}

/// The program's power in this slot is taken.
pub(crate) fn note_power(slot: &str, power: &Ref) {
    if let Some(vat) = power.vat()
        && let Some(graph) = vat.durable.get()
    {
        let mut powers = graph.far.powers.borrow_mut();
        powers.insert(slot.to_owned(), power.clone());
    }
}

/// `reference` comes from `sturdy`, through this network power.
pub(crate) fn note_sturdy(reference: &Ref, sturdy: &SturdyRef, network: &Ref) {
    if let Some(vat) = reference.vat()
        && let Some(graph) = vat.durable.get()
        && let Some(slot) = graph.far.slot_of(network)
    {
        graph.far.remember(reference, sturdy.clone(), slot);
    }
}

impl Known {
    fn slot_of(&self, power: &Ref) -> Option<String> {
        let powers = self.powers.borrow();
        let mut powers = powers.iter();
        let found = powers.find(|(_, known)| known.same(power) == Some(true));
        found.map(|(slot, _)| slot.clone())
    }

    fn remember(&self, reference: &Ref, sturdy: SturdyRef, slot: String) {
        let mut known = self.sturdy.borrow_mut();
        if known.len() == known.capacity() {
            known.retain(|known| !known.reference.is_gone());
        }
        known.push(Enlivened {
            reference: reference.weak(),
            sturdy,
            slot,
        });
    }

    /// How the reference is written.
    fn write(&self, reference: &Ref) -> Result<(i8, Vec<u8>), CodecError> {
        // First: what is granted may be an object of this vat, in tests for example.
        if let Some(slot) = self.slot_of(reference) {
            return Ok((POWER_EXT, slot.into_bytes()));
        }
        let sturdy = self.sturdy.borrow();
        if let Some(known) = sturdy.iter().find(|known| known.reference.is(reference)) {
            let uri = known.sturdy.to_uri_with_secret();
            let text = [known.slot.as_str(), "\0", uri.as_str()].concat();
            return Ok((STURDY_EXT, text.into_bytes()));
        }
        Err(CodecError::new(match reference.object() {
            Some(object) => format!(
                "it has a reference to {object} as an interface, and an object of its own vat is kept \
                 only as a `Near<…>` of a durable type"
            ),
            None => format!(
                "the reference {reference:?} in it cannot be had again in another life: only what was \
                 granted in a slot, or enlivened from a sturdy ref through a network power, can be kept"
            ),
        }))
    }

    fn read(&self, vat: &Rc<Shared>, kind: i8, bytes: &[u8]) -> Result<Ref, CodecError> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let (slot, uri) = match (kind, text.split_once('\0')) {
            (POWER_EXT, None) => (text, None),
            (STURDY_EXT, Some((slot, uri))) => (slot, Some(uri)),
            _ => {
                return Err(CodecError::new(
                    "this is no reference to another vat's object",
                ));
            }
        };
        let power = self.powers.borrow().get(slot).cloned();
        let power = power.ok_or_else(|| {
            CodecError::new(format!(
                "a reference in it comes through the slot `{slot}`, which was not granted to this life \
                 of the program"
            ))
        })?;
        let Some(uri) = uri else {
            return Ok(power);
        };
        let sturdy = SturdyRef::parse(uri).map_err(|error| CodecError::new(error.to_string()))?;
        let dormant = Dormant {
            network: power.into(),
            sturdy: sturdy.clone(),
            live: RefCell::default(),
        };
        let near: Near<Dormant> = Turn(Rc::clone(vat)).spawn(dormant);
        let reference = routed(&near);
        self.remember(&reference, sturdy, slot.to_owned());
        Ok(reference)
    }

    /// The vat ends.
    pub(super) fn let_go(&self) {
        drop(self.powers.take());
    }
}

/// A reference that was not used in this life yet.
#[derive(vat::Object)]
#[object(external)]
struct Dormant {
    network: NetworkRef,
    sturdy: SturdyRef,
    live: RefCell<Option<Ref>>,
}

impl Route for Dormant {
    fn route(&self, _: &Rc<Shared>) -> Result<Ref> {
        let mut live = self.live.borrow_mut();
        Ok(live
            .get_or_insert_with(|| self.network.enliven(&self.sturdy))
            .clone())
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let Some((vat, check)) = codec::saved_vat() else {
            return Err(S::Error::custom(codec::NOT_ALONE));
        };
        let own = self.vat().is_some_and(|own| Rc::ptr_eq(&own, &vat));
        let graph = vat.durable.get().filter(|_| own);
        let other = || S::Error::custom("a reference of another vat");
        let (kind, bytes) = graph
            .ok_or_else(other)?
            .far
            .write(self)
            .map_err(S::Error::custom)?;
        match check {
            true => serializer.serialize_unit(),
            false => Ext((kind, ByteBuf::from(bytes))).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let Ext((kind, bytes)) = Ext::deserialize(deserializer)?;
        let read = codec::loaded_vat()
            .and_then(|vat| Some(vat.durable.get()?.far.read(&vat, kind, &bytes)));
        match read {
            Some(read) => read.map_err(D::Error::custom),
            None => Err(D::Error::custom(codec::NOT_ALONE)),
        }
    }
}
