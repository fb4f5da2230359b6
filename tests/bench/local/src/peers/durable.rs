//! Turns that change a durable object, in batches of 1,000, and the same changes written by redb alone.

use std::path::Path;

use ::vat::Vat;
use ::vat::durable::Store;
use ::vat::prelude::*;
use redb::{Database, TableDefinition};
use serde::{Deserialize, Serialize};

use super::{BATCH, Case, timed};

#[vat::interface(name = "bench::Account")]
pub trait Account {
    fn pay(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
}

#[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "bench.Kept")]
struct Kept {
    balance: u64,
    payments: u64,
}

impl Account for Kept {
    fn pay(&mut self, _: &Turn, amount: u64) -> Result<u64> {
        self.balance += amount;
        self.payments += 1;
        Ok(self.balance)
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("durable", "vat", || on_disk(ours)),
        Case::new("durable", "redb alone", || on_disk(redb_alone)),
    ]
}

/// In a folder of the disk that the program itself is on: one in memory would not wait for anything.
fn on_disk(measure: impl Fn(&Path) -> f64) -> f64 {
    let program = std::env::current_exe().expect("the program has a path");
    let folder = program.parent().expect("it is in a folder");
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    measure(&folder.path().join("store"))
}

/// One turn for each of 1,000 objects, then all is on disk.
fn ours(path: &Path) -> f64 {
    let vat = Vat::new("bench");
    let store = Store::at(path).expect("a store");
    vat.attach_store(store).expect("it has none yet");
    let mut accounts: Vec<Near<Kept>> = (0..BATCH)
        .map(|number| {
            let made =
                vat.turn(|turn| turn.durable(&format!("account {number}"), |_| Kept::default()));
            made.expect("a durable object")
        })
        .collect();
    timed(BATCH, || {
        for account in &mut accounts {
            let paid = vat.turn(|turn| account.pay(turn, 1));
            paid.expect("the call succeeds");
        }
        vat.flush_store().expect("it is written");
    })
}

const ACCOUNTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("accounts");

/// A transaction for each 1,000 changes.
fn redb_alone(path: &Path) -> f64 {
    let database = Database::create(path).expect("a store");
    let mut balance: u64 = 0;
    timed(BATCH, || {
        balance += 1;
        let state = [balance.to_le_bytes(), balance.to_le_bytes()].concat();
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut table = transaction.open_table(ACCOUNTS).expect("a table");
            for account in 0..BATCH as u64 {
                table.insert(account, &state[..]).expect("it is inserted");
            }
        }
        transaction.commit().expect("it is written");
    })
}
