//! References inside answers.

use crate::oracle::script::{param, result};
use crate::oracle::{Op, Setup, holds};

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

/// A promise was resolved to a reference inside a coming answer, and went back in that very answer; the
/// reference then was null. Neither could send its Finish or Release.
#[test]
fn an_answer_with_a_null_reference_on_which_a_promise_rests_ends() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)]),
        &[
            Op::Bootstrap {
                id: 1,
                vat: 0,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 3,
                vat: 1,
                peer: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Promise { id: 20, vat: 0 },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 21,
                on: result(3, 0),
                with: vec![],
                ask: vec![2],
            },
            Op::Clone {
                id: 22,
                of: result(1, 0),
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 26,
                call: 21,
                with: vec![],
            },
            Op::Call {
                id: 28,
                on: result(22, 0),
                with: vec![(2, result(20, 0))],
                ask: vec![0],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 31,
                call: 28,
                with: vec![(0, result(21, 2)), (3, param(28, 2))],
            },
            Op::Resolve {
                promise: 20,
                to: result(28, 0),
            },
        ],
    );
}
