//! Runs that failed once.

#![cfg(test)]

use captp::testing::Fault;

use crate::oracle::{Options, run_seed};

/// The first seed that finds a fault.
fn found(fault: Fault) -> Option<u64> {
    let options = Options::default().with_fault(fault);
    (0..1_000).find(|seed| run_seed(*seed, &options).is_err())
}

#[test]
fn deliberate_faults_are_found() {
    for fault in [
        Fault::EmbargoIgnored,
        Fault::ReleaseDropped,
        Fault::QueueSwapped,
        Fault::PinForgotten,
    ] {
        let seed = found(fault);
        println!("{fault:?} is found by seed {seed:?}");
        assert!(seed.is_some());
    }
}

#[test]
fn many_seeds_hold() {
    for seed in 0..100 {
        if let Err(failed) = run_seed(seed, &Options::default()) {
            panic!("seed {seed}: {}\n{}", failed.1, failed.0);
        }
    }
}
