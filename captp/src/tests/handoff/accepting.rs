//! A gift is accepted when it is used, or is not.

use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::super::net::{Event, Key, Net, identity, key, take};
use super::{EXPORTER, GIFTER, RECIPIENT, TO_EXPORTER, TO_RECIPIENT, Trio, give, hush};
use crate::{Config, ConnOptions, Engine, Exception, Limits, NodeId, NodeState};

#[test]
fn a_recipient_reaches_the_exporter_by_itself_and_the_gifter_may_go() {
    let mut trio = Trio::new();
    trio.net.vats[GIFTER].send(trio.recipient, 1, &[trio.gift]);
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["provide"]);
    trio.net.run();
    let (given, respond) =
        take!(trio.net.vats[RECIPIENT], Event::Call { caps, respond, .. } => (caps[0], respond));
    trio.net.vats[RECIPIENT].answer(respond, 0, &[]);
    assert_eq!(
        trio.net.vats[RECIPIENT].engine.state(given),
        NodeState::Unresolved
    );
    trio.net.run();
    assert!(
        trio.net.vats[RECIPIENT].next().is_none(),
        "accepted before it was used"
    );

    trio.net.vats[RECIPIENT].send(given, 5, &[]);
    let direct = trio.net.dial(RECIPIENT);
    assert_eq!(trio.net.flying(direct, 1), ["accept", "call"]);
    trio.net.run();
    trio.assert_number(EXPORTER, 5);
    trio.net.run();
    let conn = trio.net.conn(direct, 0);
    assert_eq!(
        trio.net.vats[RECIPIENT].engine.state(given),
        NodeState::Far(conn)
    );

    trio.gifter_lets_go();
    for (link, end) in [
        (TO_RECIPIENT, 0),
        (TO_RECIPIENT, 1),
        (TO_EXPORTER, 0),
        (TO_EXPORTER, 1),
    ] {
        let conn = trio.net.conn(link, end);
        let (vat, _) = trio.net.links[link].ends[end];
        assert!(
            trio.net.vats[vat].engine.is_drained(conn),
            "nothing keeps the gifter's links"
        );
    }
    trio.net.cut(TO_RECIPIENT);
    trio.net.cut(TO_EXPORTER);
    hush(&mut trio.net);
    trio.net.vats[RECIPIENT].send(given, 6, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 6);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.assert_drained(&[0, 1, 1]);
}

#[test]
fn a_gift_that_is_never_used_costs_no_connection_and_leaves_nothing() {
    let mut trio = Trio::new();
    let given = trio.give();
    trio.net.vats[RECIPIENT].release(given);
    assert_eq!(trio.net.flying(TO_RECIPIENT, 0), ["release"]);
    trio.net.deliver(TO_RECIPIENT, 0, "release");
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["finish"]);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn what_the_gifter_sent_before_it_gave_arrives_before_what_the_recipient_sends() {
    let mut trio = Trio::new();
    trio.net.vats[GIFTER].send(trio.gift, 1, &[]);
    trio.net.vats[GIFTER].send(trio.recipient, 2, &[trio.gift]);
    trio.net.deliver(TO_RECIPIENT, 1, "call");
    let given = take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[RECIPIENT].send(given, 3, &[]);
    let direct = trio.net.dial(RECIPIENT);
    trio.net.deliver(direct, 1, "accept");
    trio.net.deliver(direct, 1, "call");
    assert!(
        trio.net.vats[EXPORTER].next().is_none(),
        "the gift has not been announced"
    );
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    trio.assert_number(EXPORTER, 3);
}

#[test]
fn somebody_who_waits_for_a_gift_makes_it_be_accepted() {
    let mut trio = Trio::new();
    let given = trio.give();
    trio.net.vats[RECIPIENT].engine.when_resolved(given, 77);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    assert!(matches!(
        trio.net.vats[RECIPIENT].next(),
        Some(Event::Run(77))
    ));
    assert!(matches!(
        trio.net.vats[RECIPIENT].engine.state(given),
        NodeState::Far(_)
    ));
}

