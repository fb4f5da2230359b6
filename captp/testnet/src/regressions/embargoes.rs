//! Calls that others must not overtake.

use crate::oracle::script::{param, result};
use crate::oracle::{Op, Setup, holds};

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
