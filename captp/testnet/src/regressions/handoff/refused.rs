//! Gifts that their hosts refuse.

use crate::oracle::script::{answered, param, result};
use crate::oracle::{Op, Setup, holds};

/// The exporter had refused the Provide, which the gifter does not know, and passed a Disembargo on.
#[test]
#[expect(clippy::too_many_lines, reason = "a run as it was recorded")]
fn a_disembargo_of_a_refused_gift_does_no_harm() {
    holds(
        Setup::new(5, &[(1, 2), (1, 3), (1, 4)])
            .with_hello()
            .with_keys()
            .with_gifts(2)
            .with_scarce(1),
        &[
            Op::Bootstrap {
                id: 9,
                vat: 1,
                peer: 2,
                lane: 0,
            },
            Op::Bootstrap {
                id: 12,
                vat: 3,
                peer: 1,
                lane: 0,
            },
            Op::Bootstrap {
                id: 13,
                vat: 1,
                peer: 4,
                lane: 0,
            },
            Op::Call {
                id: 21,
                on: result(12, 0),
                with: vec![],
                ask: vec![],
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Call {
                id: 24,
                on: result(9, 0),
                with: vec![(0, result(13, 0))],
                ask: vec![0],
            },
            Op::Clone {
                id: 28,
                of: result(24, 0),
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
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Deliver {
                from: 1,
                to: 2,
                lane: 0,
            },
            Op::Early {
                call: 24,
                slot: 0,
                to: param(24, 0),
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
            Op::Answer {
                id: 58,
                call: 21,
                with: vec![(3, result(28, 0))],
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
            Op::Call {
                id: 71,
                on: answered(21, 3),
                with: vec![],
                ask: vec![],
            },
        ],
    );
}
