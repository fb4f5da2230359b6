//! Three-party handoff.

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
