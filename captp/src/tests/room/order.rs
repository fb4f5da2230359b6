//! What overtakes calls that wait, and what does not.

use super::*;

#[test]
fn returns_resolves_finishes_and_releases_overtake_calls_that_wait() {
    let (mut net, boot) = narrow(1);
    let promise = net.vats[0].engine.promise();
    let mine = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[promise, mine]);
    net.run();
    let (_, caps, first) = next_call(&mut net, 1);
    net.vats[1].send(caps[1], 2, &[]);
    let theirs = net.vats[1].object(5);
    net.vats[1].send(caps[1], 3, &[theirs]);
    net.run();
    net.vats[0].send(boot, 4, &[]);
    assert_eq!(waiting(&net, 0), 1);
    let (_, _, second) = next_call(&mut net, 0);
    net.vats[0].answer(second, 0, &[]);
    assert_eq!(net.flying(0, 1), ["return"]);
    net.vats[0].engine.resolve(promise, Ok(mine)).unwrap();
    assert_eq!(net.flying(0, 1), ["return", "resolve"]);
    let (_, given, third) = next_call(&mut net, 0);
    net.vats[0].answer(third, 0, &[]);
    net.vats[0].release(given[0]);
    assert_eq!(net.flying(0, 1), ["return", "resolve", "return", "release"]);
    net.run();
    net.vats[1].answer(first, 0, &[]);
    net.vats[1].events.clear();
    assert_eq!(serve(&mut net, 1), [4]);
}

#[test]
fn what_ends_something_that_a_waiting_call_names_waits_with_it() {
    let (mut net, boot) = narrow(1);
    let object = net.vats[1].object(5);
    let (_, first) = net.vats[0].ask(boot, 1, &[]);
    net.run();
    let (_, _, respond) = next_call(&mut net, 1);
    let promise = net.vats[0].engine.promise();
    // All of these wait: a call to the answer, one with a promise, one that names a reference.
    let (_, kept) = net.vats[0].ask(boot, 2, &[promise]);
    net.vats[0].send(first, 3, &[boot]);
    net.vats[0].release(first);
    net.vats[0].release(boot);
    let mine = net.vats[0].object(8);
    net.vats[0].engine.resolve(promise, Ok(mine)).unwrap();
    assert!(net.vats[0].engine.cancel(kept));
    assert_eq!(net.flying(0, 1).len(), 0, "all wait");
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    net.run();
    let (number, caps, respond) = next_call(&mut net, 1);
    assert_eq!((number, caps.len()), (2, 1));
    let event = net.vats[1].next();
    assert!(matches!(event, Some(Event::Cancelled(_))), "{event:?}");
    net.vats[1].answer(respond, 0, &[]);
    net.vats[1].release(caps[0]);
    net.run();
    let numbers: Vec<u32> = std::iter::from_fn(|| {
        net.run();
        let event = net.vats[1].next()?;
        match event {
            Event::Call {
                number,
                caps,
                respond,
                ..
            } => {
                net.vats[1].answer(respond, 0, &[]);
                net.vats[1].release(caps[0]);
                Some(number)
            }
            other => panic!("{other:?}"),
        }
    })
    .take(1)
    .collect();
    assert_eq!(numbers, [3]);
    net.run();
    while let Some(event) = net.vats[0].next() {
        if let Event::Returned {
            result: Ok((_, caps)),
            ..
        } = event
        {
            caps.into_iter().for_each(|cap| net.vats[0].release(cap));
        }
    }
    for node in [kept, promise, mine] {
        net.vats[0].release(node);
    }
    net.run();
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.assert_drained(&[0, 1]);
}

/// A promise of vat 0, which vat 1 knows, has become vat 1's own object, and the Resolve waits
/// behind a call.
fn resolve_that_waits() -> (Net, NodeId, Respond) {
    let (mut net, boot) = narrow(1);
    let promise = net.vats[0].engine.promise();
    net.vats[0].send(boot, 1, &[promise]);
    net.run();
    let (_, caps, respond) = next_call(&mut net, 1);
    net.vats[0].send(boot, 2, &[]);
    net.vats[0].engine.resolve(promise, Ok(boot)).unwrap();
    assert_eq!(net.flying(0, 1).len(), 0, "both wait");
    net.vats[0].release(promise);
    net.vats[0].release(boot);
    (net, caps[0], respond)
}

