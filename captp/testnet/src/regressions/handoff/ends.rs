//! Gifts that end, or are let go.

use crate::oracle::script::{early, param, result};
use crate::oracle::{Op, Setup, holds};

/// A call waited for the connection to the host of a gift, and failed when its caller let go of the
/// reference.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_call_to_a_gift_that_is_let_go_at_once_arrives() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)]).with_hello().with_keys(),
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
            Op::Bootstrap {
                id: 5,
                vat: 1,
                peer: 2,
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
                on: result(1, 0),
                with: vec![],
                ask: vec![],
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
            Op::Early {
                call: 8,
                slot: 0,
                to: result(2, 0),
            },
            Op::Call {
                id: 12,
                on: early(8, 0),
                with: vec![(0, result(5, 0))],
                ask: vec![],
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
                to: 0,
                lane: 0,
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 0,
                lane: 0,
            },
            Op::Call {
                id: 35,
                on: param(12, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Release { name: param(12, 0) },
            Op::Answer {
                id: 67,
                call: 12,
                with: vec![],
            },
        ],
    );
}

/// A Provide was refused with a Return, which crossed its Finish: the gifter knew no such question and
/// ended the connection.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_provide_that_is_one_too_many_is_not_returned() {
    holds(
        Setup::new(5, &[(0, 3), (1, 3), (3, 4)])
            .with_hello()
            .with_keys()
            .with_gifts(2)
            .with_scarce(1),
        &[
            Op::Bootstrap {
                id: 6,
                vat: 3,
                peer: 0,
                lane: 0,
            },
            Op::Bootstrap {
                id: 10,
                vat: 1,
                peer: 3,
                lane: 0,
            },
            Op::Bootstrap {
                id: 11,
                vat: 3,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 17,
                vat: 3,
                peer: 4,
                lane: 0,
            },
            Op::Deliver {
                from: 0,
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
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Call {
                id: 39,
                on: result(10, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Cut {
                a: 1,
                b: 3,
                lane: 0,
                lose: false,
            },
            Op::Call {
                id: 58,
                on: result(6, 0),
                with: vec![(2, result(17, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 4,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 4,
                lane: 0,
            },
            Op::Deliver {
                from: 4,
                to: 3,
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
            Op::Answer {
                id: 98,
                call: 39,
                with: vec![(0, result(17, 0))],
            },
        ],
    );
}

/// A vat got something of its own that was passed on, after a call on another's vine had ended the gift:
/// the reference broke.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn something_that_comes_home_through_many_hands_falls_back_to_the_vine() {
    holds(
        Setup::new(3, &[(0, 1), (1, 2)]).with_hello().with_keys(),
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
            Op::Bootstrap {
                id: 3,
                vat: 1,
                peer: 2,
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
            Op::Promise { id: 11, vat: 1 },
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
            Op::Object {
                id: 16,
                vat: 2,
                key: 2,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 18,
                on: result(3, 0),
                with: vec![(1, result(2, 0)), (2, result(11, 0))],
                ask: vec![],
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
            Op::Call {
                id: 29,
                on: param(18, 2),
                with: vec![(2, param(18, 1))],
                ask: vec![],
            },
            Op::Deliver {
                from: 0,
                to: 1,
                lane: 0,
            },
            Op::Forward {
                id: 32,
                call: 18,
                to: result(16, 0),
            },
            Op::Call {
                id: 34,
                on: result(3, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Resolve {
                promise: 11,
                to: result(3, 0),
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 36,
                on: param(32, 2),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 37,
                on: result(11, 0),
                with: vec![(2, result(2, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 2,
                to: 1,
                lane: 0,
            },
            Op::Call {
                id: 38,
                on: result(36, 0),
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
            Op::Call {
                id: 56,
                on: result(38, 0),
                with: vec![(1, param(37, 2))],
                ask: vec![],
            },
            Op::Promise { id: 57, vat: 2 },
            Op::Resolve {
                promise: 57,
                to: param(37, 2),
            },
            Op::Forward {
                id: 91,
                call: 29,
                to: result(57, 0),
            },
            Op::Call {
                id: 113,
                on: result(34, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Answer {
                id: 141,
                call: 34,
                with: vec![(0, param(29, 2))],
            },
        ],
    );
}
