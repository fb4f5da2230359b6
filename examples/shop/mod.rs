//! The shop's interfaces: what its three programs offer each other, and their customers.

use vat::prelude::*;

/// Where every sale is entered.
#[vat::interface(name = "shop::Ledger")]
pub trait Ledger {
    /// Enters a sale; answers how many there are now, and what was taken altogether.
    fn enter(&mut self, turn: &Turn, sale: Sale) -> Result<Balance>;

    /// The sales, oldest first.
    fn sales(&self, turn: &Turn) -> Result<Vec<Sale>>;
}

/// Who knows the prices, and does the work of a sale.
#[vat::interface(name = "shop::Worker")]
pub trait Worker {
    /// What there is, and what a piece costs.
    fn goods(&self, turn: &Turn) -> Result<Vec<Good>>;

    /// Prices the goods and enters the sale.
    async fn sell(this: Near<Self>, cx: &Cx, item: String, count: u64) -> Result<Receipt>;
}

/// What customers see.
#[vat::interface(name = "shop::Gateway")]
pub trait Gateway {
    /// What there is, and what a piece costs.
    fn goods(&self, turn: &Turn) -> Result<Promise<Vec<Good>>>;

    /// Buys `count` pieces of `item`.
    fn checkout(
        &mut self,
        turn: &Turn,
        item: String,
        #[default(1)] count: u64,
    ) -> Result<Promise<Receipt>>;
}

/// Something that can be bought.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
#[data(name = "shop::Good")]
pub struct Good {
    /// What it is called.
    pub item: String,
    /// What a piece costs, in cents.
    pub cents: u64,
}

/// One sale.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
#[data(name = "shop::Sale")]
pub struct Sale {
    /// What was sold.
    pub item: String,
    /// How many pieces.
    pub count: u64,
    /// For how much altogether, in cents.
    pub cents: u64,
}

/// Where the ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
#[data(name = "shop::Balance")]
pub struct Balance {
    /// How many sales were entered.
    pub sales: u64,
    /// What was taken altogether, in cents.
    pub cents: u64,
}

/// What a customer gets.
#[derive(Clone, Debug, PartialEq, Eq, vat::Data)]
#[data(name = "shop::Receipt")]
pub struct Receipt {
    /// The number of the sale in the ledger, from 1 on.
    pub number: u64,
    /// The price of all pieces, in cents.
    pub cents: u64,
}
