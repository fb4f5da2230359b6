//! Promises 3 to 6: order of turns, atomicity, re-entrance.

use super::sample::{Count, Counter, CounterRef, counter, run, taken, value};
use crate::Vat;
use crate::prelude::*;

// Promise 3
#[test]
fn a_local_send_runs_in_a_later_turn() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let promise = vat
        .turn(|turn| {
            let promise = reference.add(2);
            assert_eq!(near.value(turn)?, 0);
            Ok(promise)
        })
        .unwrap();
    assert_eq!(value(&vat, &near), 0);
    run(&vat);
    assert_eq!(taken(&promise).unwrap(), 2);
    assert_eq!(value(&vat, &near), 2);
}

// Promise 3
#[test]
fn sends_callbacks_and_task_stretches_are_first_in_first_out() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let order = vat.turn(|turn| Ok(turn.spawn(Order::default()))).unwrap();
    let note = |name: &'static str| {
        let order = order.clone();
        move |turn: &Turn| order.with(turn, |order| order.0.push(name))
    };
    let (first, second, third) = (note("then 1"), note("task"), note("then 2"));
    vat.turn(|turn| {
        reference.add(1).then(move |turn, _| first(turn)).detach();
        turn.spawn_async(async move |cx| second(cx)).detach();
        reference.add(1).then(move |turn, _| third(turn)).detach();
        Ok(())
    })
    .unwrap();
    run(&vat);
    let order = vat
        .turn(|turn| order.read(turn, |order| order.0.clone()))
        .unwrap();
    // The task was queued before the callbacks, which were queued as their calls were answered.
    assert_eq!(order, ["task", "then 1", "then 2"]);
    assert_eq!(value(&vat, &near), 2);
}

#[derive(Clone, Debug, Default, vat::Object)]
struct Order(Vec<&'static str>);

// Promise 4
#[test]
fn a_turn_inside_a_turn_is_refused() {
    let (vat, other) = (Vat::new("a"), Vat::new("b"));
    for inner in [&vat, &other] {
        let refused = vat.turn(|_| inner.turn(|_| Ok(()))).unwrap_err();
        assert_eq!(refused.to_string(), "a turn cannot be run inside a turn");
    }
}

// Promise 5
#[test]
fn a_failed_turn_brings_the_old_state_back() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let failed = reference.add_and_fail(5);
    let panicked = reference.add_and_panic(5);
    run(&vat);
    assert_eq!(taken(&failed).unwrap_err().to_string(), "told to fail");
    let panicked = taken(&panicked).unwrap_err();
    assert_eq!(
        (panicked.kind(), panicked.to_string().as_str()),
        (ErrorKind::Panicked, "told to panic")
    );
    assert_eq!(value(&vat, &near), 0);
}

// Promise 5
#[test]
fn every_object_of_a_failed_turn_is_brought_back() {
    let vat = Vat::new("a");
    let (mut one, _) = counter(&vat);
    let (mut two, _) = counter(&vat);
    let failed: Result<()> = vat.turn(|turn| {
        one.add(turn, 1)?;
        two.add(turn, 2)?;
        one.add(turn, 4)?;
        Err(Error::failed("no"))
    });
    failed.unwrap_err();
    assert_eq!((value(&vat, &one), value(&vat, &two)), (0, 0));
}

// Promise 5
#[test]
fn an_inner_error_that_is_caught_rolls_nothing_back() {
    let vat = Vat::new("a");
    let (mut near, _) = counter(&vat);
    vat.turn(|turn| {
        near.add_and_fail(turn, 3).unwrap_err();
        Ok(())
    })
    .unwrap();
    assert_eq!(value(&vat, &near), 3);
}

