//! What is measured, and of whom.

use std::time::{Duration, Instant};

mod actix;
mod durable;
mod kameo;
mod plain;
mod ractor;
mod tokio;
mod vat;

/// One figure of one system, measured once each time it is called.
pub struct Case {
    pub work: &'static str,
    pub peer: &'static str,
    pub measure: Box<dyn Fn() -> f64>,
}

impl Case {
    fn new(work: &'static str, peer: &'static str, measure: impl Fn() -> f64 + 'static) -> Self {
        Self {
            work,
            peer,
            measure: Box::new(measure),
        }
    }
}

/// Messages that are under way together.
pub const BATCH: usize = 1_000;
/// How long one measurement takes.
const TIME: Duration = Duration::from_millis(60);

pub fn all() -> Vec<Case> {
    [
        plain::cases(),
        vat::cases(),
        tokio::cases(),
        actix::cases(),
        ractor::cases(),
        kameo::cases(),
        durable::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Nanoseconds for one of the `each` things that `act` does.
fn timed(each: usize, mut act: impl FnMut()) -> f64 {
    act();
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < TIME {
        act();
        done += each;
    }
    begin.elapsed().as_nanos() as f64 / done as f64
}

/// The same for what has to be awaited.
async fn timed_async<F: Future<Output = ()>>(each: usize, mut act: impl FnMut() -> F) -> f64 {
    act().await;
    let begin = Instant::now();
    let mut done = 0;
    while begin.elapsed() < TIME {
        act().await;
        done += each;
    }
    begin.elapsed().as_nanos() as f64 / done as f64
}

/// Bytes that `make` leaves in use, for each of `count` things, and what it made.
fn weighed<T>(count: usize, make: impl FnOnce() -> T) -> (f64, T) {
    let before = crate::heap::live();
    let made = make();
    ((crate::heap::live() - before) as f64 / count as f64, made)
}
