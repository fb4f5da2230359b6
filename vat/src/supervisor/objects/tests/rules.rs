//! Strategies and ends of a supervisor as a whole: the table of OTP's supervisor, row by row.

use super::sample::{Bench, WorkerRef, kind, patient};
use crate::prelude::*;
use crate::supervisor::{AutoShutdown, ChildSpec, Intensity, RestartKind, Strategy};

fn three(strategy: Strategy) -> (Bench, [WorkerRef; 3]) {
    let bench = Bench::new(patient().with_strategy(strategy));
    let workers = ["a", "b", "c"].map(|name| bench.add(ChildSpec::new(name)));
    bench.notes();
    (bench, workers)
}

#[test]
fn one_for_one_restarts_only_the_one_that_died() {
    let (bench, [a, b, _]) = three(Strategy::OneForOne);
    bench.ask(a.add(7)).unwrap();
    bench.ask(b.panic()).unwrap_err();
    assert_eq!(bench.notes(), ["b1 told to panic", "start b"]);
    assert_eq!(bench.ask(a.add(0)).unwrap(), 7);
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let (bench, [a, b, c]) = three(Strategy::OneForAll);
    bench.ask(a.add(7)).unwrap();
    bench.ask(b.panic()).unwrap_err();
    let expected = [
        "b1 told to panic",
        "c1 stopped (asked)",
        "a1 stopped (asked)",
        "start a",
        "start b",
        "start c",
    ];
    assert_eq!(bench.notes(), expected);
    for worker in [a, b, c] {
        assert_eq!(bench.ask(worker.add(1)).unwrap(), 1);
    }
}

#[test]
fn rest_for_one_leaves_those_before_alone() {
    let (bench, [a, b, _]) = three(Strategy::RestForOne);
    bench.ask(a.add(7)).unwrap();
    bench.ask(b.panic()).unwrap_err();
    let expected = [
        "b1 told to panic",
        "c1 stopped (asked)",
        "start b",
        "start c",
    ];
    assert_eq!(bench.notes(), expected);
    assert_eq!(bench.ask(a.add(0)).unwrap(), 7);
}

#[test]
fn calls_wait_for_a_child_that_is_stopped_only_to_be_started_again() {
    let bench = Bench::new(patient().with_strategy(Strategy::OneForAll));
    let a = bench.add(ChildSpec::new("a"));
    let constructor = super::sample::starts("b", &bench.notes, std::rc::Rc::default());
    let (gate, opens) = bench.turn(|turn| Ok(turn.promise::<()>()));
    let b = bench.turn(|turn| {
        let stop = move |_: &Turn, _: WorkerRef| gate.clone();
        bench
            .supervisor
            .add_with_stop(turn, ChildSpec::new("b"), constructor, stop)
    });
    a.panic().detach();
    bench.run();
    let (to_a, to_b) = (a.add(1), b.add(1));
    bench.run();
    assert!(to_a.try_take().is_none() && to_b.try_take().is_none());
    bench.turn(|_| {
        opens.resolve(Ok(()));
        Ok(())
    });
    assert_eq!(to_a.try_take().unwrap().unwrap(), 1);
    assert_eq!(to_b.try_take().unwrap().unwrap(), 1);
}

#[test]
fn a_supervisor_stops_its_children_in_reverse_and_ends() {
    let (bench, [a, ..]) = three(Strategy::OneForOne);
    let ended = bench.turn(|turn| {
        bench.supervisor.stop(turn);
        Ok(bench.supervisor.ended(turn))
    });
    let expected = [
        "c1 stopped (asked)",
        "b1 stopped (asked)",
        "a1 stopped (asked)",
    ];
    assert_eq!(bench.notes(), expected);
    ended.try_take().unwrap().unwrap();
    assert_eq!(kind(bench.ask(a.add(1))), ErrorKind::Dead);
    let refused = bench.vat.turn(|turn| {
        let constructor = super::sample::starts("d", &bench.notes, std::rc::Rc::default());
        bench.supervisor.add(turn, ChildSpec::new("d"), constructor)
    });
    refused.unwrap_err();
}

#[test]
fn a_crash_loop_ends_after_one_death_more_than_restarts_are_allowed() {
    let bench = Bench::new(patient().with_intensity(Intensity::default()));
    let (a, b) = (
        bench.add(ChildSpec::new("a")),
        bench.add(ChildSpec::new("b")),
    );
    bench.notes();
    for _ in 0..3 {
        bench.ask(b.panic()).unwrap_err();
        assert_eq!(bench.notes().len(), 2);
    }
    bench.ask(b.panic()).unwrap_err();
    assert_eq!(bench.notes(), ["b4 told to panic", "a1 stopped (asked)"]);
    assert_eq!(kind(bench.ask(a.add(1))), ErrorKind::Dead);
}

#[test]
fn a_supervisor_ends_with_its_significant_children() {
    let spec = patient().with_auto_shutdown(AutoShutdown::AllSignificant);
    let bench = Bench::new(spec);
    let kind = |name, kind| ChildSpec::new(name).with_restart(kind);
    let a = bench.add(kind("a", RestartKind::Transient).with_significant(true));
    let b = bench.add(kind("b", RestartKind::Temporary).with_significant(true));
    bench.add(kind("c", RestartKind::Permanent));
    bench.notes();
    bench.ask(a.panic()).unwrap_err();
    assert_eq!(
        bench.notes(),
        ["a1 told to panic", "start a"],
        "a restart is no end"
    );
    bench.ask(b.panic()).unwrap_err();
    assert_eq!(bench.notes(), ["b1 told to panic"], "one is left");
    bench.ask(a.quit("normal")).unwrap();
    assert_eq!(bench.notes(), ["a2 ended normally", "c1 stopped (asked)"]);
}

#[test]
fn significant_children_are_refused_where_they_make_no_sense() {
    let refused = |auto, kind| {
        let bench = Bench::new(patient().with_auto_shutdown(auto));
        let spec = ChildSpec::new("a")
            .with_restart(kind)
            .with_significant(true);
        let constructor = super::sample::starts("a", &bench.notes, std::rc::Rc::default());
        let added = bench
            .vat
            .turn(|turn| bench.supervisor.add(turn, spec, constructor));
        added.unwrap_err().to_string()
    };
    let text = refused(AutoShutdown::AnySignificant, RestartKind::Permanent);
    assert_eq!(text, "\"a\" is permanent: it cannot be significant");
    let text = refused(AutoShutdown::Never, RestartKind::Transient);
    assert!(text.contains("never shuts down by itself"), "{text}");
}
