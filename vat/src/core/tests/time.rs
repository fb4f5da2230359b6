//! What ends by time.

use std::time::Duration;

use super::sample::{CounterRef, counter, run, taken, value};
use crate::prelude::*;
use crate::{ErrorKind, Resolver, Vat};

const LIMIT: Duration = Duration::from_millis(100);
const MOMENT: Duration = Duration::from_nanos(1);

/// A call that is never answered, limited, in a vat that was told that it is this late.
fn unanswered(vat: &Vat, now: Duration) -> (Promise<u64>, Resolver<u64>) {
    vat.handle_time(now);
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<u64>())).unwrap();
    let limited = vat.turn(|_| Ok(promise.within(LIMIT))).unwrap();
    run(vat);
    (limited, resolver)
}

#[test]
fn a_promise_that_is_late_breaks_and_not_before() {
    let vat = Vat::new("a");
    let (limited, _resolver) = unanswered(&vat, LIMIT);
    assert_eq!(vat.deadline(), Some(2 * LIMIT));
    vat.handle_time(2 * LIMIT - MOMENT);
    run(&vat);
    assert!(limited.try_take().is_none());
    vat.handle_time(2 * LIMIT);
    run(&vat);
    let late = taken(&limited).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert_eq!(
        late.to_string(),
        "no answer within 100ms; the call may have run"
    );
    assert_eq!(vat.deadline(), None);
}

#[test]
fn a_promise_that_is_in_time_leaves_no_timer() {
    let vat = Vat::new("a");
    let (limited, resolver) = unanswered(&vat, Duration::ZERO);
    vat.turn(|_| {
        resolver.resolve(Ok(7));
        Ok(())
    })
    .unwrap();
    run(&vat);
    assert_eq!(taken(&limited).unwrap(), 7);
    assert_eq!(vat.deadline(), None);
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let vat = Vat::new("a");
    let (limited, resolver) = unanswered(&vat, Duration::ZERO);
    vat.handle_time(LIMIT);
    run(&vat);
    resolver.resolve(Ok(7));
    run(&vat);
    assert_eq!(taken(&limited).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_failed_turn_sets_no_timer() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let failed: Result<()> = vat.turn(|_| {
        reference.add(1).within(LIMIT).detach();
        Err(Error::failed("told to fail"))
    });
    assert!(failed.is_err());
    run(&vat);
    assert_eq!((value(&vat, &near), vat.deadline()), (0, None));
}

#[test]
fn what_is_due_together_comes_in_the_order_in_which_it_was_asked_for() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let late = |amount: u64| {
        let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<u64>())).unwrap();
        let counter: CounterRef = reference.clone();
        let limited = promise.within(LIMIT);
        let told = limited.then(move |_, _| {
            counter.add(amount).detach();
            Ok(())
        });
        (resolver, told)
    };
    let waiting: Vec<_> = [1, 10, 100].map(late).into();
    vat.handle_time(LIMIT);
    for expected in [1, 11, 111] {
        while value(&vat, &near) < expected {
            assert_eq!(vat.run(1), 1, "{expected}");
        }
        assert_eq!(value(&vat, &near), expected);
    }
    drop(waiting);
}

#[test]
fn the_clock_is_asked_when_something_begins_to_wait() {
    let vat = Vat::new("a");
    vat.on_time(std::rc::Rc::new(|| Duration::from_secs(60)));
    let (_limited, _resolver) = unanswered(&vat, Duration::ZERO);
    assert_eq!(vat.deadline(), Some(Duration::from_secs(60) + LIMIT));
}
