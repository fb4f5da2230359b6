//! Calls of ours that wait for room at the peer: that they leave in order, that nothing leads past
//! them, and that they do not wait for ever.

use std::time::Duration;

use super::handoff::{EXPORTER, GIFTER, RECIPIENT, TO_EXPORTER, Trio, hush};
use super::hints::ask_for_reference;
use super::hostile::framed;
use super::net::{Event, Net, Respond, Vat, take};
use crate::{
    CloseReason, ConnId, ConnOptions, ExceptionKind, Limits, NodeId, NodeState, PeerMisbehaved,
    Transmit,
};

mod order;
mod others;
mod patience;

/// Room for that many calls.
fn window(calls: usize) -> Limits {
    Limits::default().with_questions_soft(calls)
}

/// Two vats; vat 1 offers object 0. The limits are those of vat 0, then of vat 1.
fn pair_with(limits: [Limits; 2]) -> (Net, NodeId) {
    pair_of(limits, &ConnOptions::default())
}

fn pair_of(limits: [Limits; 2], options: &ConnOptions) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let [first, second] = limits.map(|limits| options.clone().with_limits(limits));
    net.link((0, first), (1, second.with_bootstrap(root)));
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    (net, boot)
}

/// The same with hellos, so that each knows what the other takes.
fn pair_with_hello(limits: [Limits; 2]) -> (Net, NodeId) {
    pair_of(limits, &ConnOptions::default().with_hello(true))
}

/// Vat 0 has a small window, vat 1 none.
fn narrow(calls: usize) -> (Net, NodeId) {
    pair_with([window(calls), Limits::default()])
}

fn waiting(net: &Net, vat: usize) -> usize {
    let conn = net.conn(0, vat);
    net.vats[vat].engine.stats(conn).unwrap().waiting
}

fn next_call(net: &mut Net, vat: usize) -> (u32, Vec<NodeId>, Respond) {
    take!(net.vats[vat], Event::Call { number, caps, respond, .. } => (number, caps, respond))
}

/// Serves all calls at a vat as they come; their numbers.
fn serve(net: &mut Net, vat: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    loop {
        net.run();
        let Some(event) = net.vats[vat].next() else {
            return numbers;
        };
        if let Event::Call {
            number, respond, ..
        } = event
        {
            numbers.push(number);
            net.vats[vat].answer(respond, 0, &[]);
        }
    }
}

/// Lets time pass at a vat until a window has been opened once.
fn be_patient(vat: &mut Vat) {
    let now = vat.engine.deadline().expect("something that ends by time");
    vat.engine.handle_time(now);
    if let Some(due) = vat.engine.deadline() {
        vat.engine.handle_time(due);
    }
    vat.collect();
}

/// Moves bytes between two engines without looking at single messages.
fn shuttle(net: &mut Net) -> bool {
    let mut any = false;
    for from in 0..2 {
        let (here, there): (ConnId, ConnId) = (net.conn(0, from), net.conn(0, 1 - from));
        let mut out = Transmit::new();
        any |= net.vats[from].engine.poll_transmit(here, &mut out);
        while let Some((run, _)) = out.head() {
            let run = run.to_vec();
            out.advance(run.len());
            net.vats[1 - from].feed(there, &run, Vec::new());
        }
    }
    any
}

#[test]
fn a_hundred_thousand_calls_through_a_window_of_64_are_answered_in_order() {
    const CALLS: u32 = 100_000;
    let (mut net, boot) = narrow(64);
    // Each call goes to the result of the one before.
    let mut target = boot;
    for number in 0..CALLS {
        let (_, result) = net.vats[0].ask(target, number, &[]);
        net.vats[0].release(target);
        target = result;
    }
    net.vats[0].release(target);
    assert_eq!(waiting(&net, 0), CALLS as usize - 64);
    let (mut arrived, mut answered, mut most) = (0, 0, 0);
    let object = net.vats[1].object(0);
    while shuttle(&mut net) {
        let there = net.conn(0, 1);
        most = most.max(net.vats[1].engine.stats(there).unwrap().answers);
        while let Some(event) = net.vats[1].next() {
            let Event::Call {
                number, respond, ..
            } = event
            else {
                panic!("{event:?}");
            };
            assert_eq!(number, arrived);
            arrived += 1;
            net.vats[1].answer(respond, number, &[object]);
        }
        while let Some(event) = net.vats[0].next() {
            let Event::Returned {
                result: Ok((number, caps)),
                ..
            } = event
            else {
                panic!("{event:?}");
            };
            assert_eq!(number, answered);
            answered += 1;
            net.vats[0].release(caps[0]);
        }
    }
    assert_eq!((arrived, answered), (CALLS, CALLS));
    assert!(most <= 130, "{most} calls at once at the callee");
    net.vats[1].release(object);
    net.vats[1].events.clear();
    net.assert_drained(&[0, 1]);
}

