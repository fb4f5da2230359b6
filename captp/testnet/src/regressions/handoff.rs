//! Three-party handoff.

use crate::oracle::script::{answered, early, param, result};
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
