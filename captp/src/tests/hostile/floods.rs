//! Peers that send too much, or read too little.

use super::random::answer;
use super::*;

#[test]
fn a_flood_of_calls_stops_at_the_limits() {
    let limits = Limits::default().with_answers_soft(10).with_answers(20);
    let mut victim = Victim::new(limits);
    victim.bootstrap();
    for question in 0..60 {
        victim.call(question, 0);
    }
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::TableFull {
            what: "unanswered calls",
            limit: 20
        }
    );
}

#[test]
fn a_peer_that_never_finishes_is_stopped_at_as_many_answers_again() {
    let mut victim = Victim::new(Limits::default().with_answers(20));
    victim.bootstrap();
    for question in 0..39 {
        victim.call(question, 0);
        let respond = take!(victim.net.vats[0], Event::Call { respond, .. } => respond);
        // With a reference in it, so that it is kept.
        let root = victim.root;
        victim.net.vats[0].answer(respond, 0, &[root]);
    }
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    victim.call(39, 0);
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::TableFull {
            what: "unfinished calls",
            limit: 40
        }
    );
}

#[test]
fn calls_above_the_soft_limit_wait_and_go_on_in_order() {
    let (mut net, boot) = pair();
    net.cut(0);
    net.vats[0].release(boot);
    let root = net.vats[1].object(0);
    let limits = Limits::default().with_answers_soft(4);
    let link = net.link(
        (0, ConnOptions::default()),
        (
            1,
            ConnOptions::default()
                .with_bootstrap(root)
                .with_limits(limits),
        ),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.vats[0].events.clear();
    net.vats[1].events.clear();
    net.run();
    for number in 0..7 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    let there = net.conn(link, 1);
    net.vats[1].collect();
    assert_eq!(net.vats[1].events.len(), 4, "delivered");
    assert_eq!(net.vats[1].engine.stats(there).unwrap().held, 3);
    for number in 0..7 {
        assert_eq!(net.vats[1].take_number(), number);
        let held = net.vats[1].engine.stats(there).unwrap().held;
        assert_eq!(held, 2usize.saturating_sub(number as usize));
    }
    net.run();
    while let Some(event) = net.vats[0].next() {
        assert!(matches!(event, Event::Returned { result: Ok(_), .. }));
    }
}

#[test]
fn calls_that_wait_for_one_promise_are_refused_beyond_the_depth() {
    let (mut net, boot) = pair();
    net.cut(0);
    net.vats[0].release(boot);
    let root = net.vats[1].object(0);
    let limits = Limits::default().with_pipeline_depth(2);
    let options = ConnOptions::default().with_bootstrap(root);
    let link = net.link(
        (0, ConnOptions::default()),
        (1, options.with_limits(limits)),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    let (_, result) = net.vats[0].ask(boot, 9, &[]);
    for number in 0..3 {
        net.vats[0].send(result, number, &[]);
    }
    net.vats[0].events.clear();
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("wait for one promise"), "{reason}");
    });
}

#[test]
fn a_peer_that_does_not_read_is_aborted() {
    let mut victim = Victim::new(Limits::default().with_outbound_bytes(10_000));
    victim.bootstrap();
    for question in 0..400 {
        victim.call(question, 0);
        while let Some(event) = victim.net.vats[0].next() {
            answer(&mut victim, event);
            if victim.net.vats[0].engine.stats(victim.conn).is_none() {
                break;
            }
        }
        if victim.net.vats[0].engine.stats(victim.conn).is_none() {
            return;
        }
    }
    panic!("the outbound queue has no end");
}

#[test]
fn what_the_transport_does_not_take_counts_too() {
    let mut victim = Victim::new(Limits::default().with_outbound_bytes(10_000));
    victim.bootstrap();
    let mut stuck = Transmit::new();
    for question in 0..400 {
        victim.call(question, 0);
        while let Some(event) = victim.net.vats[0].next() {
            answer(&mut victim, event);
        }
        let conn = victim.conn;
        victim.net.vats[0].engine.poll_transmit(conn, &mut stuck);
        if victim.net.vats[0].engine.stats(conn).is_none() {
            assert!(stuck.len() < 11_000);
            return;
        }
    }
    panic!("the outbound queue has no end");
}