#[test]
fn bytes_of_calls_and_what_the_transport_does_not_take_make_calls_wait_as_well() {
    for limits in [
        Limits::default().with_question_bytes(4_000),
        Limits::default().with_outbound_soft(4_000),
    ] {
        let (mut net, boot) = pair_with([limits, Limits::default()]);
        for _ in 0..20 {
            let mut call = net.vats[0].call(0, &[], None);
            call.blob = 1_000;
            net.vats[0].engine.send(boot, call);
            net.vats[0].collect();
        }
        let conn = net.conn(0, 0);
        let stats = net.vats[0].engine.stats(conn).unwrap();
        assert!((14..18).contains(&stats.waiting), "{stats:?}");
        assert!(stats.waiting_bytes > 1_000 * stats.waiting, "{stats:?}");
        assert!(stats.outbound_bytes < 6_000, "{stats:?}");
        assert_eq!(serve(&mut net, 1).len(), 20);
    }
}

#[test]
fn what_the_transport_takes_lets_waiting_calls_leave() {
    let limits = Limits::default().with_outbound_soft(1_000);
    let (mut net, boot) = pair_with([limits, Limits::default()]);
    for number in 0..50 {
        net.vats[0].send(boot, number, &[]);
    }
    let conn = net.conn(0, 0);
    let engine = &mut net.vats[0].engine;
    while engine.pending_transmit().is_some() {}
    let mut taken = 0;
    while let Some((run, _)) = engine.transmit_head(conn) {
        let some = run.len().min(100);
        taken += some;
        engine.transmit_advance(conn, some);
    }
    let stats = engine.stats(conn).unwrap();
    assert_eq!((stats.waiting, stats.outbound_bytes), (0, 0), "{stats:?}");
    assert!(taken > 50 * 100, "{taken} bytes");
}

/// A vat that answers only when it is told to, and takes only so much.
fn slow(limits: Limits) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let greets = ConnOptions::default().with_hello(true);
    net.link(
        (0, greets.clone()),
        (1, greets.with_bootstrap(root).with_limits(limits)),
    );
    let conn = net.conn(0, 0);
    net.run();
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    (net, boot)
}

