//! What is sent before the peer has said hello, and with it what it takes.

use super::net::{Event, Net, take};
use crate::{ConnOptions, Limits, NodeId, NodeState};

/// Two vats that have not read each other's hello; vat 1 has these limits.
fn unread(limits: Limits) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_hello(true);
    net.link(
        (0, options.clone()),
        (1, options.with_bootstrap(root).with_limits(limits)),
    );
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    (net, boot)
}

fn send_bytes(net: &mut Net, target: NodeId, bytes: usize) {
    let mut call = net.vats[0].call(1, &[], None);
    call.blob = bytes;
    net.vats[0].engine.send(target, call);
    net.check();
}

fn outbound(net: &Net) -> (usize, usize) {
    let stats = net.vats[0].engine.stats(net.conn(0, 0)).unwrap();
    (stats.outbound_bytes, stats.waiting)
}

fn is_open(net: &Net) -> bool {
    net.vats[0].engine.stats(net.conn(0, 0)).is_some()
}

#[test]
fn only_so_many_calls_leave_before_the_hello_and_the_others_with_it() {
    let (mut net, boot) = unread(Limits::default());
    for number in 0..100 {
        net.vats[0].send(boot, number, &[]);
    }
    let flying = net.flying(0, 1);
    let calls = flying.iter().filter(|kind| **kind == "call");
    assert_eq!(calls.count(), 63, "and a bootstrap");
    net.run();
    for number in 0..100 {
        assert_eq!(net.vats[1].take_number(), number);
    }
    assert_eq!(outbound(&net), (0, 0));
}

#[test]
fn only_so_many_bytes_leave_before_the_hello_and_a_first_call_does_not_wait() {
    let (mut net, boot) = unread(Limits::default());
    send_bytes(&mut net, boot, 50_000);
    let (sent, waiting) = outbound(&net);
    assert!(waiting == 0 && sent > 50_000, "{sent}");
    // What was transmitted counts as well.
    net.pump();
    send_bytes(&mut net, boot, 20_000);
    send_bytes(&mut net, boot, 1);
    assert_eq!(outbound(&net), (0, 2), "in order");
    net.run();
    for _ in 0..3 {
        take!(net.vats[1], Event::Call { .. } => ());
    }
    assert_eq!(outbound(&net), (0, 0));
    send_bytes(&mut net, boot, 1 << 20);
    assert_eq!(outbound(&net).1, 0, "the window is wide");
}

#[test]
fn calls_for_references_only_wait_for_the_hello_as_well() {
    let (mut net, boot) = unread(Limits::default());
    for number in 0..100 {
        let result = net.vats[0].engine.promise();
        let mut call = net.vats[0].call(number, &[], Some(result));
        call.pipeline_only = true;
        net.vats[0].engine.send(boot, call);
        net.check();
    }
    let flying = net.flying(0, 1);
    let calls = flying.iter().filter(|kind| **kind == "call");
    assert_eq!(calls.count(), 63);
    net.run();
    for number in 0..100 {
        assert_eq!(net.vats[1].take_number(), number);
    }
}

#[test]
fn waiting_calls_that_are_larger_than_the_peer_takes_fail_alone() {
    let small = Limits::default()
        .with_call_bytes_soft(700)
        .with_call_bytes(1_000);
    let (mut net, boot) = unread(small);
    let given = net.vats[0].object(7);
    let (large, promised) = {
        let result = net.vats[0].engine.promise();
        let mut call = net.vats[0].call(1, &[], Some(result));
        call.blob = 100_000;
        let tag = call.reply.tag;
        net.vats[0].engine.send(boot, call);
        (tag, result)
    };
    let many = net.vats[0].send(boot, 2, &[given; 50]);
    let pipelined = net.vats[0].send(promised, 3, &[]);
    net.vats[0].send(boot, 4, &[given]);
    assert_eq!(outbound(&net).1, 4);
    net.run();
    for tag in [large, many, pipelined] {
        let (of, reason) =
            take!(net.vats[0], Event::Returned { tag, result: Err(reason) } => (tag, reason));
        assert_eq!(of, tag);
        let said = reason.reason().contains("the peer has said since");
        assert_eq!(said, tag != pipelined, "{reason}");
    }
    assert!(is_open(&net));
    let (respond, caps) =
        take!(net.vats[1], Event::Call { number: 4, respond, caps, .. } => (respond, caps));
    net.vats[1].answer(respond, 0, &[]);
    net.vats[1].release(caps[0]);
    for node in [given, boot, promised] {
        net.vats[0].release(node);
    }
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    net.assert_drained(&[0, 1]);
}

#[test]
fn only_so_much_is_asked_before_the_hello_whatever_it_is() {
    let (mut net, _) = unread(Limits::default());
    let conn = net.conn(0, 0);
    let boots: Vec<NodeId> = (0..99)
        .map(|_| net.vats[0].engine.bootstrap(conn))
        .collect();
    net.check();
    assert_eq!(net.flying(0, 1).len(), 65, "with a hello");
    net.run();
    for boot in boots {
        assert!(matches!(net.vats[0].engine.state(boot), NodeState::Far(_)));
    }
}

#[test]
fn a_call_that_waited_with_more_references_than_the_peer_takes_fails_alone() {
    let (mut net, boot) = unread(Limits::default().with_caps_per_message(8));
    send_bytes(&mut net, boot, 60_000);
    let object = net.vats[0].object(7);
    let mut call = net.vats[0].call(2, &[object; 20], None);
    call.blob = 20_000;
    net.vats[0].engine.send(boot, call);
    assert_eq!(outbound(&net).1, 1, "it waits");
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("with 20 references"), "{reason}");
    });
    assert!(is_open(&net));
    take!(net.vats[1], Event::Call { .. } => ());
    net.vats[0].send(boot, 3, &[]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 3);
}
