//! Gifts, and names under which they had been known before they were gifts.

use crate::oracle::script::{answered, made, param, result};
use crate::oracle::{Op, Setup, holds};
use crate::regressions::brief::{answer, bootstrap, call, deliver, resolve};

/// Vat 1 gives vat 0 things of vat 2, and has references to both; vat 0 has one to it. All know each
/// other, and nothing is on its way.
fn trio() -> (Setup, Vec<Op>) {
    let setup = Setup::new(3, &[(0, 1), (0, 2), (1, 2)]);
    let mut ops = [bootstrap(1, 1, 0), bootstrap(2, 0, 1), bootstrap(3, 1, 2)].concat();
    for _ in 0..3 {
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            ops.extend(deliver(from, to, 2));
        }
    }
    (setup.with_hello().with_keys(), ops)
}

/// A promise that vat 1 gave came back to it in the answer to call 11, and became a gift, which was
/// accepted. What vat 1 has sent to the answer since takes the old way, and so must what vat 0 sends
/// when vat 1 gives the answer back.
#[test]
fn what_the_giver_sent_to_an_answer_stays_before_what_it_gives_back() {
    let (setup, ops) = trio();
    let run = [
        ops,
        vec![Op::Promise { id: 5, vat: 1 }],
        call(10, result(1, 0), &[(0, made(5))], &[]),
        call(11, result(1, 0), &[], &[0]),
        deliver(1, 0, 2),
        call(13, result(2, 0), &[], &[0]),
        answer(12, 11, param(10, 0)),
        deliver(0, 1, 1),
        resolve(5, result(3, 0)),
        call(14, result(11, 0), &[], &[]),
        answer(15, 13, result(11, 0)),
        // The gift arrives, and somebody waits for it.
        deliver(1, 0, 1),
        vec![Op::When {
            id: 16,
            on: param(10, 0),
        }],
        deliver(1, 0, 2),
        call(17, answered(13, 0), &[], &[]),
    ];
    holds(setup, &run.concat());
}

/// Vat 0 has called something that turns out to be the gift, by the name under which it gave it back
/// itself. Vat 1 knows what the name is by then, and sends the call to vat 2 without a detour.
#[test]
fn a_gift_is_not_accepted_past_calls_that_the_giver_passes_on_itself() {
    let (setup, ops) = trio();
    let run = [
        ops,
        vec![Op::Promise { id: 5, vat: 1 }],
        call(10, result(1, 0), &[(0, made(5))], &[0]),
        call(11, result(2, 0), &[], &[0]),
        deliver(1, 0, 1),
        deliver(0, 1, 1),
        answer(12, 10, param(10, 0)),
        call(13, result(11, 0), &[], &[]),
        resolve(5, result(3, 0)),
        answer(14, 11, result(10, 0)),
        deliver(1, 0, 2),
        call(15, result(11, 0), &[], &[]),
    ];
    holds(setup, &run.concat());
}

/// The same with a gift that was accepted before.
#[test]
fn an_accepted_gift_is_not_used_past_calls_that_the_giver_passes_on_itself() {
    let (setup, ops) = trio();
    let run = [
        ops,
        vec![Op::Promise { id: 5, vat: 1 }],
        call(10, result(1, 0), &[(0, made(5))], &[0]),
        call(11, result(2, 0), &[], &[0]),
        deliver(1, 0, 1),
        deliver(0, 1, 1),
        answer(12, 10, param(10, 0)),
        call(13, result(11, 0), &[], &[]),
        resolve(5, result(3, 0)),
        answer(14, 11, result(10, 0)),
        deliver(1, 0, 1),
        vec![Op::When {
            id: 16,
            on: param(10, 0),
        }],
        deliver(1, 0, 1),
        call(15, result(11, 0), &[], &[]),
    ];
    holds(setup, &run.concat());
}