#[test]
fn a_second_gift_from_the_same_exporter_uses_the_same_connection() {
    let mut trio = Trio::new();
    let first = trio.give();
    trio.net.vats[RECIPIENT].send(first, 1, &[]);
    let direct = trio.net.dial(RECIPIENT);
    trio.net.run();
    hush(&mut trio.net);
    let second = trio.give();
    trio.net.vats[RECIPIENT].send(second, 2, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 2);
    let both = (first, second);
    assert_eq!(
        trio.net.vats[RECIPIENT].engine.same(both.0, both.1),
        Some(true)
    );
    assert_eq!(trio.net.links.len(), direct + 1);
}

#[test]
fn a_gift_goes_with_the_gifter_until_it_is_accepted() {
    let mut trio = Trio::new();
    let (kept, dialing) = (trio.give(), trio.give());
    trio.net.vats[RECIPIENT].send(dialing, 1, &[]);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    trio.net.cut(TO_RECIPIENT);
    for node in [kept, dialing] {
        let state = trio.net.vats[RECIPIENT].engine.state(node);
        assert!(matches!(state, NodeState::Broken(_)), "{state:?}");
    }
    let direct = trio.net.meet(RECIPIENT, EXPORTER);
    let conn = trio.net.conn(direct, 0);
    trio.net.vats[RECIPIENT].engine.dialed(request, Ok(conn));
    assert!(trio.net.flying(direct, 1).is_empty());
    trio.net.vats[RECIPIENT].release(kept);
    trio.net.vats[RECIPIENT].release(dialing);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn a_peer_that_knows_no_handoff_gets_a_reference_through_us() {
    let mut net = Net::known(3);
    net.vats[RECIPIENT].engine = Engine::new(Config::default());
    let mut trio = Trio::with(net);
    trio.net.vats[GIFTER].send(trio.recipient, 1, &[trio.gift]);
    assert!(trio.net.flying(TO_EXPORTER, 1).is_empty(), "no Provide");
    trio.net.run();
    let given = take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0]);
    trio.net.vats[RECIPIENT].send(given, 4, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 4);
}

#[test]
fn more_gifts_than_the_limit_go_through_the_gifter() {
    let mut net = Net::known(3);
    let recipient_link = net.meet(GIFTER, RECIPIENT);
    assert_eq!(recipient_link, TO_RECIPIENT);
    let root = net.vats[EXPORTER].object(20);
    let options = ConnOptions::default()
        .with_hello(true)
        .with_limits(Limits::default().with_gifts(2));
    let link = net.link(
        (GIFTER, options.clone().with_peer(key(3))),
        (EXPORTER, options.with_peer(key(1)).with_bootstrap(root)),
    );
    net.run();
    let (recipient, gift) = (net.root(TO_RECIPIENT, 0), net.root(link, 0));
    let given: Vec<NodeId> = (0..3)
        .map(|_| give(&mut net, GIFTER, recipient, RECIPIENT, gift))
        .collect();
    let engine = &net.vats[RECIPIENT].engine;
    let states: Vec<bool> = given
        .iter()
        .map(|node| engine.state(*node) == NodeState::Unresolved)
        .collect();
    assert_eq!(
        states,
        [true, true, false],
        "the third is an ordinary import"
    );
    net.vats[RECIPIENT].release(given[0]);
    net.run();
    let again = give(&mut net, GIFTER, recipient, RECIPIENT, gift);
    assert_eq!(
        net.vats[RECIPIENT].engine.state(again),
        NodeState::Unresolved
    );
}

/// The gifter dialled the exporter; `change` says how the two are connected.
fn dialled(mut net: Net, change: impl Fn(ConnOptions) -> ConnOptions) -> Trio {
    let recipient = net.vats[RECIPIENT].object(10);
    let exporter = net.vats[EXPORTER].object(20);
    for (to, root) in [(RECIPIENT, recipient), (EXPORTER, exporter)] {
        let options = change(ConnOptions::default().with_hello(true));
        let theirs = options.clone().with_peer(key(1)).with_bootstrap(root);
        let peer = key(u8::try_from(to + 1).unwrap());
        net.link((GIFTER, options.with_peer(peer)), (to, theirs));
        net.vats[to].release(root);
    }
    net.run();
    let (recipient, gift) = (net.root(TO_RECIPIENT, 0), net.root(TO_EXPORTER, 0));
    Trio {
        net,
        recipient,
        gift,
    }
}

