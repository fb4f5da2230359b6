//! Pipelining, promises that are exported and resolve, embargoes.

use super::net::{Event, Respond, pair, take};
use crate::{Exception, NodeState};

#[test]
fn a_pipelined_call_follows_at_once_and_runs_on_the_result() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    let tag = net.vats[0].send(result, 2, &[]);
    // Its parent may go.
    net.vats[0].release(result);
    net.deliver(0, 1, "call");
    net.deliver(0, 1, "call");
    let respond = take!(net.vats[1], Event::Call { number: 1, respond, .. } => respond);
    assert!(
        net.vats[1].next().is_none(),
        "the second waits for the first"
    );
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 22, &[]);
    });
    net.run();
    let got = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps);
    take!(net.vats[0], Event::Returned { tag: seen, result: Ok((22, _)) } => {
        assert_eq!(seen, tag);
    });
    net.vats[0].release(got[0]);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn the_reason_of_a_failure_reaches_everything_pipelined_on_it() {
    let (mut net, boot) = pair();
    let (_, first) = net.vats[0].ask(boot, 1, &[]);
    let (_, second) = net.vats[0].ask(first, 2, &[]);
    net.vats[0].send(second, 3, &[]);
    net.run();
    let reason = Exception::failed("no such thing");
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].fail(respond, reason.clone()));
    // Sent before the failure was known there.
    net.vats[0].send(first, 4, &[]);
    net.run();
    for _ in 0..4 {
        take!(net.vats[0], Event::Returned { result: Err(got), .. } => assert_eq!(got, reason));
    }
    for node in [boot, first, second] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1]);
}

#[test]
fn calls_to_a_null_result_fail() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[]));
    net.vats[0].send(result, 3, &[]);
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    net.vats[0].release(result);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promise_given_away_resolves_once_and_calls_go_where_it_resolved_to() {
    let (mut net, boot) = pair();
    let promise = net.vats[0].engine.promise();
    net.vats[0].send(boot, 1, &[promise]);
    net.vats[0].send(boot, 1, &[promise]);
    net.run();
    let conn = net.conn(0, 0);
    assert_eq!(net.vats[0].engine.stats(conn).unwrap().exports, 1);
    let mut held = Vec::new();
    for _ in 0..2 {
        take!(net.vats[1], Event::Call { caps, respond, .. } => {
            net.vats[1].answer(respond, 0, &[]);
            held.extend(caps);
        });
    }
    net.vats[1].send(held[0], 7, &[]);
    net.vats[1].engine.when_resolved(held[0], 70);
    net.run();
    assert!(matches!(
        net.vats[1].engine.state(held[0]),
        NodeState::Unresolved
    ));
    let object = net.vats[0].object(3);
    net.vats[0].engine.resolve(promise, Ok(object)).unwrap();
    net.vats[1].send(held[0], 8, &[]);
    assert_eq!(
        net.flying(0, 1)
            .iter()
            .filter(|kind| **kind == "resolve")
            .count(),
        1
    );
    net.run();
    net.vats[1].send(held[1], 9, &[]);
    net.run();
    net.vats[0]
        .events
        .retain(|event| matches!(event, Event::Call { .. }));
    assert_eq!([(); 3].map(|()| net.vats[0].take_number()), [7, 8, 9]);
    take!(net.vats[1], Event::Run(70) => ());
    assert!(matches!(
        net.vats[1].engine.state(held[0]),
        NodeState::Far(_)
    ));
    for node in held {
        net.vats[1].release(node);
    }
    for node in [promise, object, boot] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promise_that_breaks_fails_the_calls_and_the_connection_survives() {
    let (mut net, boot) = pair();
    let promise = net.vats[0].engine.promise();
    net.vats[0].send(boot, 1, &[promise]);
    net.run();
    let held = take!(net.vats[1], Event::Call { caps, .. } => caps[0]);
    net.vats[1].send(held, 7, &[]);
    net.run();
    net.vats[0]
        .engine
        .resolve(promise, Err(Exception::failed("never")))
        .unwrap();
    net.run();
    take!(net.vats[1], Event::Returned { result: Err(_), .. } => ());
    net.vats[1].send(held, 8, &[]);
    take!(net.vats[1], Event::Failed { reason, .. } => assert_eq!(reason.reason(), "never"));
    net.vats[0].send(boot, 2, &[]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 2);
}

/// Vat 0 calls 1, which answers with vat 0's own object; calls pipelined before and sent after must
/// arrive in order.
#[test]
fn embargo_holds_calls_until_the_loopback() {
    let (mut net, boot) = pair();
    let mine = net.vats[0].object(5);
    let (_, echo) = net.vats[0].ask(boot, 9, &[mine]);
    net.vats[0].send(echo, 0, &[]);
    net.vats[0].send(echo, 1, &[]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &caps);
        net.vats[1].release(caps[0]);
    });
    net.vats[0].send(echo, 2, &[]);
    net.deliver(0, 0, "return");
    let answered = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    assert_eq!(
        net.flying(0, 1),
        ["call", "call", "call", "disembargo", "finish"]
    );
    assert_eq!(net.vats[0].engine.same(echo, mine), None, "embargoed");
    net.vats[0].send(echo, 3, &[]);
    net.vats[0].send(answered, 4, &[]);
    net.run();
    net.vats[0].send(echo, 5, &[]);
    net.vats[0]
        .events
        .retain(|event| matches!(event, Event::Call { .. }));
    assert_eq!(
        [(); 6].map(|()| net.vats[0].take_number()),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(net.vats[0].engine.same(echo, mine), Some(true));
    for node in [echo, answered, mine, boot] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1]);
}

