//! What went through the gifter comes before what goes straight to the exporter.

use super::super::net::{Event, Net, Respond, key, take};
use super::{
    EXPORTER, GIFTER, RECIPIENT, TO_EXPORTER, TO_RECIPIENT, Trio, become_gift, embargoed, hush,
    promised,
};
use crate::{ConnOptions, Exception, ExceptionKind, Limits, NodeId, NodeState};

#[test]
fn a_call_made_after_the_resolution_waits_for_those_through_the_gifter() {
    let mut trio = Trio::new();
    let promised = embargoed(&mut trio);
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["call", "provide"]);
    trio.net.deliver(TO_RECIPIENT, 1, "resolve");
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    let direct = trio.net.dial(RECIPIENT);
    assert_eq!(trio.net.flying(TO_RECIPIENT, 0), ["release", "disembargo"]);
    trio.net.deliver(TO_RECIPIENT, 0, "release");
    // Everything that does not come through the gifter is there first.
    trio.net.deliver(direct, 1, "accept");
    trio.net.deliver(direct, 1, "call");
    trio.net.deliver(TO_RECIPIENT, 0, "disembargo");
    trio.net.deliver(TO_EXPORTER, 1, "call");
    trio.assert_number(EXPORTER, 100);
    trio.net.deliver(TO_EXPORTER, 1, "provide");
    assert!(
        trio.net.vats[EXPORTER].next().is_none(),
        "the embargo holds"
    );
    trio.net.deliver(TO_EXPORTER, 1, "disembargo");
    trio.assert_number(EXPORTER, 101);
    trio.net.run();
    trio.net.vats[RECIPIENT].release(promised);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn an_embargo_that_can_no_longer_be_lifted_fails_what_waits() {
    let mut trio = Trio::new();
    let promised = embargoed(&mut trio);
    trio.net.deliver(TO_RECIPIENT, 1, "resolve");
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    let direct = trio.net.dial(RECIPIENT);
    trio.net.deliver(direct, 1, "accept");
    trio.net.deliver(direct, 1, "call");
    trio.net.deliver(TO_EXPORTER, 1, "call");
    trio.net.deliver(TO_EXPORTER, 1, "provide");
    trio.net.cut(TO_EXPORTER);
    trio.net.run();
    trio.assert_number(EXPORTER, 100);
    assert!(!matches!(
        trio.net.vats[EXPORTER].next(),
        Some(Event::Call { .. })
    ));
    assert!(matches!(
        trio.net.vats[RECIPIENT].engine.state(promised),
        NodeState::Broken(reason) if reason.kind() == ExceptionKind::Disconnected
    ));
    take!(trio.net.vats[RECIPIENT], Event::Returned { result: Err(_), .. } => ());
}