#[test]
fn too_many_references_are_refused_in_both_directions() {
    let mut victim = Victim::new(Limits::default().with_caps_per_message(2));
    victim.bootstrap();
    victim.message(|to| {
        let mut call = to.init_call();
        call.reborrow().init_target().set_imported_cap(0);
        call.init_params().init_cap_table(3);
    });
    assert_eq!(victim.fault(), PeerMisbehaved::TooManyCaps(3));

    let (mut net, boot) = pair();
    let objects: Vec<NodeId> = (0..65).map(|key| net.vats[0].object(100 + key)).collect();
    net.vats[0].send(boot, 1, &objects);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("limit is 64"), "{reason}");
    });
    objects
        .into_iter()
        .for_each(|node| net.vats[0].release(node));
    net.vats[0].events.clear();
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_message_too_large_to_send_fails_its_call_only() {
    let (mut net, boot) = pair();
    let mut call = net.vats[0].call(1, &[], None);
    call.blob = 9 << 20;
    net.vats[0].engine.send(boot, call);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("above the limit"), "{reason}");
    });
    net.vats[0].send(boot, 2, &[]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 2);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

/// How many calls of a vat have failed.
fn failed(vat: &mut crate::tests::net::Vat) -> usize {
    let events = std::mem::take(&mut vat.events).into_iter();
    let failed = events.filter(|event| {
        matches!(
            event,
            Event::Returned { result: Err(_), .. } | Event::Failed { .. }
        )
    });
    failed.count()
}

#[test]
fn a_circle_of_forwarded_calls_ends_at_the_limit() {
    let (mut net, boot) = pair();
    let mine = net.vats[0].object(1);
    // Vat 1 gets a reference to call back.
    net.vats[0].send(boot, 0, &[mine]);
    net.run();
    let theirs = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    net.run();
    // Each answers the other's call with the result of its own.
    let (_, a) = net.vats[0].ask(boot, 1, &[]);
    let (_, b) = net.vats[1].ask(theirs, 2, &[]);
    net.run();
    let first = take!(net.vats[1], Event::Call { respond, .. } => respond);
    net.vats[0]
        .events
        .retain(|event| matches!(event, Event::Call { .. }));
    let second = take!(net.vats[0], Event::Call { respond, .. } => respond);
    net.vats[1].answer(first, 0, &[b]);
    net.vats[0].answer(second, 0, &[a]);
    net.vats[0].send(a, 7, &[]);
    net.run();
    assert_eq!(failed(&mut net.vats[0]), 1, "the call has nowhere to go");
}

/// Its Finish follows it round, and must not let it go on for ever.
#[test]
fn a_canceled_call_in_a_circle_ends_at_the_limit() {
    // Two connections, so that neither vat sees that it calls itself.
    let mut net = Net::new(2);
    let limits = Limits::default().with_questions(50);
    let options = ConnOptions::default().with_limits(limits);
    let called = [0, 1].map(|vat: usize| {
        let root = net.vats[vat].object(0);
        let link = net.link(
            (1 - vat, options.clone()),
            (vat, options.clone().with_bootstrap(root)),
        );
        let conn = net.conn(link, 0);
        let boot = net.vats[1 - vat].engine.bootstrap(conn);
        net.vats[1 - vat].ask(boot, 1, &[]).1
    });
    net.run();
    for vat in [0, 1] {
        let respond = take!(net.vats[vat], Event::Call { respond, .. } => respond);
        net.vats[vat].answer(respond, 0, &[called[1 - vat]]);
    }
    net.run();
    net.vats[1].events.clear();
    let (_, result) = net.vats[1].ask(called[0], 7, &[]);
    assert!(net.vats[1].engine.cancel(result));
    net.vats[1].collect();
    assert_eq!(failed(&mut net.vats[1]), 1, "who cancelled is told at once");
    net.run();
    net.vats[1].release(result);
    assert_eq!(failed(&mut net.vats[1]), 0);
}
