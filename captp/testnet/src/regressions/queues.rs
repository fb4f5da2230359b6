//! Calls that wait in queues.

use super::brief::{answer, bootstrap, call, deliver, resolve};
use crate::oracle::script::{self, answered, param, result};
use crate::oracle::{Op, Setup, holds};

/// A call that had asked for a reference left, and so did the next one in its queue, which gave that
/// reference away; what waited for the reference itself left only then.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn what_waits_for_a_reference_leaves_before_the_reference_is_given_away() {
    holds(
        Setup::new(2, &[(0, 1)]),
        &[
            Op::Bootstrap {
                id: 2,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Bootstrap {
                id: 3,
                vat: 0,
                peer: 1,
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
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Promise { id: 6, vat: 0 },
            Op::Call {
                id: 7,
                on: result(2, 0),
                with: vec![(1, result(2, 0))],
                ask: vec![],
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
                id: 9,
                on: result(6, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Bootstrap {
                id: 10,
                vat: 1,
                peer: 0,
                lane: 0,
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
            Op::Call {
                id: 16,
                on: result(10, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 18,
                on: result(9, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Promise { id: 19, vat: 1 },
            Op::Clone {
                id: 21,
                of: result(3, 0),
            },
            Op::Answer {
                id: 22,
                call: 16,
                with: vec![(0, param(7, 1))],
            },
            Op::Call {
                id: 23,
                on: result(19, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 24,
                on: result(10, 0),
                with: vec![(0, result(16, 0))],
                ask: vec![],
            },
            Op::Resolve {
                promise: 19,
                to: answered(16, 0),
            },
            Op::Call {
                id: 40,
                on: result(6, 0),
                with: vec![(2, result(9, 0))],
                ask: vec![],
            },
            Op::Resolve {
                promise: 6,
                to: result(21, 0),
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 52,
                call: 9,
                with: vec![(0, result(23, 0))],
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
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 82,
                call: 23,
                with: vec![(0, param(24, 0))],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 164,
                on: result(23, 0),
                with: vec![],
                ask: vec![],
            },
        ],
    );
}

/// Two streams became one: a job that waited in the window of the first ran when the first had room,
/// which was not what counted any more.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn who_waits_for_room_waits_for_the_window_that_counts() {
    holds(
        Setup::new(2, &[(0, 1)]),
        &[
            Op::Bootstrap {
                id: 2,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 4,
                on: result(2, 0),
                with: vec![],
                ask: vec![2],
            },
            Op::Call {
                id: 5,
                on: result(2, 0),
                with: vec![(0, result(2, 0))],
                ask: vec![],
            },
            Op::Call {
                id: 6,
                on: result(2, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Stream {
                id: 7,
                on: result(6, 0),
                with: vec![(3, result(6, 0))],
            },
            Op::Stream {
                id: 8,
                on: result(6, 0),
                with: vec![(0, result(2, 0)), (1, result(6, 0))],
            },
            Op::Stream {
                id: 15,
                on: result(2, 0),
                with: vec![(1, result(2, 0)), (2, result(14, 0))],
            },
            Op::Stream {
                id: 21,
                on: result(2, 0),
                with: vec![],
            },
            Op::Room {
                id: 39,
                on: result(6, 0),
            },
            Op::Stream {
                id: 43,
                on: result(2, 0),
                with: vec![(3, param(20, 2)), (1, result(4, 2))],
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
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 56,
                call: 6,
                with: vec![(0, param(5, 0))],
            },
        ],
    );
}

/// The same with a reference that lies at a third vat, which hears of the gift before it gets what
/// was sent there.
#[test]
#[expect(clippy::too_many_lines, reason = "a run, message by message")]
fn what_waits_for_a_reference_leaves_before_the_reference_is_introduced() {
    holds(
        Setup::new(4, &[(0, 1), (1, 2), (1, 3), (2, 3)])
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
                id: 2,
                vat: 1,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 3,
                vat: 1,
                peer: 3,
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
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
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
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
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
                to: 3,
                lane: 0,
            },
            Op::Call {
                id: 10,
                on: result(1, 0),
                with: vec![],
                ask: vec![0, 1],
            },
            Op::Call {
                id: 11,
                on: result(10, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Call {
                id: 12,
                on: result(10, 1),
                with: vec![],
                ask: vec![],
            },
            Op::Call {
                id: 13,
                on: result(10, 0),
                with: vec![(0, result(10, 1))],
                ask: vec![],
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
                id: 14,
                call: 10,
                with: vec![(0, result(2, 0)), (1, result(3, 0))],
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
            Op::Call {
                id: 15,
                on: param(13, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 3,
                lane: 0,
            },
        ],
    );
}

/// With six calls at most: what lifts an embargo waited behind a call that waited for an answer to be
/// finished, whose Finish waited behind that. What is answered counts apart from what is not.
#[test]
fn answers_that_waiting_calls_keep_leave_room_for_calls() {
    let early = |call, slot, to| vec![Op::Early { call, slot, to }];
    let run = [
        bootstrap(4, 2, 1),
        bootstrap(5, 2, 3),
        bootstrap(6, 3, 2),
        call(7, result(4, 0), &[(1, result(5, 0))], &[0]),
        deliver(3, 2, 1),
        vec![Op::Promise { id: 10, vat: 3 }],
        deliver(2, 3, 1),
        resolve(10, result(6, 0)),
        deliver(2, 1, 1),
        call(12, result(7, 0), &[], &[0]),
        deliver(3, 2, 1),
        deliver(2, 3, 1),
        call(15, result(5, 0), &[(0, result(7, 0))], &[]),
        deliver(2, 1, 1),
        deliver(3, 2, 1),
        deliver(2, 1, 1),
        deliver(2, 3, 2),
        early(15, 1, result(10, 0)),
        call(20, result(12, 0), &[], &[]),
        deliver(2, 1, 1),
        call(22, script::early(15, 1), &[(3, result(10, 0))], &[]),
        deliver(3, 2, 1),
        call(23, param(22, 3), &[(0, result(12, 0))], &[]),
        answer(27, 7, param(7, 1)),
        deliver(2, 1, 1),
        call(31, param(23, 0), &[], &[]),
        call(32, param(23, 0), &[], &[0, 3]),
        call(36, result(32, 3), &[], &[]),
        vec![Op::Answer {
            id: 39,
            call: 23,
            with: vec![(2, result(32, 0))],
        }],
        call(46, answered(23, 2), &[], &[0]),
        call(55, result(46, 0), &[], &[]),
        deliver(1, 2, 4),
        deliver(2, 3, 1),
        deliver(1, 2, 1),
        early(12, 0, param(15, 0)),
        vec![Op::Answer {
            id: 66,
            call: 12,
            with: vec![],
        }],
        deliver(3, 2, 1),
    ];
    holds(
        Setup::new(4, &[(1, 2), (2, 3)]).with_scarce(1),
        &run.concat(),
    );
}
