//! Calls, answers, exceptions, releases, disconnects.

use super::net::{Event, Net, pair, take};
use crate::{
    CloseReason, ConnOptions, Exception, ExceptionKind, Limits, NodeState, ObjectKey,
    PeerMisbehaved,
};

#[test]
fn bootstrap_call_return_and_release_leave_nothing_behind() {
    let (mut net, boot) = pair();
    assert!(matches!(net.vats[0].engine.state(boot), NodeState::Far(_)));
    let tag = net.vats[0].send(boot, 41, &[]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { object: 0, number: 41, respond, .. } => {
        net.vats[1].answer(respond, 42, &[]);
    });
    net.deliver(0, 0, "return");
    take!(net.vats[0], Event::Returned { tag: got, result: Ok((42, _)) } => {
        assert_eq!(got, tag);
    });
    assert!(
        net.flying(0, 1).is_empty(),
        "no finish is needed for results without references"
    );
    net.vats[0].release(boot);
    net.deliver(0, 1, "release");
    // The bootstrap itself is held by the connection.
    net.assert_drained(&[0, 1]);
}

#[test]
fn an_exception_keeps_kind_reason_trace_and_details() {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let reason = Exception::new(ExceptionKind::Overloaded, "too many cooks")
        .with_trace("kitchen")
        .with_detail(crate::Detail::new(9, vec![1, 2, 3]));
    take!(net.vats[1], Event::Call { respond, .. } => {
        net.vats[1].fail(respond, reason.clone());
    });
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(got), .. } => assert_eq!(got, reason));
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn local_sends_promises_and_jobs_share_one_queue() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    let (first, second) = (vat.object(1), vat.object(2));
    let promise = vat.engine.promise();
    vat.send(promise, 1, &[]);
    vat.engine.when_resolved(promise, 7);
    vat.send(promise, 2, &[]);
    vat.send(second, 3, &[]);
    vat.engine.enqueue(8);
    vat.engine.resolve(promise, Ok(first)).unwrap();
    vat.send(promise, 4, &[]);
    let mut seen = Vec::new();
    while let Some(event) = vat.next() {
        seen.push(match event {
            Event::Call { object, number, .. } => (object, number),
            Event::Run(job) => (0, job),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, [(2, 3), (0, 8), (1, 1), (0, 7), (1, 2), (1, 4)]);
    assert!(vat.engine.resolve(promise, Ok(second)).is_err());
    for node in [first, second, promise] {
        vat.release(node);
    }
    net.assert_drained(&[0]);
}

#[test]
fn a_promise_that_resolves_to_itself_breaks() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    let (a, b) = (vat.engine.promise(), vat.engine.promise());
    vat.engine.resolve(a, Ok(b)).unwrap();
    vat.send(a, 1, &[]);
    vat.engine.resolve(b, Ok(a)).unwrap();
    take!(vat, Event::Failed { reason, .. } => assert!(reason.reason().contains("itself")));
    assert!(matches!(vat.engine.state(a), NodeState::Broken(_)));
    vat.release(a);
    vat.release(b);
    net.assert_drained(&[0]);
}

#[test]
fn the_last_release_drops_the_object_behind_its_deliveries() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    let object = vat.object(5);
    let other = vat.object(5);
    assert_eq!(vat.engine.same(object, other), Some(true));
    vat.release(other);
    vat.send(object, 1, &[]);
    vat.release(object);
    take!(vat, Event::Call { object: 5, number: 1, .. } => ());
    take!(vat, Event::Dropped(5) => ());
    net.assert_drained(&[0]);
}

