//! How lives of a child follow each other.

use std::cell::Cell;
use std::rc::Rc;

use super::sample::{Bench, Plan, WorkerRef, kind, patient, starts};
use crate::prelude::*;
use crate::supervisor::{ChildSpec, ChildState, Intensity, RestartKind, Shutdown, SupervisorSpec};

#[test]
fn a_restarted_object_begins_with_its_constructors_state() {
    let bench = Bench::new(patient());
    let worker = bench.add(ChildSpec::new("a"));
    assert_eq!(bench.ask(worker.add(5)).unwrap(), 5);
    bench.ask(worker.panic()).unwrap_err();
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
    assert_eq!(bench.notes(), ["start a", "a1 told to panic", "start a"]);
}

#[test]
fn restart_kinds_decide_by_the_reason() {
    let restarted = |kind, reason: &str| {
        let bench = Bench::new(patient());
        let worker = bench.add(ChildSpec::new("a").with_restart(kind));
        bench.ask(worker.quit(reason)).unwrap();
        bench.notes().len() == 3
    };
    let row = |kind| ["normal", "shutdown", "broken"].map(|reason| restarted(kind, reason));
    assert_eq!(row(RestartKind::Permanent), [true, true, true]);
    assert_eq!(row(RestartKind::Transient), [false, false, true]);
    assert_eq!(row(RestartKind::Temporary), [false, false, false]);
}

#[test]
fn a_constructor_that_fails_in_add_leaves_no_child_and_no_name() {
    let bench = Bench::new(patient());
    for plan in [Plan::Fail, Plan::Panic] {
        let constructor = starts("a", &bench.notes, Rc::new(Cell::new(plan)));
        let added = bench.vat.turn(|turn| {
            let spec = ChildSpec::new("a");
            bench.supervisor.add(turn, spec, constructor)
        });
        added.unwrap_err();
    }
    assert!(bench.supervisor.children().is_empty());
    let worker = bench.add(ChildSpec::new("a"));
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
}

#[test]
fn an_add_in_a_turn_that_fails_does_not_happen() {
    let bench = Bench::new(patient());
    let constructor = starts("a", &bench.notes, Rc::default());
    let mut added = None;
    bench
        .vat
        .turn(|turn| {
            let spec = ChildSpec::new("a");
            added = Some(bench.supervisor.add(turn, spec, constructor)?);
            Err::<(), _>(Error::failed("no"))
        })
        .unwrap_err();
    bench.run();
    assert!(bench.supervisor.children().is_empty());
    bench.add(ChildSpec::new("a"));
}

#[test]
fn a_name_is_taken_once_also_within_one_turn() {
    let bench = Bench::new(patient());
    bench.turn(|turn| {
        let add = || {
            let constructor = starts("a", &bench.notes, Rc::default());
            bench.supervisor.add(turn, ChildSpec::new("a"), constructor)
        };
        add()?;
        let refused = add().unwrap_err();
        assert_eq!(refused.to_string(), "there is already a child named \"a\"");
        Ok(())
    });
    assert_eq!(bench.supervisor.children().len(), 1);
}

#[test]
fn a_restart_that_fails_counts_and_is_tried_again_until_the_supervisor_gives_up() {
    let spec = patient().with_intensity(Intensity::default());
    let bench = Bench::new(spec);
    let plan = Rc::new(Cell::new(Plan::Start));
    let constructor = starts("a", &bench.notes, Rc::clone(&plan));
    let worker = bench.turn(|turn| bench.supervisor.add(turn, ChildSpec::new("a"), constructor));
    let ended = bench.turn(|turn| Ok(bench.supervisor.ended(turn)));
    plan.set(Plan::Panic);
    worker.panic().detach();
    let waits = worker.add(1);
    let expected = [
        "start a",
        "a1 told to panic",
        "start a",
        "start a",
        "start a",
    ];
    assert_eq!(bench.notes(), expected);
    assert_eq!(kind(waits.try_take().unwrap()), ErrorKind::Dead);
    let text = ended.try_take().unwrap().unwrap_err().to_string();
    assert!(text.contains("more than 3 restarts within 5s"), "{text}");
    assert_eq!(kind(bench.ask(worker.add(1))), ErrorKind::Dead);
}

#[test]
fn the_first_restart_is_made_in_the_same_run_and_later_ones_wait_for_their_time() {
    let bench = Bench::new(SupervisorSpec::default());
    let worker = bench.add(ChildSpec::new("a"));
    bench.ask(worker.panic()).unwrap_err();
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1, "no timer was needed");
    bench.ask(worker.panic()).unwrap_err();
    let state = bench.supervisor.children().remove(0).state;
    assert!(matches!(state, ChildState::Waiting(_)), "{state:?}");
    let waits = worker.add(1);
    bench.at(79);
    assert!(waits.try_take().is_none());
    bench.at(120);
    assert_eq!(waits.try_take().unwrap().unwrap(), 1);
}

