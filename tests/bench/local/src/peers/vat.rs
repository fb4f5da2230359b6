//! Our side.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ::vat::Vat;
use ::vat::prelude::*;
use ::vat::supervisor::{Backoff, ChildSpec, Intensity, SupervisorSpec};

use super::{BATCH, Case, timed, weighed};

#[vat::interface(name = "bench::Counter")]
pub trait Counter {
    fn add(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    async fn add_async(this: Near<Self>, cx: &Cx, amount: u64) -> Result<u64>;
    fn crash(&mut self, turn: &Turn) -> Result<()>;
}

/// Two words of state, brought back when a turn fails.
#[derive(Clone, Default, vat::Object)]
struct Count {
    value: u64,
    calls: u64,
}

impl Counter for Count {
    fn add(&mut self, _: &Turn, amount: u64) -> Result<u64> {
        self.value += amount;
        self.calls += 1;
        Ok(self.value)
    }

    async fn add_async(this: Near<Self>, cx: &Cx, amount: u64) -> Result<u64> {
        this.with(cx, |count| {
            count.value += amount;
            count.value
        })
    }

    fn crash(&mut self, _: &Turn) -> Result<()> {
        panic!("told to crash")
    }
}

/// The same, but nothing is brought back.
#[derive(Default, vat::Object)]
#[object(external)]
struct Outside(Count);

impl Counter for Outside {
    fn add(&mut self, turn: &Turn, amount: u64) -> Result<u64> {
        self.0.add(turn, amount)
    }

    async fn add_async(this: Near<Self>, cx: &Cx, amount: u64) -> Result<u64> {
        this.with(cx, |outside| {
            outside.0.value += amount;
            outside.0.value
        })
    }

    fn crash(&mut self, _: &Turn) -> Result<()> {
        panic!("told to crash")
    }
}

/// Objects that are made at once.
const MANY: usize = 1_000_000;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("near", "vat", || near(Count::default())),
        Case::new("near", "vat, external", || near(Outside::default())),
        Case::new("turn", "vat", || turn(Count::default())),
        Case::new("turn", "vat, external", || turn(Outside::default())),
        Case::new("ask", "vat", || ask(|counter| counter.add(1))),
        Case::new("ask", "vat, async method", || {
            ask(|counter| counter.add_async(1))
        }),
        Case::new("tell", "vat", tell),
        Case::new("spawn", "vat", || spawn().0),
        Case::new("bytes", "vat", || spawn().1),
        Case::new("restart", "vat", restart),
    ]
}

fn counter(vat: &Vat) -> CounterRef {
    let made = vat.turn(|turn| Ok(CounterRef::new(turn, Count::default())));
    made.expect("an object can be made")
}

/// One call after the other, all in one turn.
fn near<T: Counter + vat::Object>(state: T) -> f64 {
    let vat = Vat::new("bench");
    let mut near = vat.turn(|turn| Ok(turn.spawn(state))).expect("an object");
    timed(BATCH, || {
        let done = vat.turn(|turn| {
            for _ in 0..BATCH {
                black_box(near.add(turn, black_box(1))?);
            }
            Ok(())
        });
        done.expect("the calls succeed");
    })
}

/// A turn for each call.
fn turn<T: Counter + vat::Object>(state: T) -> f64 {
    let vat = Vat::new("bench");
    let mut near = vat.turn(|turn| Ok(turn.spawn(state))).expect("an object");
    timed(BATCH, || {
        for _ in 0..BATCH {
            let done = vat.turn(|turn| near.add(turn, black_box(1)));
            let _ = black_box(done.expect("the call succeeds"));
        }
    })
}

fn ask(call: impl Fn(&CounterRef) -> Promise<u64>) -> f64 {
    let vat = Vat::new("bench");
    let counter = counter(&vat);
    let mut answers = Vec::with_capacity(BATCH);
    timed(BATCH, || {
        let sent = vat.turn(|_| {
            answers.extend((0..BATCH).map(|_| call(&counter)));
            Ok(())
        });
        sent.expect("calls are sent");
        vat.run(usize::MAX);
        for answer in answers.drain(..) {
            let answer = answer.try_take().expect("it is there");
            black_box(answer.expect("the call succeeds"));
        }
    })
}

fn tell() -> f64 {
    let vat = Vat::new("bench");
    let counter = counter(&vat);
    timed(BATCH, || {
        let sent = vat.turn(|_| {
            (0..BATCH).for_each(|_| counter.add(1).detach());
            Ok(())
        });
        sent.expect("calls are sent");
        vat.run(usize::MAX);
    })
}

/// Nanoseconds and bytes for each of many objects, which are kept.
fn spawn() -> (f64, f64) {
    let vat = Vat::new("bench");
    let begin = Instant::now();
    let (bytes, kept) = weighed(MANY, || {
        let mut kept = Vec::with_capacity(MANY);
        for _ in 0..MANY / BATCH {
            let made = vat.turn(|turn| {
                kept.extend((0..BATCH).map(|_| turn.spawn(Count::default())));
                Ok(())
            });
            made.expect("objects can be made");
        }
        kept
    });
    let time = begin.elapsed().as_nanos() as f64 / MANY as f64;
    // The list that keeps them is not theirs.
    let listed = size_of_val(&kept[0]) as f64;
    drop(kept);
    (time, bytes - listed)
}

/// Microseconds from the call that panics to the answer of the next life: the median.
fn restart() -> f64 {
    let vat = Vat::new("bench");
    let spec = SupervisorSpec::default()
        .with_backoff(Backoff::NONE)
        .with_intensity(Intensity {
            restarts: 1_000_000,
            within: Duration::from_secs(1),
        });
    let worker = vat.turn(|turn| {
        let supervisor = turn.supervise(spec);
        supervisor.add(turn, ChildSpec::new("worker"), |turn| {
            Ok(CounterRef::new(turn, Count::default()))
        })
    });
    let worker = worker.expect("a supervised object");
    let mut times: Vec<f64> = (0..2_000)
        .map(|_| {
            let begin = Instant::now();
            worker.crash().detach();
            vat.run(usize::MAX);
            let answer = worker.add(1);
            vat.run(usize::MAX);
            let time = begin.elapsed().as_nanos() as f64 / 1e3;
            assert_eq!(answer.try_take().expect("an answer").expect("it serves"), 1);
            time
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
