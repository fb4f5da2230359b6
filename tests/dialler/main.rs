//! A program that is granted a `Network`, or none, and tries to use it.

use vat::power::NetworkRef;
use vat::prelude::*;
use vat_tests::{DiallerRef, Granted};

/// What its manifest may grant.
#[derive(vat::Powers)]
struct Slots {
    net: Option<NetworkRef>,
}

#[vat::main]
async fn main(cx: &Cx, slots: Slots) -> Result<DiallerRef> {
    Ok(DiallerRef::new(cx, Granted::new(slots.net)))
}
