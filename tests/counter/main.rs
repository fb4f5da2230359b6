//! A vat without powers, for tests of the command: it counts, fails, is slow and crashes as asked.
#![allow(
    clippy::missing_errors_doc,
    clippy::print_stdout,
    clippy::unused_async,
    reason = "a program of the tests"
)]

use vat::prelude::*;

/// Counts.
#[vat::interface(name = "counter::Counter")]
pub trait Counter {
    /// Adds `by` and returns the total.
    fn add(&mut self, turn: &Turn, #[default(1)] by: u64) -> Result<u64>;
    /// Fails with this text.
    fn fail(&self, turn: &Turn, text: String) -> Result<()>;
    /// Another counter, which starts at 0.
    fn other(&self, turn: &Turn) -> Result<CounterRef>;
    /// Adds `by` to another counter; its total is the answer.
    async fn add_to(this: Near<Self>, cx: &Cx, counter: CounterRef, by: u64) -> Result<u64>;
    /// Never answers.
    async fn hang(this: Near<Self>, cx: &Cx) -> Result<()>;
    /// Ends the process.
    fn crash(&self, turn: &Turn) -> Result<()>;
    /// Prints a line.
    fn print(&self, turn: &Turn, line: String) -> Result<()>;
}

#[derive(Clone, vat::Object)]
struct Tally(u64);

impl Counter for Tally {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }

    fn fail(&self, _turn: &Turn, text: String) -> Result<()> {
        Err(Error::failed(text))
    }

    fn other(&self, turn: &Turn) -> Result<CounterRef> {
        Ok(CounterRef::from(&turn.spawn(Self(0))))
    }

    async fn add_to(_this: Near<Self>, _cx: &Cx, counter: CounterRef, by: u64) -> Result<u64> {
        counter.add(by).await
    }

    async fn hang(_this: Near<Self>, _cx: &Cx) -> Result<()> {
        std::future::pending().await
    }

    fn crash(&self, _turn: &Turn) -> Result<()> {
        std::process::abort()
    }

    fn print(&self, _turn: &Turn, line: String) -> Result<()> {
        println!("{line}");
        Ok(())
    }
}

#[vat::main]
async fn main(cx: &Cx) -> Result<CounterRef> {
    Ok(CounterRef::new(cx, Tally(0)))
}
