//! Interfaces and objects that the tests use.

use crate::prelude::*;

/// A counter.
#[vat::interface(name = "sample::Counter")]
pub(crate) trait Counter {
    /// What it counts.
    fn value(&self, turn: &Turn) -> Result<u64>;
    /// Counts on.
    fn add(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    /// Counts on and fails.
    fn add_and_fail(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    /// Counts on and panics.
    fn add_and_panic(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    /// Counts on and gives an error that keeps the change.
    fn add_and_keep(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    /// Adds to this one, and after a wait to the other; then fails if told so.
    async fn add_both(this: Near<Self>, cx: &Cx, other: CounterRef, fail: bool) -> Result<u64>;
    /// A name for the count.
    fn label(&self, turn: &Turn, prefix: &str, suffix: String) -> Result<String>;
    /// A counter that begins where this one is.
    fn fork(&mut self, turn: &Turn) -> Result<CounterRef>;
}

/// A transactional counter.
#[derive(Clone, Debug, Default, vat::Object)]
pub(crate) struct Count {
    pub(crate) value: u64,
    /// Told of every change.
    pub(crate) follower: Option<CounterRef>,
}

impl Counter for Count {
    fn value(&self, _: &Turn) -> Result<u64> {
        Ok(self.value)
    }

    fn add(&mut self, _: &Turn, amount: u64) -> Result<u64> {
        self.value += amount;
        if let Some(follower) = &self.follower {
            follower.add(amount).detach();
        }
        Ok(self.value)
    }

    fn add_and_fail(&mut self, turn: &Turn, amount: u64) -> Result<u64> {
        self.add(turn, amount)?;
        Err(Error::failed("told to fail"))
    }

    fn add_and_panic(&mut self, turn: &Turn, amount: u64) -> Result<u64> {
        self.add(turn, amount)?;
        panic!("told to panic")
    }

    fn add_and_keep(&mut self, turn: &Turn, amount: u64) -> Result<u64> {
        self.add(turn, amount)?;
        Err(turn.commit_err(Error::failed("told to fail, and to keep")))
    }

    async fn add_both(this: Near<Self>, cx: &Cx, other: CounterRef, fail: bool) -> Result<u64> {
        this.with(cx, |count| count.value += 1)?;
        let other = other.add(1).await?;
        this.with(cx, |count| count.value += 10)?;
        if fail {
            Err(Error::failed("told to fail, late"))
        } else {
            Ok(other)
        }
    }

    fn label(&self, _: &Turn, prefix: &str, suffix: String) -> Result<String> {
        Ok(format!("{prefix}{}{suffix}", self.value))
    }

    fn fork(&mut self, turn: &Turn) -> Result<CounterRef> {
        Ok(CounterRef::new(turn, self.clone()))
    }
}

/// A new counter and the reference to it.
pub(crate) fn counter(vat: &vat::Vat) -> (Near<Count>, CounterRef) {
    vat.turn(|turn| {
        let near = turn.spawn(Count::default());
        Ok((near.clone(), CounterRef::from(near)))
    })
    .unwrap()
}

/// What it counts now.
pub(crate) fn value(vat: &vat::Vat, counter: &Near<Count>) -> u64 {
    vat.turn(|turn| counter.value(turn)).unwrap()
}

/// Runs until nothing is left to do.
pub(crate) fn run(vat: &vat::Vat) {
    assert!(vat.run(10_000) < 10_000, "the vat does not come to rest");
}

/// The result of a promise that must be settled.
#[track_caller]
pub(crate) fn taken<T: vat::Data>(promise: &Promise<T>) -> Result<T> {
    promise.try_take().expect("a settled promise")
}