#[test]
fn a_call_that_cannot_be_written_is_returned_and_costs_no_question() {
    let (mut net, boot) = pair();
    let mut call = net.vats[0].call(1, &[], None);
    call.unwritable = true;
    net.vats[0].engine.send(boot, call);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason.reason(), "unwritable");
    });
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_lost_connection_breaks_everything_once_and_nothing_else() {
    let (mut net, boot) = pair();
    let other = net.vats[0].object(9);
    let tag = net.vats[0].send(boot, 1, &[other]);
    net.run();
    let (respond, callback) = take!(net.vats[1], Event::Call { respond, caps, .. } => {
        (respond, caps[0])
    });
    let callback_tag = net.vats[1].send(callback, 2, &[]);
    net.cut(0);
    take!(net.vats[0], Event::Returned { tag: got, result: Err(reason) } => {
        assert_eq!(got, tag);
        assert_eq!(reason.kind(), ExceptionKind::Disconnected);
        assert!(reason.reason().contains("may have run"), "{reason}");
    });
    take!(net.vats[0], Event::Closed(..) => ());
    assert!(net.vats[0].next().is_none());
    take!(net.vats[1], Event::Returned { tag: got, .. } => assert_eq!(got, callback_tag));
    take!(net.vats[1], Event::Dropped(0) => ());
    take!(net.vats[1], Event::Closed(..) => ());
    let NodeState::Broken(reason) = net.vats[0].engine.state(boot) else {
        panic!("not broken")
    };
    assert_eq!(reason.kind(), ExceptionKind::Disconnected);
    // Answering late does no harm.
    net.vats[1].answer(respond, 1, &[callback]);
    net.vats[1].release(callback);
    net.vats[0].release(boot);
    net.vats[0].release(other);
    take!(net.vats[0], Event::Dropped(9) => ());
    net.assert_drained(&[0, 0]);
}

#[test]
fn closing_with_a_reason_tells_the_peer() {
    let (mut net, boot) = pair();
    let conn = net.conn(0, 1);
    net.vats[1]
        .engine
        .close(conn, Some(Exception::failed("going away")));
    net.deliver(0, 0, "abort");
    take!(net.vats[0], Event::Closed(_, CloseReason::PeerAborted(reason)) => {
        assert_eq!(reason.reason(), "going away");
    });
    take!(net.vats[1], Event::Dropped(0) => ());
    take!(net.vats[1], Event::Closed(_, CloseReason::Local) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 0]);
}

#[test]
fn a_peer_without_a_bootstrap_answers_with_an_exception() {
    let mut net = Net::new(2);
    net.link((0, ConnOptions::default()), (1, ConnOptions::default()));
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    let tag = net.vats[0].send(boot, 1, &[]);
    net.run();
    take!(net.vats[0], Event::Returned { tag: got, result: Err(_) } => assert_eq!(got, tag));
    assert!(matches!(
        net.vats[0].engine.state(boot),
        NodeState::Broken(_)
    ));
    net.vats[0].release(boot);
    net.assert_drained(&[0, 0]);
}

