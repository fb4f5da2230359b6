//! Calls of other vats, and what follows them, beside our own that wait.

use super::*;

/// Vat 0 has one call under way, and no room for more. Vat 1 has called the result of a call to vat
/// 0, which is answered with something of vat 1's own, and vat 0 has called that as well. What vat 1
/// has as the result, what vat 0 has, and the call that is under way.
fn embargoed(limits: Limits) -> (Net, NodeId, NodeId, Respond) {
    let (mut net, boot) = pair_with([limits, Limits::default()]);
    let mine = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[mine]);
    net.run();
    let (_, caps, first) = next_call(&mut net, 1);
    let theirs = net.vats[1].object(5);
    let (_, result) = net.vats[1].ask(caps[0], 2, &[theirs]);
    net.vats[1].send(result, 3, &[]);
    net.run();
    let (_, given, respond) = next_call(&mut net, 0);
    net.vats[0].answer(respond, 0, &given);
    net.vats[0].send(given[0], 4, &[]);
    net.run();
    take!(net.vats[1], Event::Returned { result: Ok(_), .. } => ());
    (net, result, given[0], first)
}

#[test]
fn a_disembargo_of_the_peer_overtakes_calls_of_our_own() {
    // No room ever, so that the call to the result is refused at once.
    let (mut net, result, _, first) = embargoed(window(1).with_questions(1));
    take!(net.vats[1], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason.kind(), ExceptionKind::Overloaded);
    });
    assert_eq!(waiting(&net, 0), 1);
    // What vat 0 waits for may wait for this.
    net.vats[1].send(result, 5, &[]);
    assert_eq!(next_call(&mut net, 1).0, 5);
    net.vats[1].answer(first, 0, &[]);
    assert_eq!(serve(&mut net, 1), [4]);
}

#[test]
fn a_disembargo_of_the_peer_follows_its_calls_that_wait() {
    let (mut net, result, held, first) = embargoed(window(1));
    assert_eq!(waiting(&net, 0), 2);
    net.vats[1].send(result, 5, &[]);
    net.vats[1].answer(first, 0, &[]);
    net.run();
    // And not the call of vat 0's own, for which there is no room yet.
    let (number, _, respond) = next_call(&mut net, 1);
    assert_eq!(number, 3);
    assert_eq!(next_call(&mut net, 1).0, 5);
    // Which still names what is let go of.
    net.vats[0].release(held);
    net.run();
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    assert_eq!(serve(&mut net, 1), [4]);
}

#[test]
fn disembargoes_of_the_peer_that_wait_behind_calls_have_a_limit() {
    let (mut net, ..) = embargoed(window(1).with_embargoes(3));
    let conn = net.conn(0, 0);
    let again = |net: &mut Net| {
        let bytes = framed(|to| {
            let mut disembargo = to.init_disembargo();
            let target = disembargo.reborrow().init_target();
            let mut answer = target.init_promised_answer();
            answer.set_question_id(0);
            answer.init_transform(1).get(0).set_get_pointer_field(0);
            disembargo.init_context().set_sender_loopback(9);
        });
        net.vats[0].feed(conn, &bytes, Vec::new());
    };
    // One waits: that of the peer's engine itself.
    let bytes = |net: &Net| net.vats[0].engine.stats(conn).unwrap().waiting_bytes;
    let before = bytes(&net);
    again(&mut net);
    let each = bytes(&net) - before;
    assert!(each > 0);
    again(&mut net);
    assert_eq!(bytes(&net), before + 2 * each);
    again(&mut net);
    let closed = net.vats[0].events.iter().find_map(|event| match event {
        Event::Closed(_, CloseReason::PeerMisbehaved(fault)) => Some(fault),
        _ => None,
    });
    let what = "disembargoes that wait behind calls";
    assert_eq!(closed, Some(&PeerMisbehaved::TableFull { what, limit: 3 }));
}

#[test]
fn calls_of_other_vats_wait_only_where_they_will_leave_by_time_alone() {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    let plain = ConnOptions::default;
    let to_host = net.link(
        (1, plain().with_limits(window(1).with_questions(4))),
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
    net.vats[1].send(host, 10, &[]);
    net.run();
    for _ in 0..3 {
        take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
            assert!(reason.reason().contains("4 calls to the peer"), "{reason}");
        });
    }
    while net.vats[1].engine.deadline().is_some() {
        be_patient(&mut net.vats[1]);
        net.run();
    }
    let mut arrived = Vec::new();
    while let Some(Event::Call { number, .. }) = net.vats[2].events.pop_front() {
        arrived.push(number);
    }
    assert_eq!(arrived, [10, 0, 1, 2]);
}
