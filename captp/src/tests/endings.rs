//! What ends things leaves in as few messages as possible.

use super::net::{Event, Net, Respond, pair, take};
use crate::{NodeId, NodeState};

/// A call of vat 0 that vat 1 answers with a new object and, if so, another one; everything that
/// is transmitted meanwhile has arrived but the Return.
fn answered(net: &mut Net, boot: NodeId, objects: &[u64]) -> NodeId {
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.run();
    let respond = call(net);
    let nodes: Vec<NodeId> = objects.iter().map(|key| net.vats[1].object(*key)).collect();
    net.vats[1].answer(respond, 0, &nodes);
    nodes.into_iter().for_each(|node| net.vats[1].release(node));
    net.pump();
    result
}

fn call(net: &mut Net) -> Respond {
    take!(net.vats[1], Event::Call { respond, .. } => respond)
}

/// The Return arrives; nothing has been transmitted since. The references in it.
fn returned(net: &mut Net) -> Vec<NodeId> {
    let flying = net.links[0].to[0].pop_front().unwrap();
    assert_eq!(flying.kind, "return");
    let conn = net.conn(0, 0);
    net.vats[0].feed(conn, &flying.bytes, flying.fds);
    take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps)
}

#[test]
fn a_finish_that_has_not_left_gives_the_only_reference_of_the_answer_back() {
    let (mut net, boot) = pair();
    let result = answered(&mut net, boot, &[5]);
    let caps = returned(&mut net);
    assert!(net.vats[0].engine.transmits_endings_only(net.conn(0, 0)));
    caps.into_iter().for_each(|cap| net.vats[0].release(cap));
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["finish"]);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_finish_that_has_left_is_followed_by_a_release() {
    let (mut net, boot) = pair();
    let result = answered(&mut net, boot, &[5]);
    let caps = returned(&mut net);
    net.pump();
    caps.into_iter().for_each(|cap| net.vats[0].release(cap));
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["finish", "release"]);
    net.run();
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_call_on_the_reference_arrives_before_it_is_given_back() {
    let (mut net, boot) = pair();
    let result = answered(&mut net, boot, &[5]);
    let caps = returned(&mut net);
    net.vats[0].send(caps[0], 2, &[]);
    assert!(!net.vats[0].engine.transmits_endings_only(net.conn(0, 0)));
    caps.into_iter().for_each(|cap| net.vats[0].release(cap));
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["finish", "call", "release"]);
    net.run();
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
    });
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn of_two_references_in_an_answer_one_can_be_kept() {
    let (mut net, boot) = pair();
    let result = answered(&mut net, boot, &[5, 6]);
    let caps = returned(&mut net);
    net.vats[0].release(result);
    net.vats[0].release(caps[0]);
    assert_eq!(net.flying(0, 1), ["finish", "release"]);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].send(caps[1], 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { object: 6, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
    });
    net.vats[0].release(caps[1]);
    net.vats[0].release(boot);
    net.run();
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_reference_that_came_twice_is_given_back_twice() {
    let (mut net, boot) = pair();
    let (_, first) = net.vats[0].ask(boot, 1, &[]);
    let (_, second) = net.vats[0].ask(boot, 2, &[]);
    net.run();
    let object = net.vats[1].object(5);
    for _ in 0..2 {
        let respond = call(&mut net);
        net.vats[1].answer(respond, 0, &[object]);
    }
    net.vats[1].release(object);
    net.pump();
    let mut caps = returned(&mut net);
    caps.extend(returned(&mut net));
    for node in caps.into_iter().chain([first, second]) {
        net.vats[0].release(node);
    }
    assert_eq!(net.flying(0, 1), ["finish", "finish", "release"]);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promised_reference_becomes_the_one_that_came() {
    let (mut net, boot) = pair();
    let result = answered(&mut net, boot, &[5]);
    net.vats[0].send(result, 2, &[]);
    let caps = returned(&mut net);
    let engine = &net.vats[0].engine;
    assert!(matches!(engine.state(result), NodeState::Far(_)));
    assert_eq!(engine.same(result, caps[0]), Some(true));
    caps.into_iter().for_each(|cap| net.vats[0].release(cap));
    net.vats[0].send(result, 3, &[]);
    net.run();
    for number in [2, 3] {
        take!(net.vats[1], Event::Call { object: 5, number: got, respond, .. } => {
            assert_eq!(got, number);
            net.vats[1].answer(respond, 0, &[]);
        });
    }
    net.vats[0].release(result);
    net.vats[0].release(boot);
    net.run();
    net.assert_drained(&[0, 1]);
}