// Promise 5
#[test]
fn sends_of_a_failed_turn_are_dropped_and_answered_with_its_reason() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let mut promise = None;
    vat.turn(|turn| {
        promise = Some(reference.add(1));
        reference.fork().add(1).detach();
        turn.spawn_async(async |_| Ok(())).detach();
        Err::<(), _>(Error::overloaded("not today"))
    })
    .unwrap_err();
    run(&vat);
    let error = taken(&promise.unwrap()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Overloaded, "not today")
    );
    assert_eq!(value(&vat, &near), 0);
}

// Promise 5
#[test]
fn a_resolution_in_a_failed_turn_does_not_happen() {
    let vat = Vat::new("a");
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<u64>())).unwrap();
    let again = resolver.clone();
    vat.turn(|_| {
        resolver.resolve(Ok(1));
        Err::<(), _>(Error::failed("no"))
    })
    .unwrap_err();
    run(&vat);
    assert!(promise.try_take().is_none());
    again.resolve(Ok(2));
    run(&vat);
    assert_eq!(taken(&promise).unwrap(), 2);
}

// Promise 5
#[test]
fn a_resolver_in_rolled_back_state_still_works() {
    #[derive(Clone, vat::Object)]
    struct Holder(Option<Resolver<u64>>);
    let vat = Vat::new("a");
    let (promise, holder) = vat
        .turn(|turn| {
            let (promise, resolver) = turn.promise::<u64>();
            Ok((promise, turn.spawn(Holder(Some(resolver)))))
        })
        .unwrap();
    vat.turn(|turn| {
        holder.with(turn, |holder| holder.0 = None)?;
        Err::<(), _>(Error::failed("no"))
    })
    .unwrap_err();
    run(&vat);
    assert!(
        promise.try_take().is_none(),
        "the resolver is back in its object"
    );
    vat.turn(|turn| holder.with(turn, |holder| holder.0 = None))
        .unwrap();
    run(&vat);
    taken(&promise).unwrap_err();
}

// Promise 5
#[test]
fn commit_err_answers_with_an_error_and_keeps_the_changes() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (follower, follower_ref) = counter(&vat);
    vat.turn(|turn| near.with(turn, |count| count.follower = Some(follower_ref)))
        .unwrap();
    let promise = reference.add_and_keep(7);
    run(&vat);
    assert_eq!(
        taken(&promise).unwrap_err().to_string(),
        "told to fail, and to keep"
    );
    assert_eq!((value(&vat, &near), value(&vat, &follower)), (7, 7));
}

// Promise 5
#[test]
fn commit_err_of_a_caught_error_does_not_keep_a_later_failure() {
    let vat = Vat::new("a");
    let (mut near, _) = counter(&vat);
    vat.turn(|turn| {
        near.add_and_keep(turn, 7).unwrap_err();
        Err::<(), _>(Error::failed("another"))
    })
    .unwrap_err();
    assert_eq!(value(&vat, &near), 0);
}

// Promise 5
#[test]
fn each_stretch_of_an_async_method_is_a_turn() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (other, other_ref) = counter(&vat);
    let done = reference.add_both(&other_ref, false);
    run(&vat);
    assert_eq!(taken(&done).unwrap(), 1);
    assert_eq!((value(&vat, &near), value(&vat, &other)), (11, 1));
    let failed = reference.add_both(&other_ref, true);
    run(&vat);
    assert_eq!(
        taken(&failed).unwrap_err().to_string(),
        "told to fail, late"
    );
    // The first stretch (1) and the call it made stay; the last one (10) is rolled back.
    assert_eq!((value(&vat, &near), value(&vat, &other)), (12, 2));
}

// Promise 5
#[test]
fn the_first_stretch_of_an_async_method_runs_in_its_callers_turn() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (_, other) = counter(&vat);
    let promise = reference.add_both(&other, false);
    assert_eq!(vat.run(1), 1);
    assert_eq!(value(&vat, &near), 1);
    assert!(promise.try_take().is_none());
    run(&vat);
    assert_eq!(value(&vat, &near), 11);
}

