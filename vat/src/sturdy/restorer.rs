//! The restorer: a vat's network bootstrap, which turns swiss numbers into references.

use std::collections::BTreeMap;

use crate::net::Asking;
use crate::prelude::*;
use crate::sturdy::{SwissDigest, SwissNumber};

/// Turns a swiss number into the reference it names. The bootstrap of every vat on the network.
#[vat::interface]
pub trait Restorer {
    /// The reference that `swiss` names.
    ///
    /// # Errors
    ///
    /// A number that is wrong, revoked, expired or never existed gets one and the same answer. Who
    /// asks for too many of these within a minute is told that it is overloaded, whatever it asks for.
    fn restore(&self, turn: &Turn, swiss: Vec<u8>) -> Result<Ref>;
}

/// The references a vat exposes, by the digest of their swiss numbers; the numbers are not kept.
///
/// A peer that asks for many that are not there is refused for a while: see
/// [`AdmissionLimits::restore_misses`](crate::net::AdmissionLimits::restore_misses).
#[derive(Clone, Debug, Default, vat::Object)]
pub struct Exposures {
    by_digest: BTreeMap<SwissDigest, Ref>,
}

impl Exposures {
    /// From now on `swiss` restores to `reference`.
    pub fn expose(&mut self, swiss: &SwissNumber, reference: Ref) {
        self.by_digest.insert(swiss.digest(), reference);
    }
}

impl Restorer for Exposures {
    fn restore(&self, turn: &Turn, swiss: Vec<u8>) -> Result<Ref> {
        let asking = Asking::in_turn(turn);
        if let Some(asking) = &asking {
            asking.check()?;
        }
        let known = <[u8; SwissNumber::LEN]>::try_from(swiss.as_slice())
            .ok()
            .and_then(|swiss| self.by_digest.get(&SwissNumber::from_bytes(swiss).digest()));
        known.cloned().ok_or_else(|| {
            if let Some(asking) = &asking {
                asking.missed();
            }
            Error::failed(NO_SUCH_REFERENCE).with_detail(DENIED_DETAIL, Vec::new())
        })
    }
}

/// What a holder of a wrong, revoked, expired or invented sturdy ref is told.
pub const NO_SUCH_REFERENCE: &str = "no such reference";

/// The detail by which a caller recognises that answer.
pub const DENIED_DETAIL: u64 = 0xc5a1_0f2d_8d6e_3b97;