#[test]
fn embargo_that_cannot_be_lifted_breaks_what_it_holds() {
    let (mut net, boot) = pair();
    let mine = net.vats[0].object(5);
    let (_, echo) = net.vats[0].ask(boot, 9, &[mine]);
    net.vats[0].send(echo, 0, &[]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &caps);
        net.vats[1].release(caps[0]);
    });
    net.deliver(0, 0, "return");
    let answered = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    net.vats[0].send(echo, 1, &[]);
    net.cut(0);
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    take!(net.vats[0], Event::Closed(..) => ());
    take!(net.vats[0], Event::Failed { .. } => ());
    for node in [echo, answered, mine, boot] {
        net.vats[0].release(node);
    }
    take!(net.vats[0], Event::Dropped(5) => ());
}

#[test]
fn nothing_is_embargoed_without_an_earlier_call() {
    let (mut net, boot) = pair();
    let mine = net.vats[0].object(5);
    let (_, echo) = net.vats[0].ask(boot, 9, &[mine]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &caps);
        net.vats[1].release(caps[0]);
    });
    net.run();
    assert_eq!(net.vats[0].engine.same(echo, mine), Some(true));
}

#[test]
fn a_promise_that_resolves_to_the_callers_own_object_is_embargoed_too() {
    let (mut net, boot) = pair();
    let mine = net.vats[0].object(5);
    let (_, later) = net.vats[0].ask(boot, 1, &[mine]);
    net.deliver(0, 1, "call");
    let (given, promise) = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        let promise = net.vats[1].engine.promise();
        net.vats[1].answer(respond, 0, &[promise]);
        (caps[0], promise)
    });
    net.run();
    net.vats[0].send(later, 0, &[]);
    net.run();
    net.vats[0].send(later, 1, &[]);
    net.vats[1].engine.resolve(promise, Ok(given)).unwrap();
    net.vats[1].release(promise);
    net.vats[1].release(given);
    net.deliver(0, 0, "call");
    net.deliver(0, 0, "resolve");
    net.vats[0].send(later, 2, &[]);
    net.run();
    net.vats[0].send(later, 3, &[]);
    let mut got = Vec::new();
    for event in std::mem::take(&mut net.vats[0].events) {
        match event {
            Event::Call {
                number, respond, ..
            } => {
                got.push(number);
                net.vats[0].answer(respond, 0, &[]);
            }
            Event::Returned {
                result: Ok((_, caps)),
                ..
            } => {
                caps.into_iter().for_each(|node| net.vats[0].release(node));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, [0, 1, 2, 3]);
    for node in [later, mine, boot] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promise_reflected_to_itself_breaks_and_nothing_hangs() {
    let (mut net, boot) = pair();
    let promise = net.vats[0].engine.promise();
    // Vat 1 answers with vat 0's promise, which vat 0 resolves to that very answer.
    let (_, echo) = net.vats[0].ask(boot, 1, &[promise]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &caps);
        net.vats[1].release(caps[0]);
    });
    net.vats[0].engine.resolve(promise, Ok(echo)).unwrap();
    net.vats[0].send(echo, 2, &[]);
    net.run();
    let mut broken = 0;
    for event in std::mem::take(&mut net.vats[0].events) {
        match event {
            Event::Returned { result: Err(_), .. } | Event::Failed { .. } => broken += 1,
            Event::Returned {
                result: Ok((_, caps)),
                ..
            } => {
                caps.into_iter().for_each(|node| net.vats[0].release(node));
            }
            other => panic!("{other:?}"),
        }
    }
    for node in [promise, echo, boot] {
        net.vats[0].release(node);
    }
    assert_eq!(broken, 1);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_cancelled_call_is_finished_and_its_late_results_leak_nothing() {
    let (mut net, boot) = pair();
    let (tag, result) = net.vats[0].ask(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    let Respond::Wire(token) = &respond else {
        panic!("local")
    };
    let serial = token.serial();
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    // The Finish crosses the Return.
    assert!(net.vats[0].engine.cancel(result));
    assert!(!net.vats[0].engine.cancel(result));
    net.run();
    take!(net.vats[0], Event::Returned { tag: got, result: Err(_) } => assert_eq!(got, tag));
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(result);
    // And the other way round: Finish first.
    let (_, result) = net.vats[0].ask(boot, 2, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    take!(net.vats[1], Event::Cancelled(token) => assert_ne!(token.serial(), serial));
    let object = net.vats[1].object(6);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    take!(net.vats[1], Event::Dropped(6) => ());
    net.vats[0].release(result);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}