#[test]
fn the_same_reference_sent_twice_is_one_export() {
    let (mut net, boot) = pair();
    let object = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[object, object]);
    net.vats[0].send(boot, 2, &[object]);
    net.run();
    let stats = net.vats[0].engine.stats(net.conn(0, 0)).unwrap();
    assert_eq!(stats.exports, 1);
    let mut held = Vec::new();
    for _ in 0..2 {
        take!(net.vats[1], Event::Call { caps, respond, .. } => {
            net.vats[1].answer(respond, 0, &[]);
            held.extend(caps);
        });
    }
    assert_eq!(net.vats[1].engine.same(held[0], held[2]), Some(true));
    net.vats[0].release(object);
    for node in held {
        assert!(
            net.vats[0]
                .next()
                .is_none_or(|event| !matches!(event, Event::Dropped(_)))
        );
        net.vats[1].release(node);
        net.run();
    }
    net.vats[0]
        .events
        .retain(|event| matches!(event, Event::Dropped(7)));
    assert_eq!(net.vats[0].events.len(), 1);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_held_reference_lives_and_comes_home_as_the_object_itself() {
    let (mut net, boot) = pair();
    let object = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[object]);
    net.run();
    let held = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    net.run();
    net.vats[0].release(object);
    assert!(matches!(net.vats[0].next(), Some(Event::Returned { .. })));
    assert!(net.vats[0].next().is_none(), "the peer still holds it");
    let (_, back) = net.vats[0].ask(boot, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[held]));
    net.vats[1].release(held);
    net.run();
    assert!(matches!(
        net.vats[0].engine.state(back),
        NodeState::Near(ObjectKey(7))
    ));
    take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => {
        for node in caps {
            net.vats[0].release(node);
        }
    });
    net.vats[0].release(back);
    take!(net.vats[0], Event::Dropped(7) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_null_and_a_broken_reference_travel_inside_a_call_without_breaking_it() {
    let (mut net, boot) = pair();
    let broken = net.vats[0].engine.broken(Exception::overloaded("busy"));
    net.vats[0].send(boot, 1, &[broken]);
    net.vats[0].release(broken);
    net.run();
    let got = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    let NodeState::Broken(reason) = net.vats[1].engine.state(got) else {
        panic!("not broken")
    };
    assert_eq!(
        (reason.kind(), reason.reason()),
        (ExceptionKind::Overloaded, "busy")
    );
    net.vats[1].release(got);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_missing_hello_ends_the_connection() {
    let mut net = Net::new(2);
    net.link(
        (0, ConnOptions::default().with_hello(true)),
        (1, ConnOptions::default()),
    );
    let conn = net.conn(0, 1);
    let boot = net.vats[1].engine.bootstrap(conn);
    net.vats[1].release(boot);
    net.deliver(0, 0, "bootstrap");
    take!(net.vats[0], Event::Closed(_, CloseReason::PeerMisbehaved(fault)) => {
        assert_eq!(fault, PeerMisbehaved::NoHello);
    });
}

#[test]
fn a_peer_may_abort_instead_of_saying_hello() {
    let mut net = Net::new(2);
    net.link(
        (0, ConnOptions::default().with_hello(true)),
        (1, ConnOptions::default()),
    );
    let (here, there) = (net.conn(0, 0), net.conn(0, 1));
    assert!(!net.vats[0].engine.is_greeted(here) && net.vats[1].engine.is_greeted(there));
    let reason = Exception::disconnected("another connection is kept");
    net.vats[1].engine.close(there, Some(reason.clone()));
    net.deliver(0, 0, "abort");
    take!(net.vats[0], Event::Closed(_, CloseReason::PeerAborted(told)) => {
        assert_eq!(told.reason(), reason.reason());
    });
    assert!(!net.vats[0].engine.is_greeted(here));
}

#[test]
fn both_sides_say_hello_and_nobody_waits_for_it() {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_hello(true);
    let small = Limits::default().with_caps_per_message(1);
    net.link(
        (0, options.clone()),
        (1, options.with_bootstrap(root).with_limits(small)),
    );
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.vats[0].send(boot, 3, &[]);
    assert_eq!(
        net.flying(0, 1).len(),
        3,
        "hello, bootstrap and call at once"
    );
    net.run();
    assert_eq!(net.vats[1].take_number(), 3);
    // What the peer said it accepts is kept here.
    let object = net.vats[0].object(1);
    net.vats[0].events.clear();
    net.vats[0].send(boot, 4, &[object, object]);
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    net.vats[0].release(object);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn objects_are_told_apart_by_their_whole_key() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    let keys = [5, 5 | 1 << 32, 5 | 2 << 32];
    let nodes = keys.map(|key| vat.object(key));
    for (key, node) in keys.into_iter().zip(nodes) {
        assert_eq!(vat.object(key), node);
        vat.release(node);
        vat.send(node, 1, &[]);
        take!(vat, Event::Call { object, .. } => assert_eq!(object, key));
    }
    for (key, node) in keys.into_iter().zip(nodes) {
        assert!(vat.engine.has_object(ObjectKey(key)));
        vat.release(node);
        take!(vat, Event::Dropped(object) => assert_eq!(object, key));
        assert!(!vat.engine.has_object(ObjectKey(key)));
    }
}