// Promise 5
#[test]
fn an_external_object_keeps_its_changes_on_an_error_and_dies_in_a_panic() {
    #[derive(vat::Object)]
    #[object(external)]
    struct Socket(u32);
    let vat = Vat::new("a");
    let (socket, bystander) = vat
        .turn(|turn| Ok((turn.spawn(Socket(0)), turn.spawn(Socket(0)))))
        .unwrap();
    vat.turn(|turn| {
        socket.with(turn, |socket| socket.0 += 1)?;
        bystander.with(turn, |socket| socket.0 += 1)?;
        Err::<(), _>(Error::failed("no"))
    })
    .unwrap_err();
    assert_eq!(
        vat.turn(|turn| socket.read(turn, |socket| socket.0))
            .unwrap(),
        1
    );
    vat.turn(|turn| {
        bystander.with(turn, |socket| socket.0 += 1)?;
        socket.with(turn, |_| panic!("in the socket"))
    })
    .unwrap_err();
    let dead = vat
        .turn(|turn| socket.with(turn, |socket| socket.0))
        .unwrap_err();
    assert_eq!(dead.kind(), ErrorKind::Dead);
    let dead = vat
        .turn(|turn| socket.read(turn, |socket| socket.0))
        .unwrap_err();
    assert_eq!(dead.kind(), ErrorKind::Dead);
    assert_eq!(
        vat.turn(|turn| bystander.read(turn, |socket| socket.0))
            .unwrap(),
        2
    );
}

// Promise 5
#[test]
fn panics_in_clone_and_drop_of_a_programs_state_stay_inside_the_turn() {
    #[derive(Debug)]
    struct Bomb(&'static str);
    impl Clone for Bomb {
        fn clone(&self) -> Self {
            assert!(self.0 != "clone", "a clone that panics");
            Self(self.0)
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(self.0 != "drop", "a drop that panics");
        }
    }
    #[derive(Clone, vat::Object)]
    #[expect(dead_code, reason = "the bomb goes off by itself")]
    struct Armed(Bomb, u32);
    let vat = Vat::new("a");
    for which in ["clone", "drop"] {
        let armed = vat
            .turn(|turn| Ok(turn.spawn(Armed(Bomb(which), 0))))
            .unwrap();
        let changed = vat.turn(|turn| armed.with(turn, |armed| armed.1 += 1));
        assert_eq!(changed.is_ok(), which == "drop");
    }
    let (near, reference) = counter(&vat);
    reference.add(1).detach();
    run(&vat);
    assert_eq!(value(&vat, &near), 1);
}

// Promise 6
#[test]
fn re_entrance_is_an_error_that_names_both_calls() {
    let vat = Vat::new("a");
    let (near, _) = counter(&vat);
    let mut again = near.clone();
    let line = line!() + 1;
    let body = |turn: &Turn| near.call(turn, |_| again.add(turn, 1));
    let error = vat.turn(body).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reentrant);
    let text = error.to_string();
    assert_eq!(
        text.matches(&format!("turns.rs:{line}:")).count(),
        2,
        "{text}"
    );
    assert!(text.starts_with("Count#"), "{text}");
    assert_eq!(value(&vat, &near), 0);
}

// Promise 6
#[test]
fn reads_of_one_object_may_overlap_but_not_with_a_change() {
    let vat = Vat::new("a");
    let (near, _) = counter(&vat);
    vat.turn(|turn| near.read(turn, |_| near.value(turn))?)
        .unwrap();
    let error = vat
        .turn(|turn| near.read(turn, |_| near.with(turn, |_| ()))?)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reentrant);
    let error = vat
        .turn(|turn| near.with(turn, |_| near.value(turn))?)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reentrant);
}

