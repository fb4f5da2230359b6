//! The shop's ledger: the sales since it was started. It keeps them in memory only.

use vat::power::LogSinkRef;
use vat::prelude::*;
use vat_examples::shop::{Balance, Ledger, LedgerRef, Sale};

/// What the manifest must grant.
#[derive(vat::Powers)]
struct Granted {
    log: LogSinkRef,
}

#[derive(Clone, vat::Object)]
struct Book {
    log: LogSinkRef,
    sales: Vec<Sale>,
    cents: u64,
}

impl Ledger for Book {
    fn enter(&mut self, _turn: &Turn, sale: Sale) -> Result<Balance> {
        let cents = self.cents.checked_add(sale.cents);
        self.cents = cents.ok_or_else(|| Error::failed("the ledger is full"))?;
        self.sales.push(sale);
        let balance = Balance {
            sales: self.sales.len() as u64,
            cents: self.cents,
        };
        self.log
            .info(format!(
                "sale {}; {} cents taken",
                balance.sales, balance.cents
            ))
            .detach();
        Ok(balance)
    }

    fn sales(&self, _turn: &Turn) -> Result<Vec<Sale>> {
        Ok(self.sales.clone())
    }
}

#[vat::main]
async fn main(cx: &Cx, granted: Granted) -> Result<LedgerRef> {
    let book = Book {
        log: granted.log,
        sales: Vec::new(),
        cents: 0,
    };
    Ok(LedgerRef::new(cx, book))
}