#[test]
fn a_recipient_is_told_where_the_exporter_says_it_is_and_where_the_gifter_found_it() {
    let mut net = Net::known(3);
    let says = vec!["192.0.2.1:1".to_owned(), "unix:/says".to_owned()];
    let exporter = identity(3).with_addresses(says);
    net.vats[EXPORTER].engine.set_identity(exporter);
    let mut trio = dialled(net, |options| {
        options.with_peer_addresses(vec!["unix:/found".to_owned()])
    });
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    take!(trio.net.vats[RECIPIENT], Event::Dial(_, to) => assert_eq!(to, key(3)));
    assert_eq!(
        trio.net.vats[RECIPIENT].dialed,
        ["192.0.2.1:1", "unix:/says", "unix:/found"]
    );
}

#[test]
fn a_gift_that_is_reached_through_the_gifter_keeps_its_descriptor() {
    let mut trio = dialled(Net::known(3), |options| options.with_descriptors(true));
    let (socket, _) = UnixStream::pair().unwrap();
    let gift = trio.gift;
    trio.net.vats[GIFTER]
        .engine
        .attach_fd(gift, Rc::new(socket.into()));
    let given = trio.give();
    let engine = &mut trio.net.vats[RECIPIENT].engine;
    assert!(engine.fd(given).is_some());
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    let engine = &mut trio.net.vats[RECIPIENT].engine;
    engine.dialed(request, Err(Exception::failed("no authority to dial")));
    assert!(matches!(engine.state(given), NodeState::Far(_)));
    assert!(engine.fd(given).is_some(), "it went with the gift");
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
}

#[test]
fn who_is_asked_to_connect_is_told_who_introduced_the_recipient() {
    let mut trio = Trio::new();
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    take!(trio.net.vats[RECIPIENT], Event::Dial(_, to) => assert_eq!(to, key(3)));
    let told = trio.net.vats[RECIPIENT].introduced.take().unwrap();
    assert_eq!((told.gifter(), told.recipient()), (key(1), key(2)));
    assert_eq!((told.exporter(), told.forwarders().count()), (key(3), 0));
    assert!(told.is_signed(&Key::new(4)), "anybody can check it");
}

#[test]
fn a_connection_that_was_silent_for_long_is_asked_before_a_gift_is_accepted_over_it() {
    let mut trio = Trio::new();
    let direct = trio.net.meet(RECIPIENT, EXPORTER);
    let conn = trio.net.conn(direct, 0);
    let given = trio.give();
    let recipient = &mut trio.net.vats[RECIPIENT];
    recipient
        .engine
        .handle_time(Config::default().doubted_after);
    assert!(recipient.engine.is_doubtful(conn));
    recipient.send(given, 5, &[]);
    let request = take!(recipient, Event::Dial(request, to) => {
        assert_eq!(to, key(3));
        request
    });
    assert!(trio.net.flying(direct, 1).is_empty());
    let root = trio.net.root(direct, 0);
    let recipient = &mut trio.net.vats[RECIPIENT];
    assert!(!recipient.engine.is_doubtful(conn), "it answers");
    recipient.engine.dialed(request, Ok(conn));
    recipient.collect();
    assert_eq!(trio.net.flying(direct, 1), ["accept", "call"]);
    trio.net.run();
    trio.assert_number(EXPORTER, 5);
    // The next one need not wait.
    trio.net.vats[RECIPIENT].release(root);
    let next = trio.give();
    trio.net.vats[RECIPIENT].events.clear();
    trio.net.vats[RECIPIENT].send(next, 6, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 6);
}
