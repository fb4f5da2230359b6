//! A bank whose total never changes, whatever happens to its process: what `examples/bank` offers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vat::durable::Once;
use vat::prelude::*;

/// Accounts, between which money is moved.
#[vat::interface(name = "bank::Bank")]
pub trait Bank {
    /// Opens an account with so much money in it, unless there is one of this name. The answer is
    /// what is in it.
    fn open(&mut self, turn: &Turn, name: String, cents: u64) -> Result<u64>;

    /// Moves money, and answers with the number of this transfer once it is on disk. Who does not know
    /// whether a transfer was made sends it again with the same token: it is made once.
    fn transfer(
        &mut self,
        turn: &Turn,
        token: Vec<u8>,
        from: String,
        to: String,
        cents: u64,
    ) -> Result<u64>;

    /// What is in an account.
    fn balance(&self, turn: &Turn, name: String) -> Result<u64>;

    /// What is in all accounts together, and how many transfers were made.
    fn total(&self, turn: &Turn) -> Result<Total>;
}

/// A bank's books in short.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
#[data(name = "bank::Total")]
pub struct Total {
    /// What is in all accounts together.
    pub cents: u64,
    /// How many transfers were made.
    pub transfers: u64,
}

/// One account: an object of its own, so that a transfer writes the two it concerns and no other.
#[derive(Clone, Debug, vat::Object, Serialize, Deserialize)]
#[object(durable = "bank.Account")]
pub struct Account {
    cents: u64,
}

impl Account {
    fn withdraw(&mut self, cents: u64) -> Result<()> {
        let left = self.cents.checked_sub(cents);
        self.cents = left.ok_or_else(|| Error::failed("there is not enough in it"))?;
        Ok(())
    }
}

/// The bank itself.
#[derive(Clone, Debug, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "bank.Office")]
pub struct Office {
    accounts: BTreeMap<String, Near<Account>>,
    transfers: u64,
    made: Once<u64>,
}

impl Office {
    fn account(&self, name: &str) -> Result<Near<Account>> {
        let account = self.accounts.get(name).cloned();
        account.ok_or_else(|| Error::failed(format!("there is no account of {name}")))
    }
}

impl Bank for Office {
    fn open(&mut self, turn: &Turn, name: String, cents: u64) -> Result<u64> {
        let new = || turn.spawn(Account { cents });
        let account = self.accounts.entry(name).or_insert_with(new);
        account.read(turn, |account| account.cents)
    }

    fn transfer(
        &mut self,
        turn: &Turn,
        token: Vec<u8>,
        from: String,
        to: String,
        cents: u64,
    ) -> Result<u64> {
        let (from, to) = (self.account(&from)?, self.account(&to)?);
        self.made.run(&token, || {
            from.call(turn, |account| account.withdraw(cents))?;
            to.with(turn, |account| account.cents += cents)?;
            self.transfers += 1;
            Ok(self.transfers)
        })
    }

    fn balance(&self, turn: &Turn, name: String) -> Result<u64> {
        self.account(&name)?.read(turn, |account| account.cents)
    }

    fn total(&self, turn: &Turn) -> Result<Total> {
        let mut cents = 0;
        for account in self.accounts.values() {
            cents += account.read(turn, |account| account.cents)?;
        }
        Ok(Total {
            cents,
            transfers: self.transfers,
        })
    }
}
