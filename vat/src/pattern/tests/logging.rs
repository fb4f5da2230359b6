//! Recorded calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::core::tests::link::Net;
use crate::core::tests::sample::{CounterRef, counter, run, taken, value};
use crate::pattern::{Logged, logging};
use crate::schema::describe;
use crate::{ErrorKind, Vat};

type Lines = Rc<RefCell<Vec<String>>>;

fn line(call: &Logged<'_>) -> String {
    let Logged {
        interface,
        method,
        error,
        took,
        ..
    } = call;
    let error = error.map_or(String::new(), |error| format!(", {:?}", error.kind()));
    format!("{interface}.{method}, {}s{error}", took.as_secs())
}

fn logged(vat: &Vat, to: &CounterRef) -> (CounterRef, Lines) {
    let lines = Lines::default();
    let sink = Rc::clone(&lines);
    let write = move |call: Logged<'_>| sink.borrow_mut().push(line(&call));
    (
        vat.turn(|turn| Ok(logging(turn, to, write))).unwrap(),
        lines,
    )
}

// Promise 5
#[test]
fn each_call_is_recorded_with_its_outcome_also_when_its_turn_failed() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (watched, lines) = logged(&vat, &reference);
    let (sum, both) = (watched.add(3), watched.add_both(&reference, false));
    let forked = watched.fork().add(1);
    let failed = [watched.add_and_fail(1), watched.add_and_panic(1)];
    let described = describe(&watched);
    run(&vat);
    assert_eq!((taken(&sum).unwrap(), taken(&forked).unwrap()), (3, 5));
    assert_eq!(taken(&both).unwrap(), 5);
    assert_eq!(taken(&failed[0]).unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(taken(&failed[1]).unwrap_err().kind(), ErrorKind::Panicked);
    taken(&described).unwrap();
    lines.borrow_mut().sort_unstable();
    assert_eq!(
        *lines.borrow(),
        [
            "sample::Counter.add, 0s",
            "sample::Counter.add_and_fail, 0s, Failed",
            "sample::Counter.add_and_panic, 0s, Panicked",
            "sample::Counter.add_both, 0s",
            "sample::Counter.fork, 0s",
            "vat::Describe.describe, 0s",
        ]
    );
    assert_eq!(value(&vat, &near), 15);
}

#[test]
fn a_record_says_how_long_the_answer_took() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<CounterRef>())).unwrap();
    let (watched, lines) = logged(&vat, &promise);
    let sum = watched.add(1);
    run(&vat);
    vat.handle_time(Duration::from_secs(7));
    assert!(lines.borrow().is_empty());
    resolver.resolve(Ok(reference));
    run(&vat);
    assert_eq!(taken(&sum).unwrap(), 1);
    assert_eq!(*lines.borrow(), ["sample::Counter.add, 7s"]);
}

#[test]
fn calls_of_another_vat_to_an_object_in_a_third_are_recorded() {
    let mut net = Net::new(&["guest", "guard", "owner"]);
    let (near, reference) = counter(&net.vats[2]);
    let far: CounterRef = net.grant(1, 2, &reference);
    let (watched, lines) = logged(&net.vats[1], &far);
    let guest: CounterRef = net.grant(0, 1, &watched);
    let sums: Vec<_> = (0..3).map(|_| guest.add(1)).collect();
    let forked = guest.fork();
    let pipelined: Vec<_> = (0..3).map(|_| forked.add(1)).collect();
    let failed = guest.add_and_fail(1);
    net.run();
    let own = watched.add(1);
    let own_fork = watched.fork().add(1);
    net.run();
    let sums: Vec<_> = sums
        .iter()
        .chain(&pipelined)
        .map(|one| taken(one).unwrap())
        .collect();
    assert_eq!(sums, [1, 2, 3, 4, 5, 6]);
    assert_eq!(taken(&failed).unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!((taken(&own).unwrap(), taken(&own_fork).unwrap()), (4, 5));
    let add = "sample::Counter.add, 0s";
    let fork = "sample::Counter.fork, 0s";
    let fails = "sample::Counter.add_and_fail, 0s, Failed";
    assert_eq!(*lines.borrow(), [add, add, add, fork, fails, add, fork]);
    assert_eq!(value(&net.vats[2], &near), 4);
}

#[test]
fn a_panic_in_the_sink_harms_nobody() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let watched = vat
        .turn(|turn| Ok(logging(turn, &reference, |_| panic!("told to panic"))))
        .unwrap();
    let sums = [watched.add(1), watched.add(1)];
    run(&vat);
    assert_eq!(sums.map(|sum| taken(&sum).unwrap()), [1, 2]);
}

#[test]
fn loggers_of_loggers_each_record() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (inner, first) = logged(&vat, &reference);
    let (outer, second) = logged(&vat, &inner);
    let sum = outer.add(1);
    run(&vat);
    assert_eq!(taken(&sum).unwrap(), 1);
    assert_eq!((first.borrow().len(), second.borrow().len()), (1, 1));
}
