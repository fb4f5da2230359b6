//! A program for tests that does not become ready: never, or, if it has a directory to remember it,
//! only the first time.

use vat::power::DirectoryRef;
use vat::prelude::*;
use vat_tests::{Sum, TallyRef};

/// What its manifest may grant.
#[derive(vat::Powers)]
struct Slots {
    home: Option<DirectoryRef>,
}

#[vat::main]
async fn main(cx: &Cx, slots: Slots) -> Result<TallyRef> {
    if let Some(home) = slots.home
        && Ref::from(home.create("awake")).settled().await.is_ok()
    {
        return Ok(TallyRef::new(cx, Sum(0)));
    }
    std::future::pending().await
}