#[test]
fn a_vat_that_cannot_dial_goes_on_through_the_gifter_in_order() {
    let mut trio = Trio::new();
    let promised = embargoed(&mut trio);
    trio.net.deliver(TO_RECIPIENT, 1, "resolve");
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    trio.net.vats[RECIPIENT].send(promised, 102, &[]);
    let no = Exception::failed("no authority to dial");
    trio.net.vats[RECIPIENT].engine.dialed(request, Err(no));
    trio.net.vats[RECIPIENT].send(promised, 103, &[]);
    assert_eq!(
        trio.net.flying(TO_RECIPIENT, 0),
        ["release", "call", "call", "call"]
    );
    trio.net.deliver(TO_RECIPIENT, 0, "release");
    trio.net.deliver(TO_RECIPIENT, 0, "call");
    let kinds = trio.net.flying(TO_EXPORTER, 1);
    assert_eq!(
        kinds,
        ["call", "provide", "finish", "call"],
        "a call on the vine ends the gift"
    );
    trio.net.run();
    for number in 100..=103 {
        trio.assert_number(EXPORTER, number);
    }
    trio.net.run();
    trio.net.vats[RECIPIENT].release(promised);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

/// The exporter takes one call at a time from the gifter, which sends more all the same.
fn narrow() -> Trio {
    let mut net = Net::known(3);
    assert_eq!(net.meet(GIFTER, RECIPIENT), TO_RECIPIENT);
    let root = net.vats[EXPORTER].object(20);
    let options = ConnOptions::default().with_hello(true);
    let narrow = Limits::default().with_answers_soft(1);
    let link = net.link(
        (GIFTER, options.clone().with_peer(key(3))),
        (
            EXPORTER,
            options
                .with_peer(key(1))
                .with_bootstrap(root)
                .with_limits(narrow),
        ),
    );
    net.run();
    let conn = net.conn(link, 0);
    net.vats[GIFTER].engine.set_window(conn, 100);
    let (recipient, gift) = (net.root(TO_RECIPIENT, 0), net.root(link, 0));
    Trio {
        net,
        recipient,
        gift,
    }
}

#[test]
fn calls_of_the_gifter_that_wait_for_room_come_before_those_of_the_recipient() {
    let mut trio = narrow();
    for number in [1, 2, 3] {
        trio.net.vats[GIFTER].send(trio.gift, number, &[]);
    }
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 4, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    for number in 1..=4 {
        trio.assert_number(EXPORTER, number);
        trio.net.run();
    }
}

#[test]
fn an_embargo_is_lifted_behind_calls_that_wait_for_room() {
    let mut trio = narrow();
    let promised = embargoed(&mut trio);
    trio.net.run();
    let busy = take!(trio.net.vats[EXPORTER], Event::Call { number: 100, respond, .. } => respond);
    trio.net.vats[GIFTER].send(trio.gift, 101, &[]);
    trio.net.run();
    trio.net.vats[RECIPIENT].send(promised, 102, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    assert!(trio.net.vats[EXPORTER].next().is_none());
    trio.net.vats[EXPORTER].answer(busy, 0, &[]);
    for number in [101, 102] {
        trio.net.run();
        trio.assert_number(EXPORTER, number);
    }
}

/// The gifter takes one call at a time from the recipient, and is busy with one. The recipient has
/// called a promise that has become a gift since: that call (100) waits at the gifter.
fn held_at_the_gifter() -> (Trio, Respond, NodeId) {
    let mut net = Net::known(3);
    let (first, second) = (net.vats[GIFTER].object(0), net.vats[RECIPIENT].object(10));
    let options = ConnOptions::default().with_hello(true);
    let narrow = Limits::default().with_answers_soft(1);
    let ours = options.clone().with_peer(key(2)).with_limits(narrow);
    let theirs = options.with_peer(key(1)).with_bootstrap(second);
    net.link((GIFTER, ours.with_bootstrap(first)), (RECIPIENT, theirs));
    net.vats[GIFTER].release(first);
    net.vats[RECIPIENT].release(second);
    net.run();
    assert_eq!(net.meet(GIFTER, EXPORTER), TO_EXPORTER);
    let (recipient, gift) = (net.root(TO_RECIPIENT, 0), net.root(TO_EXPORTER, 0));
    let mut trio = Trio {
        net,
        recipient,
        gift,
    };
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    trio.net.vats[RECIPIENT].engine.set_window(conn, 100);
    let (promised, promise) = promised(&mut trio);
    let gifter = trio.net.root(TO_RECIPIENT, 1);
    trio.net.vats[RECIPIENT].send(gifter, 50, &[]);
    trio.net.vats[RECIPIENT].send(promised, 100, &[]);
    trio.net.vats[RECIPIENT].release(gifter);
    trio.net.run();
    let busy = take!(trio.net.vats[GIFTER], Event::Call { number: 50, respond, .. } => respond);
    become_gift(&mut trio, promise);
    trio.net.run();
    (trio, busy, promised)
}

#[test]
fn a_disembargo_waits_at_the_gifter_for_calls_that_wait_there() {
    let (mut trio, busy, promised) = held_at_the_gifter();
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    assert!(trio.net.vats[EXPORTER].next().is_none());
    trio.net.vats[GIFTER].answer(busy, 0, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 100);
    trio.assert_number(EXPORTER, 101);
}

#[test]
fn a_disembargo_that_waited_does_not_go_along_the_next_vine_of_the_same_name() {
    let (mut trio, busy, promised) = held_at_the_gifter();
    trio.net.vats[RECIPIENT].send(promised, 101, &[]);
    let direct = trio.net.dial(RECIPIENT);
    let vine = trio.vine();
    trio.net.deliver(TO_RECIPIENT, 0, "disembargo");
    // With the connection to the exporter the recipient loses the gift, and lets go of the vine.
    trio.net.cut(direct);
    trio.net.run();
    while trio.net.vats[RECIPIENT].next().is_some() {}
    let _next = trio.give();
    assert_eq!(trio.vine(), vine);
    // Now the call goes on that it waited for.
    trio.net.vats[GIFTER].answer(busy, 0, &[]);
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["call"]);
}

#[test]
fn a_provide_whose_finish_waits_is_over_and_no_answer() {
    let mut trio = narrow();
    let conn = trio.net.conn(TO_EXPORTER, 0);
    trio.net.vats[GIFTER].engine.set_window(conn, 1);
    let gifts = [100, 101].map(|number| {
        let (promised, promise) = promised(&mut trio);
        trio.net.vats[RECIPIENT].send(promised, number, &[]);
        trio.net.run();
        (promised, promise)
    });
    // The exporter has the first call, and the second one waits at the gifter.
    for (_, promise) in gifts {
        become_gift(&mut trio, promise);
        trio.net.run();
    }
    let busy = take!(trio.net.vats[EXPORTER], Event::Call { number: 100, respond, .. } => respond);
    trio.net.vats[RECIPIENT].send(gifts[0].0, 102, &[]);
    let direct = trio.net.dial(RECIPIENT);
    trio.net.deliver(TO_RECIPIENT, 0, "disembargo");
    // The recipient lets go of the vine: the Finish of the Provide must not overtake the Disembargo.
    trio.net.cut(direct);
    trio.net.run();
    let stats = trio.net.vats[GIFTER].engine.stats(conn).unwrap();
    assert_eq!((stats.questions, stats.answered), (3, 0), "{stats:?}");
    while trio.net.vats[RECIPIENT].next().is_some() {}
    trio.net.vats[EXPORTER].answer(busy, 0, &[]);
    trio.net.run();
    take!(trio.net.vats[EXPORTER], Event::Closed(..) => ());
    trio.assert_number(EXPORTER, 101);
    trio.net.run();
    let stats = trio.net.vats[GIFTER].engine.stats(conn).unwrap();
    assert_eq!(stats.questions, 0, "{stats:?}");
}