#[test]
fn a_peer_that_takes_few_calls_gets_few() {
    let (mut net, boot) = slow(Limits::default().with_answers_soft(3));
    for number in 0..10 {
        net.vats[0].send(boot, number, &[]);
    }
    assert_eq!(waiting(&net, 0), 7);
    assert_eq!(serve(&mut net, 1), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_slow_peer_never_gets_more_calls_than_it_said_it_takes() {
    let limits = Limits::default().with_answers_soft(3).with_answers(6);
    let (mut net, boot) = slow(limits);
    for number in 0..20 {
        net.vats[0].send(boot, number, &[]);
    }
    while net.vats[0].engine.deadline().is_some() {
        be_patient(&mut net.vats[0]);
        net.run();
    }
    assert_eq!(waiting(&net, 0), 14);
    assert_eq!(serve(&mut net, 1), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_slow_peer_never_gets_more_bytes_of_calls_than_it_said_it_takes() {
    let limits = Limits::default()
        .with_call_bytes_soft(300)
        .with_call_bytes(1_000);
    let (mut net, boot) = slow(limits);
    for number in 0..20 {
        net.vats[0].send(boot, number, &[]);
    }
    let first = waiting(&net, 0);
    while net.vats[0].engine.deadline().is_some() {
        be_patient(&mut net.vats[0]);
        net.run();
    }
    let second = waiting(&net, 0);
    assert!(0 < second && second < first, "{first} calls, then {second}");
    assert_eq!(serve(&mut net, 1), (0..20).collect::<Vec<_>>());
    net.vats[0].events.clear();
    let many = vec![boot; 60];
    net.vats[0].send(boot, 21, &many);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("takes 1000 bytes of calls"), "{reason}");
    });
}

#[test]
fn beyond_the_hard_bound_a_call_fails_and_says_which_limit() {
    let limits = window(1).with_waiting_calls(2);
    let (mut net, boot) = pair_with([limits, Limits::default()]);
    for number in 0..4 {
        net.vats[0].send(boot, number, &[]);
    }
    let reason = take!(net.vats[0], Event::Failed { reason } => reason);
    assert_eq!(reason.kind(), ExceptionKind::Overloaded);
    assert!(
        reason.reason().contains("2 calls wait for room"),
        "{reason}"
    );
    assert!(reason.reason().contains("waiting_calls"), "{reason}");
    assert_eq!(serve(&mut net, 1), [0, 1, 2]);

    let limits = window(1).with_waiting_bytes(500);
    let (mut net, boot) = pair_with([limits, Limits::default()]);
    for number in 0..6 {
        net.vats[0].send(boot, number, &[]);
    }
    let mut refused = 0;
    while let Some(event) = net.vats[0].next() {
        if let Event::Returned {
            result: Err(reason),
            ..
        } = event
        {
            assert!(reason.reason().contains("waiting_bytes"), "{reason}");
            refused += 1;
        }
    }
    assert!((1..4).contains(&refused), "{refused} calls");
    assert_eq!(serve(&mut net, 1).len(), 6 - refused);
}

#[test]
fn calls_of_other_vats_fill_half_of_the_room_only() {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    let limits = window(1).with_waiting_calls(4);
    let plain = ConnOptions::default;
    let to_host = net.link(
        (1, plain().with_limits(limits)),
        (2, plain().with_bootstrap(root)),
    );
    let conn = net.conn(to_host, 0);
    let host = net.vats[1].engine.bootstrap(conn);
    net.run();
    let middle = net.link((0, plain()), (1, plain().with_bootstrap(host)));
    let conn = net.conn(middle, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    for number in 0..6 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    for _ in 0..3 {
        take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
            assert_eq!(reason.kind(), ExceptionKind::Overloaded);
            assert!(reason.reason().contains("other vats"), "{reason}");
        });
    }
    net.vats[1].send(host, 10, &[]);
    net.vats[1].send(host, 11, &[]);
    assert_eq!(serve(&mut net, 2), [0, 1, 2, 10, 11]);
}

