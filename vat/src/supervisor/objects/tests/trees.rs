//! Supervisors below supervisors.

use std::cell::RefCell;
use std::rc::Rc;

use super::sample::{Bench, Plan, WorkerRef, kind, patient, starts};
use crate::prelude::*;
use crate::supervisor::{ChildSpec, Intensity, ObjectSupervisor, RestartKind, SupervisorSpec};

type Inner = Rc<RefCell<Vec<ObjectSupervisor>>>;

/// A supervisor `below` with the children `x` and `y`; its stable reference leads to `y`.
fn below(bench: &Bench, spec: ChildSpec, below: SupervisorSpec) -> (WorkerRef, Inner) {
    let (notes, inner) = (Rc::clone(&bench.notes), Inner::default());
    let made = Rc::clone(&inner);
    let worker = bench.turn(|turn| {
        let constructor = move |turn: &Turn, supervisor: &ObjectSupervisor| {
            notes.borrow_mut().push("start below".into());
            made.borrow_mut().push(supervisor.clone());
            let deaths = Rc::clone(&notes);
            supervisor.on_death(move |_, death| {
                deaths
                    .borrow_mut()
                    .push(format!("{} {}", death.name, death.reason));
                Ok(())
            });
            let child = |name| starts(name, &notes, Rc::default());
            supervisor.add(turn, ChildSpec::new("x"), child("x"))?;
            supervisor.add(turn, ChildSpec::new("y"), child("y"))
        };
        bench
            .supervisor
            .add_supervisor(turn, spec, below, constructor)
    });
    assert_eq!(bench.notes(), ["start below", "start x", "start y"]);
    (worker, inner)
}

#[test]
fn a_supervisor_below_restarts_its_own_children() {
    let bench = Bench::new(patient());
    let (worker, _) = below(&bench, ChildSpec::supervisor("below"), patient());
    bench.ask(worker.panic()).unwrap_err();
    assert_eq!(bench.notes(), ["y told to panic", "start y"]);
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
}

#[test]
fn a_supervisor_that_gave_up_is_restarted_by_the_one_above_with_fresh_children() {
    let bench = Bench::new(patient());
    let spec = patient().with_intensity(Intensity {
        restarts: 0,
        ..Intensity::default()
    });
    let (worker, _) = below(&bench, ChildSpec::supervisor("below"), spec);
    bench.ask(worker.panic()).unwrap_err();
    let expected = [
        "y told to panic",
        "x stopped",
        "below1 stopped",
        "start below",
        "start x",
        "start y",
    ];
    assert_eq!(bench.notes(), expected);
    assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
}

#[test]
fn a_transient_supervisor_that_gave_up_stays_ended() {
    let bench = Bench::new(patient());
    let spec = patient().with_intensity(Intensity {
        restarts: 0,
        ..Intensity::default()
    });
    let child = ChildSpec::supervisor("below").with_restart(RestartKind::Transient);
    let (worker, _) = below(&bench, child, spec);
    bench.ask(worker.panic()).unwrap_err();
    assert_eq!(
        bench.notes(),
        ["y told to panic", "x stopped", "below1 stopped"]
    );
    assert_eq!(kind(bench.ask(worker.add(1))), ErrorKind::Dead);
}

#[test]
fn stopping_a_supervisor_stops_the_tree_below_it_in_reverse() {
    let bench = Bench::new(patient());
    bench.add(ChildSpec::new("a"));
    bench.notes();
    let (_, inner) = below(&bench, ChildSpec::supervisor("below"), patient());
    bench.turn(|turn| {
        bench.supervisor.stop(turn);
        Ok(())
    });
    let expected = [
        "y stopped",
        "x stopped",
        "below1 stopped (asked)",
        "a1 stopped (asked)",
    ];
    assert_eq!(bench.notes(), expected);
    assert_eq!(inner.borrow().len(), 1);
}

#[test]
fn killing_a_supervisor_kills_the_tree_below_it() {
    let bench = Bench::new(patient());
    let (worker, _) = below(&bench, ChildSpec::supervisor("below"), patient());
    bench.turn(|turn| {
        bench.supervisor.kill(turn);
        Ok(())
    });
    let mut notes = bench.notes();
    notes.sort();
    assert_eq!(notes, ["below1 stopped (asked)", "x killed", "y killed"]);
    assert_eq!(kind(bench.ask(worker.add(1))), ErrorKind::Dead);
}

#[test]
fn a_supervisor_of_a_turn_that_failed_takes_no_children() {
    let vat = crate::Vat::new("a");
    let mut kept = None;
    vat.turn(|turn| {
        kept = Some(turn.supervise(patient()));
        Err::<(), _>(Error::failed("no"))
    })
    .unwrap_err();
    let supervisor = kept.unwrap();
    let constructor = starts("x", &Rc::default(), Rc::default());
    let added = vat.turn(|turn| supervisor.add(turn, ChildSpec::new("x"), constructor));
    let text = added.unwrap_err().to_string();
    assert_eq!(
        text,
        "x was not added: its supervisor is stopping or has ended"
    );
}

#[test]
fn a_supervisor_whose_constructor_fails_leaves_nothing_behind() {
    let bench = Bench::new(patient());
    let notes = Rc::clone(&bench.notes);
    bench.turn(|turn| {
        let constructor = move |turn: &Turn, supervisor: &ObjectSupervisor| {
            supervisor.add(
                turn,
                ChildSpec::new("x"),
                starts("x", &notes, Rc::default()),
            )?;
            let plan = Rc::new(std::cell::Cell::new(Plan::Fail));
            supervisor.add(turn, ChildSpec::new("y"), starts("y", &notes, plan))
        };
        let spec = ChildSpec::supervisor("below");
        let added = bench
            .supervisor
            .add_supervisor(turn, spec, patient(), constructor);
        assert_eq!(added.unwrap_err().to_string(), "no such file");
        Ok(())
    });
    assert!(bench.supervisor.children().is_empty());
    bench.run();
    assert_eq!(bench.vat.objects(), 0, "what it had added has ended");
}
