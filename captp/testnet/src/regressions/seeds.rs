//! Seeds that hold, and deliberate faults that do not.

use std::sync::atomic::{AtomicU64, Ordering};

use captp::testing::Fault;

use crate::oracle::{Failure, Options, Script, run_seed, shrink};

#[test]
fn deliberate_faults_are_found() {
    for (fault, shown_by) in [
        (Fault::EmbargoIgnored, "arrives"),
        (Fault::ReleaseDropped, "disagree on references"),
        (Fault::QueueSwapped, "one is missing"),
        (Fault::FinishMistaken, "disagree on references"),
        (Fault::PinForgotten, "does not point back"),
    ] {
        is_found(fault, shown_by, &Options::default());
    }
}

#[test]
fn deliberate_faults_of_handoff_are_found() {
    for (fault, shown_by) in [
        (Fault::AcceptEmbargoIgnored, "arrives"),
        (Fault::VineKeptOpen, "its gift stays open"),
    ] {
        is_found(fault, shown_by, &Options::default().with_handoff(true));
    }
}

fn is_found(fault: Fault, shown_by: &str, options: &Options) {
    let options = options.clone().with_fault(fault);
    let mut found = (0..1_000).filter_map(|seed| Some((seed, run_seed(seed, &options).err()?)));
    let shown = found.find(|(_, failed)| failed.1.what.contains(shown_by));
    let (seed, failed) = shown.unwrap_or_else(|| panic!("{fault:?} is not found"));
    println!("{fault:?} is found by seed {seed}: {}", failed.1);
}

/// Runs seeds on all processors; gives the failure with the smallest seed.
fn run_all(seeds: u64, options: &Options) -> Option<(u64, Script, Failure)> {
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            if let Err(failed) = run_seed(seed, options) {
                next.store(seeds, Ordering::Relaxed);
                return Some((seed, failed.0, failed.1));
            }
        }
    };
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|threads| {
        let running: Vec<_> = (0..jobs).map(|_| threads.spawn(work)).collect();
        let found = running.into_iter().map(|thread| thread.join().unwrap());
        found.flatten().min_by_key(|(seed, ..)| *seed)
    })
}

fn hold(seeds: u64, options: &Options) {
    if let Some((seed, script, failure)) = run_all(seeds, options) {
        let (script, _) = shrink(&script);
        panic!("seed {seed}: {failure}\n\n{script}");
    }
}

#[test]
fn ten_thousand_seeds_hold() {
    let narrow = Options::default().with_narrow(true);
    hold(7_000, &Options::default());
    hold(2_000, &Options::default().with_handoff(true));
    hold(1_500, &narrow);
    hold(500, &narrow.with_handoff(true));
}
