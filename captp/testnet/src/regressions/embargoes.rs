//! Calls that others must not overtake.

use super::brief::{answer, bootstrap, call, deliver, resolve};
use crate::oracle::script::{made, param, result};
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

/// Vat 1 had given back something of vat 0's as its answer 1, and let go of that; then answer 1 was
/// another one. The Disembargo that vat 0 had sent for the sake of the first came back only then.
#[test]
fn a_name_that_is_used_for_something_else_meanwhile_leads_there_no_more() {
    let run = [
        bootstrap(1, 1, 0),
        deliver(1, 0, 1),
        call(2, result(1, 0), &[(2, result(1, 0))], &[0]),
        deliver(1, 0, 1),
        answer(3, 2, param(2, 2)),
        vec![Op::Promise { id: 4, vat: 1 }],
        call(5, result(2, 0), &[(2, made(4))], &[]),
        deliver(0, 1, 1),
        resolve(4, result(2, 0)),
        deliver(1, 0, 1),
        call(6, param(5, 2), &[], &[0]),
        call(7, result(6, 0), &[], &[]),
        // Answer 1, the promise as what is in it, its end.
        deliver(0, 1, 1),
        deliver(1, 0, 3),
        vec![Op::Object {
            id: 8,
            vat: 1,
            key: 3,
        }],
        // It comes round to vat 0 as answer 1.
        deliver(0, 1, 1),
        call(9, param(5, 2), &[], &[]),
        call(10, result(2, 0), &[(2, made(8))], &[]),
        deliver(1, 0, 2),
        answer(11, 6, param(10, 2)),
    ];
    holds(Setup::new(2, &[(0, 1)]), &run.concat());
}

/// Something that vat 0 had called, and had given back in the answer to call 8, became another
/// promise of vat 1, and that came home: no gift. What vat 0 got by the name of that answer learns
/// what has become of it.
#[test]
fn a_promise_that_came_home_by_way_of_another_is_known_for_what_it_becomes() {
    let promise = |id| vec![Op::Promise { id, vat: 1 }];
    let run = [
        bootstrap(1, 1, 0),
        promise(2),
        promise(3),
        promise(4),
        call(5, result(1, 0), &[(0, made(2))], &[]),
        call(6, result(1, 0), &[(0, made(3))], &[]),
        call(7, result(1, 0), &[(0, made(4))], &[]),
        call(8, result(1, 0), &[], &[0]),
        deliver(1, 0, 5),
        call(9, param(5, 0), &[], &[]),
        answer(10, 8, param(5, 0)),
        resolve(2, made(3)),
        call(11, result(1, 0), &[], &[0]),
        resolve(3, result(11, 0)),
        resolve(4, result(8, 0)),
        deliver(1, 0, 4),
    ];
    holds(Setup::new(2, &[(0, 1)]), &run.concat());
}
