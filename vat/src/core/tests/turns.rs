//! Promises 3 to 6: order of turns, atomicity, re-entrance.

use super::sample::{Counter, counter, run, taken, value};
use crate::Vat;
use crate::prelude::*;

// Promise 3
#[test]
fn a_local_send_runs_in_a_later_turn() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let promise = vat
        .turn(|turn| {
            let promise = reference.add(2);
            assert_eq!(near.value(turn)?, 0);
            Ok(promise)
        })
        .unwrap();
    assert_eq!(value(&vat, &near), 0);
    run(&vat);
    assert_eq!(taken(&promise).unwrap(), 2);
    assert_eq!(value(&vat, &near), 2);
}

// Promise 5
#[test]
fn a_failed_turn_brings_the_old_state_back() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let failed = reference.add_and_fail(5);
    let panicked = reference.add_and_panic(5);
    run(&vat);
    assert_eq!(taken(&failed).unwrap_err().to_string(), "told to fail");
    assert_eq!(taken(&panicked).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(value(&vat, &near), 0);
}
