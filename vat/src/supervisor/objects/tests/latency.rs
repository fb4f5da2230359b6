//! How long a crashed object is away.

use std::time::Instant;

use super::sample::{Bench, patient};
use crate::prelude::*;
use crate::supervisor::ChildSpec;

/// From the call that panics to the answer of the next life, without what the panic hook prints:
/// `cargo test --release -p vat --lib latency -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, for release builds"]
fn a_crashed_object_serves_again_within_10_us() {
    for siblings in [0, 10_000] {
        let bench = Bench::new(patient());
        for number in 0..siblings {
            bench.add(ChildSpec::new(format!("other {number}")));
        }
        let worker = bench.add(ChildSpec::new("a"));
        let mut times: Vec<u128> = (0..20_000)
            .map(|_| {
                bench.notes.borrow_mut().clear();
                let begin = Instant::now();
                let died = worker.panic();
                bench.run();
                let answer = bench.ask(worker.add(1));
                let time = begin.elapsed().as_nanos();
                assert_eq!(answer.unwrap(), 1);
                assert_eq!(
                    died.try_take().unwrap().unwrap_err().kind(),
                    ErrorKind::Panicked
                );
                time
            })
            .collect();
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100];
        println!("{siblings} siblings: p50 {} ns, p99 {} ns", at(50), at(99));
        assert!(at(50) <= 10_000, "p50 {} ns", at(50));
    }
}
