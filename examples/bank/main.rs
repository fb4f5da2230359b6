//! A bank: its state is on disk, and nothing else is granted to it.
#![allow(clippy::unused_async, reason = "a program's main is async")]

use vat::prelude::*;
use vat_examples::bank::{BankRef, Office};

#[vat::main]
async fn main(cx: &Cx) -> Result<BankRef> {
    let office = cx.durable("office", |_| Office::default())?;
    Ok(BankRef::from(&office))
}
