//! Promise 5: "A panic in a supervised object also kills it: its references break, its supervisor
//! sees exactly one death. An `Err` never kills."

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::sample::{Bench, Work, Worker, WorkerRef, kind, patient};
use crate::prelude::*;
use crate::supervisor::{ChildSpec, ExitReason, RestartKind};

/// A child that is not restarted, with its raw reference and the object.
fn raw(bench: &Bench, name: &str, work: Work) -> (WorkerRef, Near<Work>, WorkerRef) {
    let spec = ChildSpec::new(name).with_restart(RestartKind::Temporary);
    let raw = Rc::new(RefCell::new(None));
    let made = Rc::clone(&raw);
    let stable = bench.turn(|turn| {
        bench.supervisor.add(turn, spec, move |turn| {
            let near = turn.spawn(work.clone());
            let reference = WorkerRef::from(near.clone());
            made.replace(Some((near, reference.clone())));
            Ok(reference)
        })
    });
    let (near, reference) = raw.take().unwrap();
    (stable, near, reference)
}

// Promise 5
#[test]
fn a_panic_kills_a_supervised_object_and_its_supervisor_sees_one_death() {
    let bench = Bench::new(patient());
    let (_stable, near, reference) = raw(&bench, "a", Work::default());
    let (before, failed, after) = (reference.add(1), reference.panic(), reference.add(1));
    bench.run();
    assert_eq!(before.try_take().unwrap().unwrap(), 1);
    assert_eq!(kind(failed.try_take().unwrap()), ErrorKind::Panicked);
    assert_eq!(
        kind(after.try_take().unwrap()),
        ErrorKind::Dead,
        "queued for it"
    );
    assert!(near.is_dead());
    assert_eq!(kind(bench.ask(reference.settled())), ErrorKind::Dead);
    assert_eq!(reference.broken_reason().unwrap().kind(), ErrorKind::Dead);
    assert_eq!(reference.identity(), None);
    let near_call = bench.vat.turn(|turn| near.with(turn, |work| work.count));
    assert_eq!(kind(near_call), ErrorKind::Dead);
    assert_eq!(bench.notes(), ["a1 told to panic"]);
}

// Promise 5
#[test]
fn an_error_never_kills() {
    let bench = Bench::new(patient());
    let (_stable, near, reference) = raw(&bench, "a", Work::default());
    bench.ask(reference.fail()).unwrap_err();
    assert_eq!(bench.ask(reference.add(1)).unwrap(), 1);
    assert!(!near.is_dead());
    assert_eq!(bench.notes(), Vec::<String>::new());
}

// Promise 5
#[test]
fn a_panic_kills_no_transactional_object_that_nobody_supervises() {
    let bench = Bench::new(patient());
    let reference = bench.turn(|turn| Ok(WorkerRef::new(turn, Work::default())));
    bench.ask(reference.panic()).unwrap_err();
    assert_eq!(bench.ask(reference.add(1)).unwrap(), 1);
}

// Promise 5
#[test]
fn what_a_supervised_object_calls_is_a_part_of_it() {
    let bench = Bench::new(patient());
    let inner = bench.turn(|turn| Ok(turn.spawn(Work::default())));
    let outer = Work {
        inner: Some(inner.clone()),
        ..Work::default()
    };
    let (_stable, near, reference) = raw(&bench, "outer", outer);
    bench.ask(reference.panic_inside()).unwrap_err();
    assert!(near.is_dead());
    assert!(!inner.is_dead());
    let count = bench.turn(|turn| inner.with(turn, |work| work.count));
    assert_eq!(count, 0, "the inner one was rolled back");
}

// Promise 5
#[test]
fn the_innermost_supervised_object_dies_and_those_further_out_roll_back() {
    let bench = Bench::new(patient());
    let (_, inner, _) = raw(&bench, "inner", Work::default());
    let outer = Work {
        inner: Some(inner.clone()),
        ..Work::default()
    };
    let (_, outer, reference) = raw(&bench, "outer", outer);
    bench.ask(reference.panic_inside()).unwrap_err();
    assert!(inner.is_dead() && !outer.is_dead());
    assert_eq!(bench.notes(), ["inner1 told to panic"]);
    assert_eq!(bench.ask(reference.add(1)).unwrap(), 1);
}

// Promise 5
#[test]
fn a_panic_that_is_caught_has_killed_and_the_next_one_kills_again() {
    let bench = Bench::new(patient());
    let (_, one, _) = raw(&bench, "one", Work::default());
    let (_, two, _) = raw(&bench, "two", Work::default());
    let (mut first, mut second) = (one.clone(), two.clone());
    bench.turn(|turn| {
        for near in [&mut first, &mut second] {
            let call = AssertUnwindSafe(|| near.panic(turn));
            catch_unwind(call).unwrap_err();
        }
        assert_eq!(kind(first.add(turn, 1)), ErrorKind::Dead);
        Ok(())
    });
    assert!(one.is_dead() && two.is_dead());
    let caught = [
        "one1 a panic that was caught",
        "two1 a panic that was caught",
    ];
    assert_eq!(bench.notes(), caught);
}

// Promise 5
#[test]
fn a_panic_in_a_later_stretch_of_an_async_method_kills_its_object() {
    let bench = Bench::new(patient());
    let (_, near, reference) = raw(&bench, "a", Work::default());
    let other = bench.turn(|turn| Ok(WorkerRef::new(turn, Work::default())));
    let failed = bench.ask(reference.wait_and_panic(other));
    assert_eq!(kind(failed), ErrorKind::Panicked);
    assert!(near.is_dead());
    assert_eq!(bench.notes(), ["a1 told to panic"]);
}