/// Adds a child whose stop method answers when told to.
fn stubborn(bench: &Bench, shutdown: Shutdown) -> (WorkerRef, Rc<Cell<Option<Resolver<()>>>>) {
    let asked = Rc::new(Cell::new(None));
    let told = Rc::clone(&asked);
    let spec = ChildSpec::new("s").with_shutdown(shutdown);
    let constructor = starts("s", &bench.notes, Rc::default());
    let worker = bench.turn(|turn| {
        let stop = move |turn: &Turn, _: WorkerRef| {
            let (promise, resolver) = turn.promise::<()>();
            told.set(Some(resolver));
            promise
        };
        bench
            .supervisor
            .add_with_stop(turn, spec, constructor, stop)
    });
    bench.notes();
    (worker, asked)
}

#[test]
fn a_child_is_asked_and_ends_when_its_stop_method_answers() {
    let bench = Bench::new(patient());
    let (worker, asked) = stubborn(&bench, Shutdown::default());
    bench.turn(|turn| bench.supervisor.stop_child(turn, "s"));
    assert_eq!(kind(bench.ask(worker.add(1))), ErrorKind::Dead);
    assert!(bench.notes().is_empty(), "it has not ended");
    let asked = asked.take().unwrap();
    bench.turn(|_| {
        asked.resolve(Ok(()));
        Ok(())
    });
    assert_eq!(bench.notes(), ["s1 stopped (asked)"]);
    bench.turn(|turn| bench.supervisor.start_child(turn, "s"));
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
}

#[test]
fn a_child_that_does_not_stop_is_ended_after_its_grace() {
    let bench = Bench::new(patient());
    let grace = std::time::Duration::from_millis(300);
    let (_, asked) = stubborn(&bench, Shutdown::Grace(grace));
    bench.turn(|turn| bench.supervisor.stop_child(turn, "s"));
    bench.at(299);
    assert!(bench.notes().is_empty());
    bench.at(300);
    assert_eq!(bench.notes(), ["s1 killed (asked)"]);
    let late = asked.take().unwrap();
    bench.turn(|_| {
        late.resolve(Ok(()));
        Ok(())
    });
    assert!(bench.notes().is_empty(), "it is told once");
    assert_eq!(bench.vat.deadline(), None);
}

#[test]
fn brutal_ends_at_once_and_infinity_never() {
    let bench = Bench::new(patient());
    let (_, asked) = stubborn(&bench, Shutdown::Brutal);
    bench.turn(|turn| bench.supervisor.stop_child(turn, "s"));
    assert_eq!(bench.notes(), ["s1 killed (asked)"]);
    assert!(asked.take().is_none(), "it was not asked");
    let bench = Bench::new(patient());
    let (_, _asked) = stubborn(&bench, Shutdown::Infinity);
    bench.turn(|turn| bench.supervisor.stop_child(turn, "s"));
    bench.at(1_000_000_000);
    assert!(bench.notes().is_empty());
}

#[test]
fn an_object_may_die_while_it_is_asked_to_stop() {
    let bench = Bench::new(patient());
    let spec = ChildSpec::new("s");
    let constructor = starts("s", &bench.notes, Rc::default());
    bench.turn(|turn| {
        let stop = |_: &Turn, worker: WorkerRef| worker.panic();
        bench
            .supervisor
            .add_with_stop(turn, spec, constructor, stop)
    });
    bench.notes();
    bench.turn(|turn| bench.supervisor.stop_child(turn, "s"));
    assert_eq!(bench.notes(), ["s1 told to panic (asked)"]);
}

#[test]
fn a_child_that_is_taken_away_breaks_its_stable_reference_and_frees_its_name() {
    let bench = Bench::new(patient());
    let worker = bench.add(ChildSpec::new("a"));
    bench.turn(|turn| bench.supervisor.remove_child(turn, "a"));
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1, "it was not stopped");
    bench.turn(|turn| {
        bench.supervisor.stop_child(turn, "a")?;
        bench.supervisor.remove_child(turn, "a")
    });
    assert_eq!(bench.supervisor.children().len(), 1, "it was not gone yet");
    assert_eq!(kind(bench.ask(worker.add(1))), ErrorKind::Dead);
    assert!(worker.broken_reason().is_none(), "it can be started again");
    bench.turn(|turn| bench.supervisor.remove_child(turn, "a"));
    assert_eq!(kind(bench.ask(worker.settled())), ErrorKind::Dead);
    bench.add(ChildSpec::new("a"));
}
