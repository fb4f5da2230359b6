//! A vat that is introduced to itself.

use super::*;

#[test]
fn a_vat_is_introduced_to_itself_over_two_connections() {
    let mut trio = Trio::new();
    let second = trio.net.meet(GIFTER, RECIPIENT);
    let own = trio.net.root(second, 0);
    let home = give(&mut trio.net, GIFTER, trio.recipient, RECIPIENT, own);
    trio.net.run();
    let object = trio.net.vats[RECIPIENT].object(10);
    let engine = &trio.net.vats[RECIPIENT].engine;
    assert_eq!(engine.same(home, object), Some(true));
    for node in [home, object] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.net.vats[GIFTER].release(own);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn calls_to_oneself_wait_for_those_that_went_through_the_giver() {
    let mut trio = Trio::new();
    let second = trio.net.meet(GIFTER, RECIPIENT);
    let own = trio.net.root(second, 0);
    let gift = std::mem::replace(&mut trio.gift, own);
    let promised = embargoed(&mut trio);
    trio.net.vats[RECIPIENT].send(promised, 102, &[]);
    trio.net.deliver(TO_RECIPIENT, 1, "resolve");
    trio.net.vats[RECIPIENT].send(promised, 103, &[]);
    run_but(&mut trio.net, &[(TO_RECIPIENT, 0)]);
    trio.net.run();
    assert_eq!(numbers(&mut trio.net, RECIPIENT), [100, 102, 103]);
    trio.net.run();
    trio.net.vats[RECIPIENT].release(promised);
    trio.net.vats[GIFTER].release(gift);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

/// The exporter gets its own object from the recipient, before the gifter's Provide comes.
fn home_early(trio: &mut Trio) -> (usize, NodeId) {
    let link = trio.net.meet(RECIPIENT, EXPORTER);
    let other = trio.net.root(link, 0);
    trio.net.vats[GIFTER].send(trio.recipient, 1, &[trio.gift]);
    trio.net.deliver(TO_RECIPIENT, 1, "call");
    let given = take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[RECIPIENT].send(other, 2, &[given]);
    trio.net.deliver(link, 1, "call");
    let home = take!(trio.net.vats[EXPORTER], Event::Call { caps, .. } => caps[0]);
    assert!(trio.net.vats[EXPORTER].engine.deadline().is_some());
    (link, home)
}

#[test]
fn a_broken_reference_to_oneself_does_not_revive_when_the_provide_comes() {
    let mut trio = Trio::new();
    let (link, home) = home_early(&mut trio);
    trio.net.cut(link);
    let broken = |trio: &Trio| {
        let state = trio.net.vats[EXPORTER].engine.state(home);
        matches!(state, NodeState::Broken(_))
    };
    assert!(broken(&trio));
    trio.net.run();
    assert!(broken(&trio));
    assert_eq!(trio.net.vats[EXPORTER].engine.deadline(), None);
}

#[test]
fn a_reference_to_oneself_that_nobody_wants_waits_for_nothing() {
    let mut trio = Trio::new();
    let (_, home) = home_early(&mut trio);
    trio.net.vats[EXPORTER].release(home);
    assert_eq!(trio.net.vats[EXPORTER].engine.deadline(), None);
}

/// A call by hand of vat 0 to the exporter, with gifts of the exporter's own that nobody provides.
fn flood_own(net: &mut Net, question: u32, count: u32) -> Vec<NodeId> {
    hand_in(net, TO_EXPORTER, 1, |to| {
        let mut call = to.init_call();
        call.set_question_id(question);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        write(params.reborrow().init_content(), 9, &[]);
        let mut table = params.init_cap_table(count);
        for at in 0..count {
            let number = 100 * question + at;
            let mut third = table.reborrow().get(at).init_third_party_hosted();
            third.set_vine_id(number);
            let contact = Contact {
                exporter: key(3),
                addresses: Vec::new(),
                claim: Claim::new(&identity(1), number.into(), &key(3), key(3)),
            };
            contact.write(third.init_id());
        }
    });
    take!(net.vats[EXPORTER], Event::Call { caps, .. } => caps)
}

#[test]
fn references_to_oneself_that_are_never_provided_are_bounded() {
    let mut trio = Trio::new();
    let mut found = Vec::new();
    for question in 100..103 {
        found.extend(flood_own(&mut trio.net, question, 64));
    }
    let conn = trio.net.conn(TO_EXPORTER, 1);
    let engine = &trio.net.vats[EXPORTER].engine;
    let waiting = found
        .iter()
        .filter(|node| engine.state(**node) == NodeState::Unresolved);
    assert_eq!(waiting.count(), 128, "the others go through the giver");
    let last = found.last().copied().unwrap();
    assert_eq!(engine.state(last), NodeState::Far(conn));
    for node in found {
        trio.net.vats[EXPORTER].release(node);
    }
    assert_eq!(trio.net.vats[EXPORTER].engine.deadline(), None);
}
