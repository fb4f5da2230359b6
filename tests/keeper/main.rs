//! One of several programs under one launcher: it has a tally, its own or that of another one.

use vat::prelude::*;
use vat_tests::{Keeper, KeeperRef, Tally, TallyRef};

/// What its manifest may grant.
#[derive(vat::Powers)]
struct Slots {
    tally: Option<TallyRef>,
    friend: Option<KeeperRef>,
}

#[derive(Clone, vat::Object)]
struct Sum(u64);

impl Tally for Sum {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }
}

#[derive(Clone, vat::Object)]
struct Pocket {
    tally: TallyRef,
    friend: Option<KeeperRef>,
}

impl Keeper for Pocket {
    fn add(&self, _turn: &Turn, by: u64) -> Result<Promise<u64>> {
        Ok(self.tally.add(by))
    }

    fn lend(&self, _turn: &Turn) -> Result<TallyRef> {
        Ok(self.tally.clone())
    }

    async fn borrow(this: Near<Self>, cx: &Cx, other: KeeperRef) -> Result<()> {
        let tally = other.lend();
        Ref::from(tally.clone()).settled().await?;
        this.with(cx, |pocket| pocket.tally = tally)
    }

    async fn borrow_from_friend(this: Near<Self>, cx: &Cx) -> Result<()> {
        let friend = this.read(cx, |pocket| pocket.friend.clone())?;
        let friend = friend.ok_or_else(|| Error::failed("no friend was granted"))?;
        Self::borrow(this, cx, friend).await
    }
}

/// What it exposes.
#[derive(vat::Exposed)]
struct Given {
    keeper: KeeperRef,
    tally: TallyRef,
}

#[vat::main]
async fn main(cx: &Cx, slots: Slots) -> Result<Given> {
    let own = TallyRef::new(cx, Sum(0));
    let tally = slots.tally.unwrap_or_else(|| own.clone());
    let friend = slots.friend;
    let keeper = KeeperRef::new(cx, Pocket { tally, friend });
    Ok(Given { keeper, tally: own })
}
