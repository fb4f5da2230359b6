//! Use counts, rates and expiry.

use std::time::Duration;

use crate::core::tests::link::Net;
use crate::core::tests::sample::{CounterRef, counter, run, taken, value};
use crate::pattern::limit;
use crate::prelude::*;
use crate::schema::describe;
use crate::{ErrorKind, Vat};

const TIME: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_nanos(1);

fn made(vat: &Vat, make: impl FnOnce(&Turn) -> CounterRef) -> CounterRef {
    vat.turn(|turn| Ok(make(turn))).unwrap()
}

/// What `calls` calls give, in order.
fn calls(vat: &Vat, to: &CounterRef, calls: usize) -> Vec<Result<u64, ErrorKind>> {
    let sums: Vec<_> = (0..calls).map(|_| to.add(1)).collect();
    run(vat);
    sums.iter()
        .map(|sum| taken(sum).map_err(|error| error.kind()))
        .collect()
}

const REVOKED: Result<u64, ErrorKind> = Err(ErrorKind::Revoked);
const OVERLOADED: Result<u64, ErrorKind> = Err(ErrorKind::Overloaded);

// Promise 5
#[test]
fn a_use_that_failed_is_not_given_back() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let twice = made(&vat, |turn| limit::times(turn, &reference, 2));
    let failed = [twice.add_and_fail(1), twice.add_and_panic(1)];
    run(&vat);
    assert_eq!(taken(&failed[0]).unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(taken(&failed[1]).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(calls(&vat, &twice, 1), [REVOKED]);
    assert_eq!(value(&vat, &near), 0);
}

#[test]
fn calls_beyond_the_count_are_refused_for_good() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let thrice = made(&vat, |turn| limit::times(turn, &reference, 3));
    let described = describe(&thrice);
    assert_eq!(
        calls(&vat, &thrice, 5),
        [Ok(1), Ok(2), Ok(3), REVOKED, REVOKED]
    );
    taken(&described).unwrap();
    let told = thrice.add(1);
    let described = describe(&thrice);
    run(&vat);
    assert_eq!(
        taken(&told).unwrap_err().to_string(),
        "the reference is used up: it was good for 3 calls"
    );
    assert_eq!(taken(&described).unwrap_err().kind(), ErrorKind::Revoked);
    let never = made(&vat, |turn| limit::times(turn, &reference, 0));
    assert_eq!(calls(&vat, &never, 1), [REVOKED]);
    assert_eq!(value(&vat, &near), 3);
}

#[test]
fn a_used_up_reference_does_not_keep_what_was_behind_it() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let once = made(&vat, |turn| limit::once(turn, &reference));
    drop((near, reference));
    run(&vat);
    assert_eq!(vat.objects(), 2);
    assert_eq!(calls(&vat, &once, 2), [Ok(1), REVOKED]);
    assert_eq!(vat.objects(), 1);
}

#[test]
fn a_rate_lets_a_burst_pass_and_then_one_at_a_time() {
    let vat = Vat::new("a");
    vat.handle_time(3 * TIME);
    let (_, reference) = counter(&vat);
    let calm = made(&vat, |turn| limit::rate(turn, &reference, TIME, 2));
    assert_eq!(
        calls(&vat, &calm, 4),
        [Ok(1), Ok(2), OVERLOADED, OVERLOADED]
    );
    vat.handle_time(4 * TIME - MOMENT);
    let told = calm.add(1);
    run(&vat);
    assert_eq!(
        taken(&told).unwrap_err().to_string(),
        "one call in 10s passes, and 2 at once; the next one in 1ns"
    );
    vat.handle_time(4 * TIME);
    assert_eq!(calls(&vat, &calm, 2), [Ok(3), OVERLOADED]);
    // No more than the burst is ever saved up.
    vat.handle_time(100 * TIME);
    assert_eq!(calls(&vat, &calm, 3), [Ok(4), Ok(5), OVERLOADED]);
    let never = made(&vat, |turn| limit::rate(turn, &reference, TIME, 0));
    assert_eq!(calls(&vat, &never, 1), [OVERLOADED]);
}

// Promise 5
#[test]
fn a_call_that_failed_counts_in_the_rate() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let calm = made(&vat, |turn| limit::rate(turn, &reference, TIME, 1));
    let failed = calm.add_and_fail(1);
    assert_eq!(calls(&vat, &calm, 1), [OVERLOADED]);
    assert_eq!(taken(&failed).unwrap_err().kind(), ErrorKind::Failed);
}

#[test]
fn a_reference_expires_when_its_time_is_over_and_not_before() {
    let vat = Vat::new("a");
    vat.handle_time(TIME);
    let (near, reference) = counter(&vat);
    let lease = made(&vat, |turn| limit::until(turn, &reference, TIME));
    assert_eq!(vat.deadline(), Some(2 * TIME));
    vat.handle_time(2 * TIME - MOMENT);
    assert_eq!(calls(&vat, &lease, 1), [Ok(1)]);
    drop((near, reference));
    run(&vat);
    assert_eq!(vat.objects(), 2);
    vat.handle_time(2 * TIME);
    run(&vat);
    assert_eq!(vat.objects(), 1, "what was behind it is gone at once");
    let told = lease.add(1);
    run(&vat);
    let told = taken(&told).unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Revoked);
    assert_eq!(
        told.to_string(),
        "the reference has expired: it was good for 10s"
    );
    assert_eq!(vat.deadline(), None);
}

#[test]
fn a_call_that_is_delivered_with_the_expiry_is_refused() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let lease = made(&vat, |turn| limit::until(turn, &reference, TIME));
    let late = lease.add(1);
    vat.handle_time(TIME);
    run(&vat);
    assert_eq!(taken(&late).unwrap_err().kind(), ErrorKind::Revoked);
    assert_eq!(value(&vat, &near), 0);
}

#[test]
fn an_expiring_reference_that_nobody_holds_leaves_no_timer() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let lease = made(&vat, |turn| limit::until(turn, &reference, TIME));
    assert!(vat.deadline().is_some());
    drop(lease);
    run(&vat);
    assert_eq!(vat.deadline(), None);
    let failed = vat.turn(|turn| {
        drop(limit::until(turn, &reference, TIME));
        Err::<(), _>(Error::failed("told to fail"))
    });
    failed.unwrap_err();
    assert_eq!(vat.deadline(), None);
}

#[test]
fn limits_hold_for_a_caller_in_another_vat_and_an_object_in_a_third() {
    let mut net = Net::new(&["guest", "guard", "owner"]);
    let (near, reference) = counter(&net.vats[2]);
    let far: CounterRef = net.grant(1, 2, &reference);
    let limited = made(&net.vats[1], |turn| {
        let calm = limit::rate(turn, &far, TIME, 2);
        limit::until(turn, &calm, 2 * TIME)
    });
    let guest: CounterRef = net.grant(0, 1, &limited);
    let tell = |net: &mut Net, now: Duration| -> Vec<_> {
        net.vats[1].handle_time(now);
        let sums: Vec<_> = (0..3).map(|_| guest.add(1)).collect();
        net.run();
        sums.iter()
            .map(|sum| taken(sum).map_err(|error| error.kind()))
            .collect()
    };
    assert_eq!(tell(&mut net, Duration::ZERO), [Ok(1), Ok(2), OVERLOADED]);
    assert_eq!(tell(&mut net, TIME), [Ok(3), OVERLOADED, OVERLOADED]);
    assert_eq!(tell(&mut net, 2 * TIME), [REVOKED; 3]);
    assert_eq!(value(&net.vats[2], &near), 3);
}