#[test]
fn a_resolve_that_waits_is_no_count_that_the_peer_may_release() {
    let (mut net, _, _) = resolve_that_waits();
    let conn = net.conn(0, 0);
    let bytes = framed(|to| {
        let mut release = to.init_release();
        release.set_id(0);
        release.set_reference_count(2);
    });
    net.vats[0].feed(conn, &bytes, Vec::new());
    let mut events = std::iter::from_fn(|| net.vats[0].next());
    let fault = events.find_map(|event| match event {
        Event::Closed(_, CloseReason::PeerMisbehaved(fault)) => Some(fault),
        _ => None,
    });
    let underflow = PeerMisbehaved::ReleaseUnderflow {
        export: crate::ExportId::new(0),
        held: 1,
        released: 2,
    };
    assert_eq!(fault, Some(underflow));
}

#[test]
fn what_was_released_before_its_resolve_left_is_unknown_to_the_peer() {
    let (mut net, given, _) = resolve_that_waits();
    net.vats[1].release(given);
    net.run();
    let conn = net.conn(0, 0);
    let bytes = framed(|to| {
        let mut call = to.init_call();
        call.set_question_id(77);
        call.init_target().set_imported_cap(0);
    });
    net.vats[0].feed(conn, &bytes, Vec::new());
    let mut events = std::iter::from_fn(|| net.vats[0].next());
    let fault = events.find_map(|event| match event {
        Event::Closed(_, CloseReason::PeerMisbehaved(fault)) => Some(fault),
        _ => None,
    });
    let unknown = PeerMisbehaved::UnknownExport(crate::ExportId::new(0));
    assert_eq!(fault, Some(unknown));
}

#[test]
fn what_was_released_before_its_resolve_left_is_not_named_any_more_and_goes_with_it() {
    let (mut net, given, respond) = resolve_that_waits();
    net.vats[1].release(given);
    net.run();
    net.vats[0].engine.check().unwrap();
    net.vats[1].answer(respond, 0, &[]);
    serve(&mut net, 1);
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.assert_drained(&[0, 1]);
}

#[test]
fn an_answer_that_names_something_of_the_callers_does_not_lead_past_calls_that_wait() {
    let (mut net, boot) = narrow(1);
    let mine = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[mine]);
    net.run();
    let (_, caps, first) = next_call(&mut net, 1);
    // Vat 1 asks for something; the answer will be its own object, to which a call waits.
    let (_, back) = net.vats[1].ask(caps[0], 2, &[]);
    net.run();
    net.vats[0].send(boot, 3, &[]);
    let (_, _, asked) = next_call(&mut net, 0);
    net.vats[0].answer(asked, 0, &[boot]);
    net.run();
    net.vats[1].send(back, 4, &[]);
    take!(net.vats[1], Event::Returned { result: Ok((_, caps)), .. } => {
        net.vats[1].send(caps[0], 5, &[]);
        net.vats[1].release(caps[0]);
    });
    net.run();
    net.vats[1].answer(first, 0, &[]);
    assert_eq!(serve(&mut net, 1), [3, 4, 5]);
    net.run();
    net.vats[1].events.clear();
    net.vats[0].events.clear();
    net.vats[1].release(caps[0]);
    net.vats[1].release(back);
    net.vats[0].release(mine);
    net.vats[0].release(boot);
    net.run();
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promise_that_comes_home_while_calls_to_it_wait_keeps_the_order() {
    let (mut net, boot) = narrow(1);
    let mine = net.vats[0].object(7);
    let (_, promised) = net.vats[0].ask(boot, 1, &[mine]);
    net.vats[0].send(promised, 2, &[]);
    net.vats[0].send(promised, 3, &[]);
    net.run();
    let (_, caps, respond) = next_call(&mut net, 1);
    net.vats[1].answer(respond, 0, &[caps[0]]);
    net.deliver(0, 0, "return");
    assert_eq!(waiting(&net, 0), 1, "one of the two has left");
    net.vats[0].send(promised, 4, &[]);
    net.vats[0].send(mine, 5, &[]);
    assert_eq!(
        net.vats[0].events.len(),
        2,
        "the answer, and the call to the object itself"
    );
    net.vats[0].events.clear();
    assert_eq!(serve(&mut net, 0), [2, 3, 4]);
}

#[test]
fn a_handoff_does_not_lead_past_calls_that_wait() {
    let mut trio = Trio::new();
    let there = trio.net.conn(TO_EXPORTER, 0);
    trio.net.vats[GIFTER].engine.set_window(there, 1);
    for number in 0..4 {
        trio.net.vats[GIFTER].send(trio.gift, number, &[]);
    }
    trio.net.vats[GIFTER].send(trio.recipient, 10, &[trio.gift]);
    trio.net.run();
    let given = take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[RECIPIENT].send(given, 4, &[]);
    trio.net.run();
    let mut numbers = Vec::new();
    while numbers.len() < 5 {
        numbers.push(trio.net.vats[EXPORTER].take_number());
        trio.net.run();
    }
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    hush(&mut trio.net);
}
