//! Gifts in pinned places.

use crate::oracle::script::{answered, param, result};
use crate::oracle::{Op, Setup, holds};

/// A promise became a gift, which went back to its giver as the vine; the recipient accepted it. Then
/// a call of the giver came to the promise, and went back along the vine; the giver gave the promise
/// to the recipient, whose calls must come behind that one.
#[test]
#[expect(clippy::too_many_lines, reason = "a run, message by message")]
fn what_comes_through_a_promise_that_became_a_gift_is_not_overtaken() {
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
                id: 2,
                vat: 0,
                peer: 2,
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
            Op::Deliver {
                from: 2,
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
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 3,
                on: result(1, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Promise { id: 4, vat: 1 },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Answer {
                id: 5,
                call: 3,
                with: vec![(0, result(4, 0))],
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
                id: 6,
                on: result(1, 0),
                with: vec![(0, result(2, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Resolve {
                promise: 4,
                to: param(6, 0),
            },
            Op::Call {
                id: 7,
                on: param(6, 0),
                with: vec![],
                ask: vec![],
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
                id: 8,
                on: answered(3, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Call {
                id: 9,
                on: result(1, 0),
                with: vec![(1, answered(3, 0))],
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
            Op::Call {
                id: 10,
                on: param(9, 1),
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
        ],
    );
}

/// A reference that was pinned became a gift, and was then called through its pin: the gift was accepted
/// without waiting for that call.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_call_through_a_place_that_became_a_gift_is_not_overtaken() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2), (2, 0)])
            .with_hello()
            .with_keys(),
        &[
            Op::Bootstrap {
                id: 5,
                vat: 0,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 6,
                vat: 0,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 7,
                vat: 1,
                peer: 0,
                lane: 0,
            },
            Op::Call {
                id: 13,
                on: result(5, 0),
                with: vec![],
                ask: vec![3],
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
                id: 15,
                on: result(6, 0),
                with: vec![(3, result(5, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 20,
                on: result(6, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 0,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 21,
                on: result(7, 0),
                with: vec![],
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
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Early {
                call: 20,
                slot: 0,
                to: param(15, 3),
            },
            Op::Clone {
                id: 40,
                of: result(13, 3),
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
                to: 0,
                lane: 0,
            },
            Op::Object {
                id: 55,
                vat: 1,
                key: 1,
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
            Op::Call {
                id: 56,
                on: result(20, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Answer {
                id: 81,
                call: 20,
                with: vec![],
            },
            Op::Call {
                id: 84,
                on: result(40, 0),
                with: vec![],
                ask: vec![2],
            },
            Op::Early {
                call: 21,
                slot: 0,
                to: result(20, 0),
            },
            Op::Cancel {
                name: result(84, 2),
            },
            Op::Answer {
                id: 110,
                call: 21,
                with: vec![],
            },
            Op::Call {
                id: 168,
                on: result(55, 0),
                with: vec![(0, param(15, 3))],
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
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 273,
                on: param(168, 0),
                with: vec![],
                ask: vec![],
            },
        ],
    );
}