// Promise 5
#[test]
fn calls_under_way_break_when_the_object_dies() {
    let bench = Bench::new(patient());
    let (_, _, reference) = raw(&bench, "a", Work::default());
    let (gate, _opens) = bench.turn(|turn| Ok(turn.promise::<WorkerRef>()));
    let (later, waits) = (reference.later(), reference.wait(gate));
    bench.run();
    assert!(later.try_take().is_none() && waits.try_take().is_none());
    reference.panic().detach();
    bench.run();
    for lost in [later, waits] {
        let lost = lost.try_take().unwrap().unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Dead);
        assert!(lost.to_string().contains("may have run"), "{lost}");
    }
}

// Promise 5
#[test]
fn an_object_ends_itself_when_its_turn_commits() {
    let bench = Bench::new(patient());
    let (_, near, reference) = raw(&bench, "a", Work::default());
    bench.ask(reference.quit("normal")).unwrap();
    assert!(near.is_dead());
    assert_eq!(kind(bench.ask(reference.add(1))), ErrorKind::Dead);
    bench.turn(|turn| {
        near.end(turn, ExitReason::Normal);
        Ok(())
    });
    assert_eq!(bench.notes(), ["a1 ended normally"], "it is told once");
    let (_, near, _) = raw(&bench, "b", Work::default());
    bench
        .vat
        .turn(|turn| {
            near.end(turn, ExitReason::Normal);
            Err::<(), _>(Error::failed("no"))
        })
        .unwrap_err();
    bench.run();
    assert!(!near.is_dead(), "the turn failed");
}

// Promise 5
#[test]
fn an_external_object_that_a_panic_killed_is_told_of_as_well_and_breaks() {
    let bench = Bench::new(patient());
    let socket = Rc::new(RefCell::new(None));
    let made = Rc::clone(&socket);
    bench.turn(|turn| {
        let spec = ChildSpec::new("socket").with_restart(RestartKind::Temporary);
        bench.supervisor.add(turn, spec, move |turn| {
            let near = turn.spawn(Socket(Rc::default()));
            made.replace(Some(near.clone()));
            Ok(near.dynamic::<Ref>())
        })
    });
    let socket = socket.take().unwrap();
    let outer = raw(&bench, "outer", Work::default()).1;
    bench
        .vat
        .turn(|turn| {
            socket.with(turn, |_| {
                outer.with(turn, |_| resume_unwind(Box::new("told to panic")))
            })??;
            Ok(())
        })
        .unwrap_err();
    assert!(socket.is_dead() && outer.is_dead());
    assert_eq!(
        bench.notes(),
        ["outer1 told to panic", "socket1 told to panic"]
    );
}

impl crate::Dynamic for Socket {
    fn call(&mut self, _: &Turn, _: crate::AnyCall) -> Result<()> {
        Ok(())
    }
}

/// An external object of any interface.
#[derive(vat::Object)]
#[object(external)]
struct Socket(#[expect(dead_code, reason = "it is counted")] Rc<()>);

// Promise 5
#[test]
fn the_state_of_a_dead_object_is_dropped() {
    let bench = Bench::new(patient());
    let held = Rc::new(());
    let inside = Rc::clone(&held);
    let near = bench.turn(|turn| Ok(turn.spawn(Socket(inside))));
    let reference: Ref = near.dynamic();
    bench.turn(|turn| {
        near.end(turn, ExitReason::Normal);
        Ok(())
    });
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(reference.broken_reason().unwrap().kind(), ErrorKind::Dead);
}

// Promise 5
#[test]
fn a_panic_that_was_caught_further_in_does_not_excuse_the_next_one() {
    let bench = Bench::new(patient());
    let (_first, inner, _) = raw(&bench, "inner", Work::default());
    let (_second, next, _) = raw(&bench, "next", Work::default());
    let catcher = bench.turn(|turn| Ok(turn.spawn(Work::default())));
    let panics = |near: &Near<Work>, turn: &Turn| -> Result<()> {
        near.call(turn, |_| resume_unwind(Box::new("told to panic")))
    };
    let turn = bench.vat.turn(|turn| {
        catcher.call(turn, |_| -> Result<()> {
            let caught = catch_unwind(AssertUnwindSafe(|| panics(&inner, turn)));
            assert!(caught.is_err());
            Ok(())
        })?;
        panics(&next, turn)
    });
    assert_eq!(kind(turn), ErrorKind::Panicked);
    bench.run();
    assert!(inner.is_dead() && next.is_dead());
    assert_eq!(bench.notes().len(), 2);
}

// Promise 15
#[test]
fn who_holds_a_reference_cannot_make_its_object_a_child() {
    let bench = Bench::new(patient());
    let theirs = bench.turn(|turn| Ok(WorkerRef::new(turn, Work::default())));
    let stable = bench.add(ChildSpec::new("a"));
    bench.run();
    for (name, reference) in [("object", theirs), ("child", stable)] {
        let spec = ChildSpec::new(name);
        let given = reference.clone();
        let added = bench
            .vat
            .turn(|turn| bench.supervisor.add(turn, spec, move |_| Ok(given.clone())));
        let refused = added.unwrap_err().to_string();
        assert!(refused.contains("that it has made itself"), "{refused}");
        assert_eq!(bench.ask(reference.add(1)).unwrap(), 1);
    }
}
