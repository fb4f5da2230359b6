//! Caretakers and groups.

use crate::core::tests::link::Net;
use crate::core::tests::sample::{CounterRef, counter, run, taken, value};
use crate::pattern::{Group, Revoker, caretaker};
use crate::prelude::*;
use crate::schema::describe;
use crate::{ErrorKind, Vat};

fn guarded(vat: &Vat, to: &CounterRef) -> (CounterRef, Revoker) {
    vat.turn(|turn| Ok(caretaker(turn, to))).unwrap()
}

/// A guest, a guard and an owner, each in a vat of its own; the guest has the guard's caretaker of
/// the owner's counter.
fn three() -> (
    Net,
    Near<crate::core::tests::sample::Count>,
    CounterRef,
    Revoker,
) {
    let mut net = Net::new(&["guest", "guard", "owner"]);
    let (near, reference) = counter(&net.vats[2]);
    let far: CounterRef = net.grant(1, 2, &reference);
    let (guarded, gate) = guarded(&net.vats[1], &far);
    let guest = net.grant(0, 1, &guarded);
    (net, near, guest, gate)
}

// Promise 16
#[test]
fn a_caretaker_passes_everything_on_until_it_is_revoked() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (guest, gate) = guarded(&vat, &reference);
    let (sum, forked) = (guest.add(3), guest.fork().add(1));
    let described = describe(&guest);
    run(&vat);
    assert_eq!((taken(&sum).unwrap(), taken(&forked).unwrap()), (3, 4));
    let described = taken(&described).unwrap();
    assert_eq!(described.interfaces[0].name, "sample::Counter");
    assert!(!gate.is_revoked());
    gate.revoke();
    assert!(gate.is_revoked());
    let refused = guest.add(1);
    run(&vat);
    let refused = taken(&refused).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Revoked);
    assert_eq!(refused.to_string(), "the reference was revoked");
    assert_eq!(value(&vat, &near), 3);
}

// Promise 16
#[test]
fn what_was_sent_before_and_is_delivered_after_a_revocation_is_refused() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (guest, gate) = guarded(&vat, &reference);
    let refused = vat
        .turn(|_| {
            let sent = guest.add(1);
            gate.revoke();
            Ok(sent)
        })
        .unwrap();
    run(&vat);
    assert_eq!(taken(&refused).unwrap_err().kind(), ErrorKind::Revoked);
    assert_eq!(value(&vat, &near), 0);
}

// Promise 5
#[test]
fn a_turn_that_fails_revokes_nothing() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (guest, gate) = guarded(&vat, &reference);
    let failed: Result<()> = vat.turn(|_| {
        gate.revoke();
        Err(Error::failed("told to fail"))
    });
    failed.unwrap_err();
    assert!(!gate.is_revoked());
    let sum = guest.add(1);
    run(&vat);
    assert_eq!(taken(&sum).unwrap(), 1);
}

#[test]
fn a_revoked_caretaker_does_not_keep_what_was_behind_it() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (guest, gate) = guarded(&vat, &reference);
    drop((near, reference));
    run(&vat);
    assert_eq!(vat.objects(), 2, "the counter and its caretaker");
    gate.revoke();
    run(&vat);
    assert_eq!(vat.objects(), 1, "the caretaker");
    drop(guest);
    run(&vat);
    assert_eq!(vat.objects(), 0);
}

// Promise 10
#[test]
fn a_caretaker_is_another_facet_than_what_is_behind_it() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (guest, _gate) = guarded(&vat, &reference);
    assert_eq!(guest.same(&reference), Some(false));
    assert_eq!(guest.same(&guest.clone()), Some(true));
}

// Promise 1
#[test]
fn calls_through_a_caretaker_in_another_vat_stay_in_order() {
    let (mut net, near, guest, _gate) = three();
    let labels: Vec<_> = (0..4)
        .map(|n| {
            guest.add(1).detach();
            guest.label(format!("{n}:"), "")
        })
        .collect();
    let forked = guest.fork();
    let pipelined: Vec<_> = (0..3).map(|_| forked.add(1)).collect();
    net.run();
    let later: Vec<_> = (0..3).map(|_| forked.add(1)).collect();
    net.run();
    let labels: Vec<String> = labels.iter().map(|one| taken(one).unwrap()).collect();
    assert_eq!(labels, ["0:1", "1:2", "2:3", "3:4"]);
    let sums: Vec<u64> = pipelined
        .iter()
        .chain(&later)
        .map(|one| taken(one).unwrap())
        .collect();
    assert_eq!(sums, [5, 6, 7, 8, 9, 10]);
    assert_eq!(value(&net.vats[2], &near), 4);
}

// Promise 16
#[test]
fn a_caller_in_another_vat_is_told_of_the_revocation() {
    let (mut net, near, guest, gate) = three();
    guest.add(1).detach();
    net.run();
    gate.revoke();
    let refused = guest.add(1);
    net.run();
    assert_eq!(taken(&refused).unwrap_err().kind(), ErrorKind::Revoked);
    assert_eq!(value(&net.vats[2], &near), 1);
}

// Promise 16
#[test]
fn a_call_that_a_caretaker_passed_on_before_is_answered() {
    let (mut net, _, guest, gate) = three();
    let (sum, forked) = (guest.add(1), guest.fork());
    net.step();
    net.step();
    gate.revoke();
    let given = forked.add(1);
    net.run();
    assert_eq!((taken(&sum).unwrap(), taken(&given).unwrap()), (1, 2));
}

#[test]
fn a_caretaker_of_a_promise_forwards_when_it_settles() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<CounterRef>())).unwrap();
    let (guest, _gate) = guarded(&vat, &promise);
    let (one, two) = (guest.add(1), guest.add(1));
    run(&vat);
    assert!(one.try_take().is_none());
    resolver.resolve(Ok(reference));
    run(&vat);
    assert_eq!((taken(&one).unwrap(), taken(&two).unwrap()), (1, 2));
}

// Promise 16
#[test]
fn a_group_is_revoked_with_one_act_and_stays_so() {
    let vat = Vat::new("a");
    let ((_, one), (_, two)) = (counter(&vat), counter(&vat));
    let (group, one, two, other) = vat
        .turn(|turn| {
            let (group, other) = (Group::new(turn), Group::new(turn));
            let (first, second) = (group.add(turn, &one), group.add(turn, &two));
            Ok((group, first, second, other.add(turn, &one)))
        })
        .unwrap();
    group.revoke();
    let late = vat.turn(|turn| Ok(group.add(turn, &other))).unwrap();
    let refused = [one.add(1), two.add(1), late.add(1)];
    let untouched = other.add(1);
    run(&vat);
    for refused in refused {
        assert_eq!(taken(&refused).unwrap_err().kind(), ErrorKind::Revoked);
    }
    assert_eq!(taken(&untouched).unwrap(), 1);
}

#[test]
fn a_group_forgets_what_nobody_holds_any_more() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let group = vat.turn(|turn| Ok(Group::new(turn))).unwrap();
    for _ in 0..1_000 {
        drop(vat.turn(|turn| Ok(group.add(turn, &reference))).unwrap());
        run(&vat);
    }
    assert_eq!(vat.objects(), 1);
    assert!(group.guarded() < 10, "{}", group.guarded());
}