#[test]
fn what_asks_for_something_behind_waiting_calls_does_not_take_their_place() {
    let (mut net, boot) = pair_with([window(1).with_questions(4), Limits::default()]);
    let conn = net.conn(0, 0);
    net.vats[0].send(boot, 1, &[]);
    net.vats[0].send(boot, 2, &[]);
    // These do not end by themselves, and leave one place.
    for number in 3..6 {
        let result = net.vats[0].engine.promise();
        let mut call = net.vats[0].call(number, &[], Some(result));
        call.pipeline_only = true;
        net.vats[0].engine.send(boot, call);
        net.vats[0].collect();
    }
    net.vats[0].send(boot, 6, &[]);
    let asked: Vec<NodeId> = (0..4).map(|_| net.vats[0].engine.bootstrap(conn)).collect();
    net.vats[0].send(asked[2], 7, &[]);
    let refused = net.vats[0].engine.state(asked[3]);
    assert!(matches!(refused, NodeState::Broken(_)), "{refused:?}");
    assert_eq!(serve(&mut net, 1), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn calls_for_references_that_wait_do_not_keep_others_from_leaving() {
    let (mut net, boot) = pair_with([window(1).with_questions(4), Limits::default()]);
    net.vats[0].send(boot, 1, &[]);
    net.vats[0].send(boot, 2, &[]);
    for number in 3..6 {
        ask_for_reference(&mut net, boot, number);
    }
    assert_eq!(waiting(&net, 0), 4);
    while net.vats[0].engine.deadline().is_some() {
        be_patient(&mut net.vats[0]);
    }
    assert_eq!(
        waiting(&net, 0),
        1,
        "two are to be answered, two are for references"
    );
}

#[test]
fn a_call_that_waits_can_be_cancelled_and_leaves_nothing() {
    let (mut net, boot) = narrow(1);
    net.vats[0].send(boot, 1, &[]);
    let mine = net.vats[0].object(7);
    let (tag, result) = net.vats[0].ask(boot, 2, &[mine]);
    assert!(net.vats[0].engine.cancel(result));
    assert!(!net.vats[0].engine.cancel(result), "once");
    take!(net.vats[0], Event::Returned { tag: of, result: Err(reason) } => {
        assert_eq!((of, reason.reason()), (tag, "the call was canceled"));
    });
    net.vats[0].send(result, 3, &[]);
    take!(net.vats[0], Event::Failed { .. } => ());
    net.run();
    let (_, _, respond) = next_call(&mut net, 1);
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    let (number, caps, respond) = next_call(&mut net, 1);
    assert_eq!(number, 2);
    take!(net.vats[1], Event::Cancelled(_) => ());
    net.vats[1].release(caps[0]);
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    for node in [mine, result, boot] {
        net.vats[0].release(node);
    }
    net.run();
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_call_that_waits_when_its_connection_is_lost_says_that_it_was_not_sent() {
    let (mut net, boot) = narrow(1);
    let mine = net.vats[0].object(7);
    let mut results = Vec::new();
    for number in 0..3 {
        let (_, result) = net.vats[0].ask(boot, number, &[mine]);
        net.vats[0].send(result, 10 + number, &[]);
        results.push(result);
    }
    net.run();
    net.cut(0);
    let mut reasons = Vec::new();
    while let Some(event) = net.vats[0].next() {
        if let Event::Returned {
            result: Err(reason),
            ..
        } = event
        {
            assert_eq!(reason.kind(), ExceptionKind::Disconnected);
            reasons.push(reason.reason().contains("was not sent"));
        }
    }
    assert_eq!(reasons, [false, true, true, true, true, true]);
    for node in results.into_iter().chain([boot, mine]) {
        net.vats[0].release(node);
    }
    net.vats[1].events.clear();
    net.vats[0].events.clear();
    assert_eq!(net.vats[0].engine.live_nodes(), 0);
}

#[test]
fn a_cancelled_call_of_another_vat_that_waits_is_cancelled_at_its_end() {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    let plain = ConnOptions::default;
    let to_host = net.link(
        (1, plain().with_limits(window(1))),
        (2, plain().with_bootstrap(root)),
    );
    let conn = net.conn(to_host, 0);
    let host = net.vats[1].engine.bootstrap(conn);
    net.run();
    let middle = net.link((0, plain()), (1, plain().with_bootstrap(host)));
    let conn = net.conn(middle, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.vats[0].send(boot, 1, &[]);
    let (_, result) = net.vats[0].ask(boot, 2, &[]);
    net.run();
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    let (_, _, first) = next_call(&mut net, 2);
    net.vats[2].answer(first, 0, &[]);
    net.run();
    let (number, _, second) = next_call(&mut net, 2);
    assert_eq!(number, 2);
    take!(net.vats[2], Event::Cancelled(_) => ());
    net.vats[2].answer(second, 0, &[]);
    net.run();
    let conn = net.conn(to_host, 0);
    assert_eq!(net.vats[1].engine.stats(conn).unwrap().questions, 0);
}

/// The peer keeps an answer as long as a call that waits names it, and has a limit for those.
#[test]
fn answers_that_waiting_calls_name_count_until_the_peer_can_forget_them() {
    let limits = Limits::default().with_answers_soft(3).with_answers(6);
    let (mut net, boot) = pair_with_hello([Limits::default(), limits]);
    let object = net.vats[1].object(5);
    let asked: Vec<NodeId> = (0..20).map(|n| net.vats[0].ask(boot, n, &[]).1).collect();
    for (number, result) in (20..).zip(&asked) {
        net.vats[0].send(*result, number, &[]);
        net.vats[0].release(*result);
    }
    let mut numbers = Vec::new();
    loop {
        net.run();
        let Some(event) = net.vats[1].next() else {
            break;
        };
        let Event::Call {
            number, respond, ..
        } = event
        else {
            panic!("{event:?}");
        };
        numbers.push(number);
        net.vats[1].answer(respond, 0, &[object]);
    }
    let mut refused = 0;
    for event in &net.vats[0].events {
        if let Event::Returned {
            result: Err(reason),
            ..
        } = event
        {
            let expected = "answers of the peer are in use";
            assert_eq!(reason.kind(), ExceptionKind::Overloaded);
            assert!(reason.reason().contains(expected), "{reason}");
            refused += 1;
        }
    }
    assert!((1..20).contains(&refused), "{refused} calls");
    assert_eq!(numbers, (0..40 - refused).collect::<Vec<u32>>());
}
