//! The shop's worker: knows the prices, and enters what is sold in the ledger that it was granted.

use vat::prelude::*;
use vat_examples::shop::{Good, LedgerRef, Receipt, Sale, Worker, WorkerRef};

/// What there is, and what a piece costs, in cents.
const PRICES: [(&str, u64); 3] = [("coffee", 420), ("milk", 130), ("tea", 350)];

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    ledger: LedgerRef,
}

#[derive(Clone, vat::Object)]
struct Clerk {
    ledger: LedgerRef,
}

impl Worker for Clerk {
    fn goods(&self, _turn: &Turn) -> Result<Vec<Good>> {
        let good = |(item, cents): (&str, u64)| Good {
            item: item.to_owned(),
            cents,
        };
        Ok(PRICES.map(good).into())
    }

    async fn sell(this: Near<Self>, cx: &Cx, item: String, count: u64) -> Result<Receipt> {
        let cents = price(&item, count)?;
        let ledger = this.read(cx, |clerk| clerk.ledger.clone())?;
        let balance = ledger.enter(Sale { item, count, cents }).await?;
        Ok(Receipt {
            number: balance.sales,
            cents,
        })
    }
}

/// What `count` pieces cost.
fn price(item: &str, count: u64) -> Result<u64> {
    let known = PRICES.iter().find(|(name, _)| *name == item);
    let Some((_, piece)) = known else {
        let names = PRICES.map(|(name, _)| name).join(", ");
        return Err(Error::failed(format!(
            "there is no {item:?}; there are {names}"
        )));
    };
    if count == 0 {
        return Err(Error::failed("nothing was asked for"));
    }
    let cents = piece.checked_mul(count);
    cents.ok_or_else(|| Error::failed("that is more than anybody can pay"))
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<WorkerRef> {
    let ledger = granted.ledger;
    Ok(WorkerRef::new(cx, Clerk { ledger }))
}
