//! Gifts in pinned places, and calls that wait for room.

use crate::oracle::script::{answered, param, result};
use crate::oracle::{Op, Setup, holds};

/// The same with a call that waited for room while the reference became a gift.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_held_call_through_a_place_that_became_a_gift_is_not_overtaken() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)])
            .with_hello()
            .with_keys()
            .with_room(1),
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
            Op::Call {
                id: 7,
                on: result(2, 0),
                with: vec![(1, result(1, 0))],
                ask: vec![],
            },
            Op::Call {
                id: 8,
                on: result(2, 0),
                with: vec![(3, result(1, 0))],
                ask: vec![0],
            },
            Op::Call {
                id: 18,
                on: result(1, 0),
                with: vec![],
                ask: vec![],
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
                id: 23,
                on: result(8, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 25,
                on: result(8, 0),
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
            Op::Answer {
                id: 26,
                call: 7,
                with: vec![(1, param(7, 1))],
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
                to: 2,
                lane: 0,
            },
            Op::Early {
                call: 8,
                slot: 0,
                to: param(8, 3),
            },
            Op::Call {
                id: 36,
                on: answered(7, 1),
                with: vec![],
                ask: vec![],
            },
        ],
    );
}

/// A promise was resolved to a reference inside a coming answer, which became a gift, and went back in
/// that very answer.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_place_in_an_answer_that_became_a_gift_does_not_keep_the_answer() {
    holds(
        Setup::new(4, &[(0, 2), (0, 3), (2, 3)])
            .with_hello()
            .with_keys(),
        &[
            Op::Bootstrap {
                id: 3,
                vat: 0,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 6,
                vat: 3,
                peer: 0,
                lane: 0,
            },
            Op::Bootstrap {
                id: 14,
                vat: 3,
                peer: 2,
                lane: 0,
            },
            Op::Promise { id: 18, vat: 3 },
            Op::Deliver {
                from: 0,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 35,
                on: result(18, 0),
                with: vec![(2, result(6, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Resolve {
                promise: 18,
                to: result(14, 0),
            },
            Op::Deliver {
                from: 0,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 43,
                on: result(6, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 3,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 47,
                call: 43,
                with: vec![(0, result(3, 0))],
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
            Op::Promise { id: 60, vat: 3 },
            Op::Deliver {
                from: 3,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 65,
                on: result(43, 0),
                with: vec![(2, result(60, 0))],
                ask: vec![0],
            },
            Op::Resolve {
                promise: 60,
                to: result(65, 0),
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
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Answer {
                id: 83,
                call: 65,
                with: vec![(0, param(35, 2)), (3, param(65, 2))],
            },
        ],
    );
}

/// Somebody waited for a gift while calls that had to take the old way waited for room: it was accepted
/// before they had gone.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_gift_is_not_accepted_before_held_calls_have_taken_the_old_way() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)])
            .with_hello()
            .with_keys()
            .with_room(1),
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
            Op::Call {
                id: 7,
                on: result(2, 0),
                with: vec![(1, result(1, 0))],
                ask: vec![],
            },
            Op::Call {
                id: 8,
                on: result(2, 0),
                with: vec![(3, result(1, 0))],
                ask: vec![0, 2],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 16,
                on: result(8, 2),
                with: vec![],
                ask: vec![],
            },
            Op::Call {
                id: 18,
                on: result(1, 0),
                with: vec![],
                ask: vec![],
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
                id: 23,
                on: result(8, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 25,
                on: result(8, 0),
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
            Op::Answer {
                id: 26,
                call: 7,
                with: vec![(1, param(7, 1))],
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
                to: 2,
                lane: 0,
            },
            Op::Early {
                call: 8,
                slot: 0,
                to: param(8, 3),
            },
            Op::Call {
                id: 36,
                on: answered(7, 1),
                with: vec![],
                ask: vec![],
            },
            Op::When {
                id: 38,
                on: param(8, 3),
            },
        ],
    );
}
