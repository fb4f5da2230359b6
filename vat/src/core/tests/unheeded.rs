//! Promises that break while nobody waits for them are reported, each once.

use super::link::Net;
use super::sample::{CounterRef, counter, run, taken};
use crate::Vat;
use crate::prelude::*;

#[test]
fn a_break_that_nobody_sees_is_reported_once() {
    let vat = Vat::new("a");
    let (_near, reference) = counter(&vat);
    drop(reference.add_and_fail(1));
    run(&vat);
    assert_eq!(vat.unheeded(), 1, "dropped before it broke");
    let promise = reference.add_and_fail(1);
    run(&vat);
    let clone = promise.clone();
    drop(promise);
    assert_eq!(vat.unheeded(), 1, "somebody may still look");
    drop(clone);
    run(&vat);
    assert_eq!(vat.unheeded(), 2, "dropped after it broke");
}

#[test]
fn a_break_that_is_passed_on_is_reported_where_it_ends() {
    let vat = Vat::new("a");
    let (_near, reference) = counter(&vat);
    let chain = reference.add_and_fail(1).then(|_, sum| Ok(sum? + 1));
    let longer = chain.then(|_, sum| Ok(sum? + 1));
    run(&vat);
    assert_eq!(vat.unheeded(), 0);
    drop(longer);
    assert_eq!(vat.unheeded(), 1);
}

#[test]
fn whoever_waits_takes_or_detaches_heeds() {
    let vat = Vat::new("a");
    let (_near, reference) = counter(&vat);
    reference.add_and_fail(1).detach();
    let then = reference.add_and_fail(1).then(|_, sum| {
        assert!(sum.is_err());
        Ok(())
    });
    let waited = reference.add_and_fail(1);
    let awaited = vat
        .turn(|turn| {
            Ok(turn.spawn_async(async move |_| {
                assert!(waited.await.is_err());
                Ok(())
            }))
        })
        .unwrap();
    let promise = reference.add_and_fail(1);
    run(&vat);
    let clone = promise.clone();
    assert!(taken(&clone).is_err());
    drop((promise, clone, then, awaited));
    assert_eq!(vat.unheeded(), 0);
}

#[test]
fn what_a_failed_turn_takes_back_is_not_reported() {
    let vat = Vat::new("a");
    let (_near, reference) = counter(&vat);
    let failed: Result<()> = vat.turn(|turn| {
        drop(reference.add(1));
        drop(turn.promise::<u64>());
        drop(Promise::<u64>::race(turn, []));
        Err(Error::failed("told to fail"))
    });
    assert!(failed.is_err());
    run(&vat);
    assert_eq!(vat.unheeded(), 0);
}

#[test]
fn an_answer_from_another_vat_that_nobody_sees_is_reported() {
    let mut net = Net::new(&["a", "b"]);
    let (_near, reference) = counter(&net.vats[1]);
    let far: CounterRef = net.grant(0, 1, &reference.into());
    drop(far.add_and_fail(1));
    net.run();
    assert_eq!(net.vats[0].unheeded(), 1);
    assert_eq!(net.vats[1].unheeded(), 0, "who was called has answered");
}