// Promise 6
#[test]
fn near_calls_that_nest_too_deep_are_an_error() {
    #[derive(Clone, vat::Object)]
    struct Link(Option<Near<Self>>);
    impl Link {
        fn walk(&self, turn: &Turn) -> Result<u32> {
            match &self.0 {
                Some(next) => Ok(next.read(turn, |next| next.walk(turn))?? + 1),
                None => Ok(0),
            }
        }
    }
    let vat = Vat::new("a");
    let chain = |turn: &Turn, length: u32| {
        (0..length).fold(turn.spawn(Link(None)), |next, _| {
            turn.spawn(Link(Some(next)))
        })
    };
    let walk = |length| vat.turn(|turn| chain(turn, length).read(turn, |link| link.walk(turn))?);
    assert_eq!(walk(100).unwrap(), 100);
    assert_eq!(walk(1_000).unwrap_err().kind(), ErrorKind::Overloaded);
}

#[test]
fn an_object_finds_itself() {
    #[derive(Clone, Default, vat::Object)]
    #[expect(dead_code, reason = "it has state, nobody looks at it")]
    struct Selfish(Vec<u8>);
    let vat = Vat::new("a");
    vat.turn(|turn| {
        let near = turn.spawn(Selfish::default());
        let found = near.with(turn, |me| turn.this(me))?;
        assert_eq!(found, near);
        let found = near.read(turn, |me| turn.this(me))?;
        assert_eq!(found, near);
        Ok(())
    })
    .unwrap();
    let stranger = vat
        .turn(|turn| Ok(turn.this(&Count::default())))
        .unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Panicked);
}

#[test]
fn a_reference_of_another_vat_is_a_caught_mistake() {
    let (vat, other) = (Vat::new("a"), Vat::new("b"));
    let (near, reference) = counter(&vat);
    let mut lost = None;
    let error = other
        .turn(|_| {
            lost = Some(reference.add(1));
            Ok(())
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a reference of vat a was used in a turn of another vat"
    );
    run(&vat);
    run(&other);
    assert_eq!(value(&vat, &near), 0);
}

#[test]
fn a_near_call_needs_a_turn_of_the_objects_own_vat() {
    let (vat, other) = (Vat::new("a"), Vat::new("b"));
    let (near, _) = counter(&vat);
    other.turn(|turn| near.value(turn)).unwrap_err();
    other.turn(|turn| near.with(turn, |_| ())).unwrap_err();
}

#[test]
fn objects_go_with_their_last_reference() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    drop(near);
    run(&vat);
    assert_eq!(vat.objects(), 1);
    drop(reference);
    run(&vat);
    assert_eq!(vat.objects(), 0);
}

#[test]
fn a_vat_that_ends_takes_cycles_with_it() {
    let watch = std::rc::Rc::new(());
    #[derive(vat::Object)]
    #[object(external)]
    struct Cycle(
        Option<Near<Self>>,
        #[expect(dead_code, reason = "counted")] std::rc::Rc<()>,
    );
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    vat.turn(|turn| {
        let cycle = turn.spawn(Cycle(None, watch.clone()));
        let itself = cycle.clone();
        cycle.with(turn, |cycle| cycle.0 = Some(itself))?;
        let kept = watch.clone();
        let forever = CounterRef::from(turn.promise::<Ref>().0);
        turn.spawn_async(async move |_| {
            forever.value().await?;
            drop(kept);
            Ok(())
        })
        .detach();
        Ok(())
    })
    .unwrap();
    run(&vat);
    let kept = watch.clone();
    let waiting = vat.turn(|turn| {
        Ok(turn.spawn_async(async move |_| {
            drop(kept);
            Ok(1u8)
        }))
    });
    assert!(std::rc::Rc::strong_count(&watch) > 1);
    drop(vat);
    assert_eq!(std::rc::Rc::strong_count(&watch), 1);
    assert_eq!(
        taken(&waiting.unwrap()).unwrap_err().kind(),
        ErrorKind::Disconnected
    );
    let orphan = taken(&reference.add(1)).unwrap_err();
    assert_eq!(orphan.kind(), ErrorKind::Disconnected);
    drop(near);
}
