//! Promises that depend on themselves.

use crate::oracle::script::{made, result};
use crate::oracle::{Op, Setup, holds};

use super::brief::call;

/// A call was passed on to its own result, and its answer never comes. Who waits for room in a window
/// full of calls behind it waits as long.
#[test]
fn room_behind_a_call_that_waits_for_its_own_answer_never_comes() {
    let on = result(2, 0);
    let stream = |id| {
        let with = vec![];
        vec![Op::Stream { id, on, with }]
    };
    let run = [
        vec![Op::Object {
            id: 1,
            vat: 0,
            key: 1,
        }],
        call(2, made(1), &[], &[0]),
        vec![Op::Forward {
            id: 3,
            call: 2,
            to: on,
        }],
        (4..40).flat_map(stream).collect(),
        vec![Op::Room { id: 40, on }],
    ];
    holds(Setup::new(1, &[]).with_circles(), &run.concat());
}
