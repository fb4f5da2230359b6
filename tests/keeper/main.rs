//! One of several programs under one launcher: it has a tally, its own or that of another one.

use vat::prelude::*;
use vat_tests::{Keeper, KeeperRef, Sum, TallyRef};

/// What its manifest may grant.
#[derive(vat::Powers)]
struct Slots {
    tally: Option<TallyRef>,
    friend: Option<KeeperRef>,
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

    async fn borrow(this: Near<Self>, cx: &Cx) -> Result<()> {
        let friend = this.read(cx, |pocket| pocket.friend.clone())?;
        let friend = friend.ok_or_else(|| Error::failed("no friend was granted"))?;
        let tally = friend.lend();
        Ref::from(tally.clone()).settled().await?;
        this.with(cx, |pocket| pocket.tally = tally)
    }
}

/// What it exposes: the tally is the one that it has, whoever hosts it.
#[derive(vat::Exposed)]
struct Given {
    keeper: KeeperRef,
    tally: TallyRef,
}

#[vat::main]
async fn main(cx: &Cx, slots: Slots) -> Result<Given> {
    let tally = slots.tally.unwrap_or_else(|| TallyRef::new(cx, Sum(0)));
    let pocket = Pocket {
        tally: tally.clone(),
        friend: slots.friend,
    };
    let keeper = KeeperRef::new(cx, pocket);
    Ok(Given { keeper, tally })
}
