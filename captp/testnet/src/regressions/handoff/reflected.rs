//! Gifts that go back to who gave them.

use crate::oracle::script::{answered, param, result};
use crate::oracle::{Op, Setup, holds};

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

/// A gift went back to its giver in an answer, and came again by its place in that answer: it was taken
/// for its vine, without the descriptor and without a way to its host.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_gift_that_went_back_in_an_answer_is_the_gift_again_when_it_is_named_there() {
    holds(
        Setup::new(5, &[(1, 3), (3, 4)])
            .with_hello()
            .with_keys()
            .with_descriptors(),
        &[
            Op::Bootstrap {
                id: 9,
                vat: 3,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 15,
                vat: 4,
                peer: 3,
                lane: 0,
            },
            Op::Promise { id: 20, vat: 3 },
            Op::Resolve {
                promise: 20,
                to: result(9, 0),
            },
            Op::Promise { id: 35, vat: 3 },
            Op::Resolve {
                promise: 35,
                to: result(20, 0),
            },
            Op::File {
                id: 37,
                vat: 4,
                key: 3,
            },
            Op::Object {
                id: 39,
                vat: 4,
                key: 3,
            },
            Op::Deliver {
                from: 1,
                to: 3,
                lane: 0,
            },
            Op::Call {
                id: 44,
                on: result(37, 0),
                with: vec![(2, result(15, 0))],
                ask: vec![0],
            },
            Op::Forward {
                id: 46,
                call: 44,
                to: param(44, 2),
            },
            Op::Call {
                id: 49,
                on: result(39, 0),
                with: vec![],
                ask: vec![0],
            },
            Op::Call {
                id: 51,
                on: result(44, 0),
                with: vec![(0, result(39, 0))],
                ask: vec![0],
            },
            Op::Forward {
                id: 54,
                call: 49,
                to: param(44, 2),
            },
            Op::Call {
                id: 56,
                on: result(49, 0),
                with: vec![(0, result(51, 0))],
                ask: vec![],
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 3,
                to: 1,
                lane: 0,
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Answer {
                id: 101,
                call: 46,
                with: vec![(0, result(35, 0))],
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
                from: 4,
                to: 3,
                lane: 0,
            },
            Op::Answer {
                id: 108,
                call: 54,
                with: vec![(0, result(35, 0))],
            },
            Op::Answer {
                id: 129,
                call: 51,
                with: vec![(0, param(51, 0))],
            },
            Op::Deliver {
                from: 4,
                to: 3,
                lane: 0,
            },
        ],
    );
}
