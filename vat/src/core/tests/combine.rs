//! Promises made of several.

use super::sample::{counter, run, taken, value};
use crate::prelude::*;
use crate::{Resolver, Vat};

/// Three promises, and what settles them.
fn three(vat: &Vat) -> (Vec<Promise<u64>>, Vec<Resolver<u64>>) {
    vat.turn(|turn| Ok((0..3).map(|_| turn.promise::<u64>()).unzip()))
        .unwrap()
}

fn settle(vat: &Vat, resolver: &Resolver<u64>, result: Result<u64>) {
    resolver.clone().resolve(result);
    run(vat);
}

fn broken(reason: &str) -> Result<u64> {
    Err(Error::failed(reason))
}

#[test]
fn all_gives_every_value_in_the_order_of_the_promises() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    let all = vat.turn(|turn| Ok(Promise::all(turn, promises))).unwrap();
    for index in [2, 0, 1] {
        assert!(all.try_take().is_none());
        settle(&vat, &resolvers[index], Ok(index as u64));
    }
    assert_eq!(taken(&all).unwrap(), [0, 1, 2]);
}

#[test]
fn all_breaks_with_the_first_that_breaks() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    let all = vat.turn(|turn| Ok(Promise::all(turn, promises))).unwrap();
    let again = all.clone();
    settle(&vat, &resolvers[2], broken("third"));
    assert_eq!(taken(&all).unwrap_err().to_string(), "third");
    settle(&vat, &resolvers[0], broken("first"));
    settle(&vat, &resolvers[1], Ok(1));
    assert_eq!(taken(&again).unwrap_err().to_string(), "third");
}

#[test]
fn any_gives_the_first_value_and_breaks_when_there_can_be_none() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    let any = vat.turn(|turn| Ok(Promise::any(turn, promises))).unwrap();
    settle(&vat, &resolvers[1], broken("second"));
    assert!(any.try_take().is_none());
    settle(&vat, &resolvers[2], Ok(2));
    settle(&vat, &resolvers[0], Ok(0));
    assert_eq!(taken(&any).unwrap(), 2);

    let (promises, resolvers) = three(&vat);
    let any = vat.turn(|turn| Ok(Promise::any(turn, promises))).unwrap();
    for (index, reason) in [(2, "c"), (0, "a"), (1, "b")] {
        assert!(any.try_take().is_none());
        settle(&vat, &resolvers[index], broken(reason));
    }
    assert_eq!(taken(&any).unwrap_err().to_string(), "b");
}

#[test]
fn race_is_over_with_the_first_that_settles() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    let race = vat.turn(|turn| Ok(Promise::race(turn, promises))).unwrap();
    settle(&vat, &resolvers[1], broken("second"));
    settle(&vat, &resolvers[0], Ok(0));
    assert_eq!(taken(&race).unwrap_err().to_string(), "second");
}

#[test]
fn of_no_promises_all_is_nothing_and_the_others_break() {
    let vat = Vat::new("a");
    let none = || std::iter::empty::<Promise<u64>>();
    let (all, any, race) = vat
        .turn(|turn| {
            Ok((
                Promise::all(turn, none()),
                Promise::any(turn, none()),
                Promise::race(turn, none()),
            ))
        })
        .unwrap();
    run(&vat);
    assert_eq!(taken(&all).unwrap(), Vec::<u64>::new());
    for broken in [any, race] {
        let reason = taken(&broken).unwrap_err().to_string();
        assert_eq!(reason, "there is no promise to wait for");
    }
}

#[test]
fn promises_that_are_settled_already_count_in_the_order_in_which_they_are_given() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    for (index, resolver) in resolvers.iter().enumerate().rev() {
        settle(&vat, resolver, Ok(index as u64));
    }
    let race = vat.turn(|turn| Ok(Promise::race(turn, promises))).unwrap();
    run(&vat);
    assert_eq!(taken(&race).unwrap(), 0);
}

#[test]
fn calls_whose_answers_are_not_needed_any_more_run_all_the_same() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let all = vat
        .turn(|turn| {
            let calls = [
                reference.add_and_fail(1),
                reference.add(10),
                reference.add(100),
            ];
            Ok(Promise::all(turn, calls))
        })
        .unwrap();
    run(&vat);
    assert_eq!(taken(&all).unwrap_err().to_string(), "told to fail");
    assert_eq!(value(&vat, &near), 110);
}

#[test]
fn a_failed_turn_combines_nothing() {
    let vat = Vat::new("a");
    let (promises, resolvers) = three(&vat);
    let mut race = None;
    let failed: Result<()> = vat.turn(|turn| {
        race = Some(Promise::race(turn, promises.clone()));
        Err(Error::failed("told to fail"))
    });
    assert!(failed.is_err());
    settle(&vat, &resolvers[0], Ok(0));
    let reason = taken(&race.unwrap()).unwrap_err().to_string();
    assert_eq!(reason, "told to fail");
    assert_eq!(taken(&promises[0]).unwrap(), 0);
}

#[test]
fn promises_of_another_vat_are_a_caught_mistake() {
    let (one, other) = (Vat::new("a"), Vat::new("b"));
    let (promises, _resolvers) = three(&other);
    let mistake = one.turn(|turn| Ok(Promise::all(turn, promises)));
    let text = mistake.unwrap_err().to_string();
    assert_eq!(text, "a promise of vat b was used in a turn of another vat");
}
