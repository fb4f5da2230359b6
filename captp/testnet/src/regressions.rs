//! Runs that failed once.

#![cfg(test)]

use std::sync::atomic::{AtomicU64, Ordering};

use captp::testing::Fault;

use crate::oracle::script::{answered, param, result};
use crate::oracle::{Failure, Op, Options, Script, Setup, holds, run_seed, shrink};

#[test]
fn deliberate_faults_are_found() {
    for (fault, shown_by) in [
        (Fault::EmbargoIgnored, "arrives"),
        (Fault::ReleaseDropped, "disagree on references"),
        (Fault::QueueSwapped, "one is missing"),
        (Fault::PinForgotten, "does not point back"),
    ] {
        let options = Options::default().with_fault(fault);
        let mut found = (0..1_000).filter_map(|seed| Some((seed, run_seed(seed, &options).err()?)));
        let shown = found.find(|(_, failed)| failed.1.what.contains(shown_by));
        let (seed, failed) = shown.unwrap_or_else(|| panic!("{fault:?} is not found"));
        println!("{fault:?} is found by seed {seed}: {}", failed.1);
    }
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
    hold(8_000, &Options::default());
    hold(2_000, &Options::default().with_handoff(true));
    hold(2_000, &Options::default().with_narrow(true));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_gift_that_went_back_and_was_called_by_its_giver_can_be_accepted() {
    holds(
        Setup::new(3, &[(0, 1), (0, 2), (1, 2)])
            .with_hello()
            .with_keys(),
        &[
            Op::Bootstrap {
                id: 1,
                vat: 0,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 3,
                vat: 0,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 4,
                vat: 2,
                peer: 0,
                lane: 0,
            },
            Op::Bootstrap {
                id: 6,
                vat: 1,
                peer: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 12,
                on: result(1, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 14,
                on: result(12, 0),
                with: vec![(2, result(3, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 16,
                on: result(4, 0),
                with: vec![(3, result(4, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 17,
                on: param(16, 3),
                with: vec![(3, result(12, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 26,
                on: param(17, 3),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 33,
                on: result(26, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 45,
                call: 12,
                with: vec![(0, result(6, 0))],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 53,
                call: 26,
                with: vec![(0, param(14, 2))],
            },
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_promise_that_became_a_gift_goes_back_as_the_vine() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)]).with_hello().with_keys(),
        &[
            Op::Bootstrap {
                id: 1,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Bootstrap {
                id: 2,
                vat: 1,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 3,
                vat: 2,
                peer: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 8,
                on: result(2, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 11,
                on: result(8, 0),
                with: vec![(3, result(1, 0))],
                ask: vec![],
            },
            Op::Promise { id: 13, vat: 2 },
            Op::Call {
                id: 14,
                on: result(13, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 18,
                call: 8,
                with: vec![(0, result(3, 0)), (3, result(14, 0))],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 33,
                on: result(14, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Clone {
                id: 40,
                of: answered(8, 3),
            },
            Op::Promise { id: 47, vat: 1 },
            Op::Call {
                id: 48,
                on: result(47, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Resolve {
                promise: 47,
                to: result(40, 0),
            },
            Op::Resolve {
                promise: 13,
                to: result(3, 0),
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 68,
                call: 14,
                with: vec![(0, param(11, 3))],
            },
        ],
    );
}

/// Each vat returned a reference inside the answer of the other, and neither could send its Finish.
#[test]
fn answers_that_hold_null_references_inside_each_other_end() {
    holds(
        Setup::new(3, &[(0, 2)]),
        &[
            Op::Bootstrap {
                id: 1,
                vat: 0,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 2,
                vat: 2,
                peer: 0,
                lane: 0,
            },
            Op::Call {
                id: 9,
                on: result(2, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 14,
                on: result(1, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 20,
                call: 9,
                with: vec![(1, result(14, 0))],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 33,
                call: 14,
                with: vec![(1, result(9, 0))],
            },
        ],
    );
}

/// The same when one of them turns out to be an object of who asked.
#[test]
fn answers_that_hold_references_inside_each_other_end() {
    holds(
        Setup::new(3, &[(0, 2)]),
        &[
            Op::Bootstrap {
                id: 3,
                vat: 0,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 4,
                vat: 2,
                peer: 0,
                lane: 0,
            },
            Op::Call {
                id: 5,
                on: result(3, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 6,
                on: result(4, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 9,
                call: 5,
                with: vec![(0, result(4, 0)), (3, result(6, 0))],
            },
            Op::Deliver {
                from: 2,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 10,
                call: 6,
                with: vec![(0, result(5, 0))],
            },
        ],
    );
}

/// The peer was told that a reference is one inside its own answer; that call was cancelled, and then
/// the peer's Disembargo came. The connection was aborted.
#[test]
fn a_disembargo_to_what_was_cancelled_is_answered() {
    holds(
        Setup::new(2, &[(0, 1)]),
        &[
            Op::Bootstrap {
                id: 1,
                vat: 0,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 2,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Call {
                id: 3,
                on: result(1, 0),
                with: vec![],
                ask: vec![1],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 4,
                on: result(2, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 5,
                on: result(3, 1),
                with: vec![],
                ask: vec![],
            },
            Op::Promise { id: 8, vat: 1 },
            Op::Resolve {
                promise: 8,
                to: result(4, 0),
            },
            Op::Answer {
                id: 14,
                call: 3,
                with: vec![(1, result(8, 0))],
            },
            Op::Cancel { name: result(4, 0) },
        ],
    );
}

/// Vat 2 named to vat 1 a reference that it had been told is its own promise, which meanwhile had
/// become an object of vat 1: vat 1 used the object at once, past a call of vat 2 that was still on
/// its way to vat 2 and back.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_reflected_reference_waits_for_what_was_sent_there() {
    holds(
        Setup::new(4, &[(1, 2), (1, 3)]),
        &[
            Op::Bootstrap {
                id: 8,
                vat: 2,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 10,
                vat: 3,
                peer: 1,
                lane: 0,
            },
            Op::Promise { id: 15, vat: 2 },
            Op::Call {
                id: 17,
                on: result(10, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 25,
                on: result(17, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Call {
                id: 28,
                on: result(8, 0),
                with: vec![(1, result(15, 0))],
                ask: vec![0],
            },
            Op::Resolve {
                promise: 15,
                to: result(8, 0),
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 33,
                on: result(28, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 41,
                on: result(15, 0),
                with: vec![(3, result(28, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 60,
                call: 28,
                with: vec![(0, param(28, 1))],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 95,
                call: 17,
                with: vec![(0, param(41, 3))],
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
        ],
    );
}

/// A reference inside an answer turned out to be an export of the peer, which then broke.
#[test]
fn a_place_that_an_import_took_over_ends_with_the_import() {
    holds(
        Setup::new(2, &[(0, 1)]),
        &[
            Op::Bootstrap {
                id: 2,
                vat: 0,
                peer: 1,
                lane: 0,
            },
            Op::Promise { id: 5, vat: 0 },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 9,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Break { promise: 5 },
            Op::Call {
                id: 14,
                on: result(2, 0),
                with: vec![(1, result(5, 0))],
                ask: vec![0],
            },
            Op::Call {
                id: 25,
                on: result(9, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 40,
                call: 14,
                with: vec![(0, param(14, 1))],
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 51,
                call: 25,
                with: vec![(0, result(14, 0))],
            },
            Op::Call {
                id: 54,
                on: result(25, 0),
                with: vec![],
                ask: vec![],
            },
        ],
    );
}

/// Found by the fuzzer: a reference in an answer stayed unresolved for ever, though the call that it
/// was a result of went to the result of one that had failed.
#[test]
#[rustfmt::skip]
fn a_result_of_a_call_on_a_failed_result_breaks_for_who_got_it_in_an_answer() {
    holds(
        Setup::new(3, &[(0, 2), (1, 2)]).with_hello(),
        &[
            Op::Bootstrap { id: 2, vat: 0, peer: 2, lane: 0 },
            Op::Bootstrap { id: 3, vat: 2, peer: 0, lane: 0 },
            Op::Bootstrap { id: 4, vat: 1, peer: 2, lane: 0 },
            Op::Call { id: 5, on: result(2, 0), with: vec![], ask: vec![] },
            Op::Object { id: 6, vat: 2, key: 2 },
            Op::Call { id: 7, on: result(4, 0), with: vec![(2, result(4, 0))], ask: vec![] },
            Op::Deliver { from: 2, to: 0, lane: 0 },
            Op::Deliver { from: 1, to: 2, lane: 0 },
            Op::Deliver { from: 1, to: 2, lane: 0 },
            Op::Deliver { from: 2, to: 0, lane: 0 },
            Op::Deliver { from: 1, to: 2, lane: 0 },
            Op::Deliver { from: 0, to: 2, lane: 0 },
            Op::Call { id: 11, on: result(3, 0), with: vec![(3, result(6, 0))], ask: vec![0] },
            Op::Deliver { from: 0, to: 2, lane: 0 },
            Op::Deliver { from: 0, to: 2, lane: 0 },
            Op::Call { id: 13, on: result(6, 0), with: vec![(0, param(7, 2))], ask: vec![] },
            Op::Forward { id: 15, call: 5, to: param(13, 0) },
            Op::Call { id: 17, on: result(11, 0), with: vec![], ask: vec![0] },
            Op::Deliver { from: 2, to: 0, lane: 0 },
            Op::Forward { id: 21, call: 11, to: param(11, 3) },
            Op::Answer { id: 25, call: 15, with: vec![(3, result(17, 0))] },
        ],
    );
}
