//! Three vats in a row: the middle passes on.

use super::net::{Event, Net, Respond, take};
use crate::{ConnOptions, Exception, NodeId, NodeState, ObjectKey};

/// Vats 0 — 1 — 2. Vat 1 offers its reference to vat 2's object.
pub(super) fn row() -> (Net, NodeId) {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    net.link(
        (1, ConnOptions::default()),
        (2, ConnOptions::default().with_bootstrap(root)),
    );
    net.vats[2].release(root);
    let conn = net.conn(0, 0);
    let through = net.vats[1].engine.bootstrap(conn);
    net.link(
        (0, ConnOptions::default()),
        (1, ConnOptions::default().with_bootstrap(through)),
    );
    net.vats[1].release(through);
    let conn = net.conn(1, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    (net, boot)
}

/// Nothing is left but what vat 1 offers, and that goes with the link.
pub(super) fn row_drained(net: &mut Net) {
    net.run();
    for end in 0..2 {
        let (vat, conn) = net.links[1].ends[end];
        assert!(
            net.vats[vat].engine.is_drained(conn),
            "{:?}",
            net.vats[vat].engine.stats(conn)
        );
    }
    net.cut(1);
    net.assert_drained(&[0, 0, 1]);
}

#[test]
fn a_vat_in_the_middle_passes_calls_answers_and_references_on_without_a_turn() {
    let (mut net, boot) = row();
    let mine = net.vats[0].object(4);
    let (_, result) = net.vats[0].ask(boot, 1, &[mine]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    let (respond, callback) = take!(net.vats[2], Event::Call { object: 0, number: 1, respond, caps } => {
        (respond, caps[0])
    });
    net.vats[2].send(callback, 3, &[]);
    let object = net.vats[2].object(6);
    net.vats[2].answer(respond, 10, &[object]);
    net.vats[2].release(object);
    net.run();
    assert_eq!(net.vats[0].take_number(), 3);
    take!(net.vats[2], Event::Call { object: 6, number: 2, respond, .. } => {
        net.vats[2].answer(respond, 0, &[]);
    });
    net.run();
    let got = take!(net.vats[0], Event::Returned { result: Ok((10, caps)), .. } => caps[0]);
    assert_eq!(net.vats[0].engine.same(got, result), Some(true));
    assert!(
        net.vats[1].next().is_none(),
        "nothing for the vat in the middle to do"
    );
    for node in [got, result, mine, boot] {
        net.vats[0].release(node);
    }
    net.vats[2].release(callback);
    row_drained(&mut net);
}

/// As above, but vat 2 gives vat 0's object back: both hops shorten, in order.
#[test]
fn order_is_kept_when_a_reflected_reference_shortens_two_hops() {
    let (mut net, boot) = row();
    let mine = net.vats[0].object(4);
    let (_, echo) = net.vats[0].ask(boot, 9, &[mine]);
    for number in 0..3 {
        net.vats[0].send(echo, number, &[]);
    }
    let mut sent = 3;
    let mut respond: Option<(Respond, NodeId)> = None;
    // Every order in which the two links can be served, a few steps at a time.
    for round in 0..200 {
        net.step(|ready| round * 7 % ready);
        while let Some(event) = net.vats[2].next() {
            if let Event::Call {
                caps, respond: to, ..
            } = event
            {
                respond = Some((to, caps[0]));
            }
        }
        if let Some((to, cap)) = respond.take() {
            net.vats[2].answer(to, 0, &[cap]);
            net.vats[2].release(cap);
        }
        if round % 3 == 0 && sent < 12 {
            net.vats[0].send(echo, sent, &[]);
            sent += 1;
        }
    }
    net.run();
    let mut got = Vec::new();
    for event in std::mem::take(&mut net.vats[0].events) {
        match event {
            Event::Call {
                object: 4,
                number,
                respond,
                ..
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
    assert_eq!(got, (0..12).collect::<Vec<_>>());
    net.run();
    assert_eq!(net.vats[0].engine.same(echo, mine), Some(true));
    for node in [echo, mine, boot] {
        net.vats[0].release(node);
    }
    row_drained(&mut net);
}

#[test]
fn losing_the_far_link_breaks_what_went_through_the_middle_and_nothing_else() {
    let (mut net, boot) = row();
    net.run();
    let tag = net.vats[0].send(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[2], Event::Call { respond, .. } => respond);
    net.cut(0);
    net.run();
    take!(net.vats[0], Event::Returned { tag: got, result: Err(reason) } => {
        assert_eq!(got, tag);
        assert!(reason.reason().contains("may have run"));
    });
    net.vats[2].answer(respond, 0, &[]);
    net.vats[0].send(boot, 2, &[]);
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    assert!(
        net.vats[0].engine.stats(net.conn(1, 0)).is_some(),
        "the other link stands"
    );
}

#[test]
fn a_forwarded_call_is_answered_by_who_it_went_on_to() {
    // Vat 1's object is a caretaker: what it is sent goes on to vat 2, or back to vat 0.
    let mut net = Net::new(3);
    let care = net.vats[1].object(0);
    let root = net.vats[2].object(0);
    net.link(
        (1, ConnOptions::default()),
        (2, ConnOptions::default().with_bootstrap(root)),
    );
    net.link(
        (0, ConnOptions::default()),
        (1, ConnOptions::default().with_bootstrap(care)),
    );
    net.vats[1].release(care);
    net.vats[2].release(root);
    let (beyond, boot) = (net.conn(0, 0), net.conn(1, 0));
    let beyond = net.vats[1].engine.bootstrap(beyond);
    let boot = net.vats[0].engine.bootstrap(boot);
    net.run();
    net.vats[1].forward_to = Some(beyond);
    let mine = net.vats[0].object(4);
    let (tag, result) = net.vats[0].ask(boot, 1, &[mine]);
    // Pipelined before the call has gone on, and after.
    net.vats[0].send(result, 2, &[]);
    net.run();
    net.vats[0].send(result, 3, &[]);
    net.run();
    take!(net.vats[2], Event::Call { number: 1, caps, respond, .. } => {
        net.vats[2].answer(respond, 5, &caps);
        net.vats[2].release(caps[0]);
    });
    net.run();
    let back = take!(net.vats[0], Event::Returned { tag: got, result: Ok((5, caps)) } => {
        assert_eq!(got, tag);
        caps[0]
    });
    assert_eq!([(); 2].map(|()| net.vats[0].take_number()), [2, 3]);
    assert!(matches!(
        net.vats[0].engine.state(back),
        NodeState::Near(ObjectKey(4))
    ));
    // A broken target answers with its reason.
    net.vats[1].forward_to = Some(net.vats[1].engine.broken(Exception::overloaded("revoked")));
    net.run();
    net.vats[0].events.clear();
    net.vats[0].send(boot, 6, &[mine]);
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason, Exception::overloaded("revoked"));
    });
    let broken = net.vats[1].forward_to.take().unwrap();
    net.vats[1].release(broken);
    net.vats[1].release(beyond);
    for node in [back, result, mine, boot] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1, 1]);
}
