//! The stable reference.

use std::cell::Cell;
use std::rc::Rc;

use super::sample::{Bench, Plan, Work, WorkerRef, kind, patient, starts};
use crate::prelude::*;
use crate::supervisor::{ChildSpec, RestartKind, SupervisorSpec};

#[test]
fn a_raw_reference_dies_with_its_life_and_the_stable_one_leads_to_the_next() {
    let bench = Bench::new(patient());
    let raw: Rc<Cell<Option<WorkerRef>>> = Rc::default();
    let made = Rc::clone(&raw);
    let stable = bench.turn(|turn| {
        bench
            .supervisor
            .add(turn, ChildSpec::new("a"), move |turn| {
                let reference = WorkerRef::new(turn, Work::default());
                made.set(Some(reference.clone()));
                Ok(reference)
            })
    });
    let first = raw.take().unwrap();
    bench.ask(stable.panic()).unwrap_err();
    assert_eq!(kind(bench.ask(first.add(1))), ErrorKind::Dead);
    assert_eq!(bench.ask(stable.add(1)).unwrap(), 1);
    assert_eq!(bench.ask(raw.take().unwrap().add(1)).unwrap(), 2);
}

// Promise 9
#[test]
fn nothing_is_sent_again_and_what_was_on_its_way_breaks() {
    let bench = Bench::new(patient());
    let worker = bench.add(ChildSpec::new("a"));
    let calls = (worker.add(1), worker.panic(), worker.add(1));
    bench.run();
    assert_eq!(calls.0.try_take().unwrap().unwrap(), 1);
    assert_eq!(kind(calls.1.try_take().unwrap()), ErrorKind::Panicked);
    assert_eq!(kind(calls.2.try_take().unwrap()), ErrorKind::Dead);
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
}

// Promise 1
#[test]
fn calls_wait_for_the_next_life_in_order() {
    let bench = Bench::new(SupervisorSpec::default());
    let worker = bench.add(ChildSpec::new("a"));
    bench.ask(worker.panic()).unwrap_err();
    bench.ask(worker.panic()).unwrap_err();
    let waiting: Vec<_> = (0..5).map(|_| worker.add(1)).collect();
    bench.run();
    assert!(waiting.iter().all(|call| call.try_take().is_none()));
    bench.at(200);
    let counts: Vec<u64> = waiting
        .iter()
        .map(|call| call.try_take().unwrap().unwrap())
        .collect();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[test]
fn calls_wait_no_longer_than_the_start_limit() {
    let limit = std::time::Duration::from_millis(50);
    let bench = Bench::new(SupervisorSpec::default());
    let worker = bench.add(ChildSpec::new("a").with_start_within(Some(limit)));
    bench.ask(worker.panic()).unwrap_err();
    bench.ask(worker.panic()).unwrap_err();
    let first = worker.add(1);
    bench.run();
    bench.at(49);
    assert!(first.try_take().is_none());
    bench.at(50);
    let late = first.try_take().unwrap().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Dead);
    let text = "a was not started again within 50ms; the call did not run";
    assert_eq!(late.to_string(), text);
    bench.at(79);
    let next = worker.add(1);
    bench.run();
    bench.at(125);
    assert_eq!(
        next.try_take().unwrap().unwrap(),
        1,
        "a later call waits anew"
    );
    bench.at(1_000);
    assert_eq!(bench.vat.deadline(), None);
}

#[test]
fn a_call_between_the_death_and_its_notice_waits() {
    let bench = Bench::new(patient());
    let worker = bench.add(ChildSpec::new("a"));
    worker.panic().detach();
    // The call, its forwarding; the notice has not run.
    assert_eq!(bench.vat.run(2), 2);
    let next = worker.add(1);
    assert_eq!(bench.vat.run(1), 1);
    assert_eq!(bench.ask(next).unwrap(), 1);
}

#[test]
fn a_call_that_waits_breaks_if_the_child_does_not_come_back() {
    let bench = Bench::new(patient());
    let spec = ChildSpec::new("a").with_restart(RestartKind::Temporary);
    let worker = bench.add(spec);
    worker.panic().detach();
    assert_eq!(bench.vat.run(2), 2);
    let next = worker.add(1);
    let broken = bench.ask(next).unwrap_err();
    let text = "a has ended and will not come back; the call did not run";
    assert_eq!(
        (broken.kind(), broken.to_string().as_str()),
        (ErrorKind::Dead, text)
    );
    assert_eq!(kind(bench.ask(worker.settled())), ErrorKind::Dead);
}

#[test]
fn calls_of_a_child_that_is_stopped_while_it_waits_break() {
    let bench = Bench::new(SupervisorSpec::default());
    let worker = bench.add(ChildSpec::new("a"));
    bench.ask(worker.panic()).unwrap_err();
    bench.ask(worker.panic()).unwrap_err();
    let waits = worker.add(1);
    bench.turn(|turn| bench.supervisor.stop_child(turn, "a"));
    assert_eq!(kind(waits.try_take().unwrap()), ErrorKind::Dead);
    assert_eq!(bench.vat.deadline(), None, "no timer is left");
}

// Promise 10
#[test]
fn the_stable_reference_has_one_identity_for_all_lives() {
    let bench = Bench::new(patient());
    let worker = bench.add(ChildSpec::new("a"));
    let before = worker.identity();
    bench.ask(worker.panic()).unwrap_err();
    assert!(before.is_some());
    assert_eq!(worker.identity(), before);
}

#[test]
fn a_vat_that_ends_drops_what_its_supervisors_made() {
    let held = Rc::new(());
    let bench = Bench::new(patient());
    let inside = Rc::clone(&held);
    let constructor = starts("a", &bench.notes, Rc::new(Cell::new(Plan::Start)));
    bench.turn(|turn| {
        let mut constructor = constructor;
        bench
            .supervisor
            .add(turn, ChildSpec::new("a"), move |turn| {
                let _kept = &inside;
                constructor(turn)
            })
    });
    let Bench {
        vat, supervisor, ..
    } = bench;
    drop(supervisor);
    assert_eq!(Rc::strong_count(&held), 2, "it lives without its holder");
    drop(vat);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn code_that_holds_its_own_supervisor_goes_with_it() {
    for stopped in [true, false] {
        let held = Rc::new(());
        let bench = Bench::new(patient());
        let (inside, below) = (Rc::clone(&held), Rc::clone(&held));
        bench.turn(|turn| {
            let own = bench.supervisor.clone();
            let mut constructor = starts("a", &bench.notes, Rc::new(Cell::new(Plan::Start)));
            bench
                .supervisor
                .add(turn, ChildSpec::new("a"), move |turn| {
                    let _kept = (&inside, &own);
                    constructor(turn)
                })?;
            let spec = ChildSpec::supervisor("below");
            bench
                .supervisor
                .add_supervisor(turn, spec, patient(), move |turn, inner| {
                    let kept = (Rc::clone(&below), inner.clone());
                    inner.add(turn, ChildSpec::new("b"), move |turn| {
                        let _kept = &kept;
                        Ok(WorkerRef::new(turn, Work::default()))
                    })
                })
        });
        bench.run();
        assert!(Rc::strong_count(&held) > 1);
        if stopped {
            bench.turn(|turn| {
                bench.supervisor.stop(turn);
                Ok(())
            });
            bench.run();
            assert_eq!(Rc::strong_count(&held), 1, "stopped");
        }
        let Bench {
            vat, supervisor, ..
        } = bench;
        drop(supervisor);
        drop(vat);
        assert_eq!(Rc::strong_count(&held), 1, "ended");
    }
}
