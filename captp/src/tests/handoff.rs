//! Three-party handoff, one message at a time.
//!
//! Vat 0 gives, vat 1 receives, vat 2 exports; further recipients follow. Each vat's bootstrap is
//! the object with ten times its number.

use std::time::Duration;

use super::net::{Event, Net, Vat, exception_in, identity, key, take};
use crate::contact::{Claim, VatKey};
use crate::message::{encode, write};
use crate::path::Path;
use crate::{
    CloseReason, Config, ConnOptions, Engine, Exception, ExceptionKind, Limits, NodeId, NodeState,
    PeerMisbehaved, QuestionId, Transmit,
};

pub(super) const GIFTER: usize = 0;
pub(super) const RECIPIENT: usize = 1;
pub(super) const EXPORTER: usize = 2;
/// The links of the gifter.
pub(super) const TO_RECIPIENT: usize = 0;
pub(super) const TO_EXPORTER: usize = 1;

/// Three vats, and the gifter's references to the objects of the other two.
pub(super) struct Trio {
    pub(super) net: Net,
    pub(super) recipient: NodeId,
    pub(super) gift: NodeId,
}

impl Trio {
    pub(super) fn new() -> Self {
        Self::with(Net::known(3))
    }

    pub(super) fn with(mut net: Net) -> Self {
        assert_eq!(net.meet(GIFTER, RECIPIENT), TO_RECIPIENT);
        assert_eq!(net.meet(GIFTER, EXPORTER), TO_EXPORTER);
        let recipient = net.root(TO_RECIPIENT, 0);
        let gift = net.root(TO_EXPORTER, 0);
        Self {
            net,
            recipient,
            gift,
        }
    }

    /// The gifter gives its reference to the recipient.
    pub(super) fn give(&mut self) -> NodeId {
        give(&mut self.net, GIFTER, self.recipient, RECIPIENT, self.gift)
    }

    /// What the gifter holds of others is given back.
    pub(super) fn gifter_lets_go(&mut self) {
        self.net.vats[GIFTER].release(self.recipient);
        self.net.vats[GIFTER].release(self.gift);
        self.net.run();
    }

    /// The id of the vine of the only gift that the recipient has.
    pub(super) fn vine(&self) -> u32 {
        let conn = self.net.conn(TO_RECIPIENT, 1);
        let tables = self.net.vats[RECIPIENT].engine.tables(conn).unwrap();
        *tables.imports.keys().next().unwrap()
    }

    /// The id of the only Provide of the gifter.
    pub(super) fn provision(&self) -> QuestionId {
        let conn = self.net.conn(TO_EXPORTER, 0);
        let tables = self.net.vats[GIFTER].engine.tables(conn).unwrap();
        QuestionId::new(tables.asked[0])
    }

    pub(super) fn assert_number(&mut self, vat: usize, number: u32) {
        assert_eq!(self.net.vats[vat].take_number(), number);
    }
}

/// Vat `from` sends `gift` as a parameter to `to`, which is at vat `at`. Returns what came there.
pub(super) fn give(net: &mut Net, from: usize, to: NodeId, at: usize, gift: NodeId) -> NodeId {
    net.vats[from].send(to, 1, &[gift]);
    net.run();
    let (given, respond) =
        take!(net.vats[at], Event::Call { caps, respond, .. } => (caps[0], respond));
    net.vats[at].answer(respond, 0, &[]);
    net.run();
    take!(net.vats[from], Event::Returned { .. } => ());
    given
}

/// Everything that a vat has to say, thrown away.
pub(super) fn hush(net: &mut Net) {
    for vat in &mut net.vats {
        while vat.next().is_some() {}
    }
}

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

/// The recipient has a promise of the gifter, calls it, and it resolves to the exporter's object.
pub(super) fn embargoed(trio: &mut Trio) -> NodeId {
    let (_, promised) = {
        let root = trio.net.vats[RECIPIENT]
            .engine
            .bootstrap(trio.net.links[TO_RECIPIENT].ends[1].1);
        trio.net.run();
        let asked = trio.net.vats[RECIPIENT].ask(root, 1, &[]);
        trio.net.vats[RECIPIENT].release(root);
        asked
    };
    trio.net.run();
    let respond = take!(trio.net.vats[GIFTER], Event::Call { respond, .. } => respond);
    let promise = trio.net.vats[GIFTER].engine.promise();
    trio.net.vats[GIFTER].answer(respond, 0, &[promise]);
    trio.net.run();
    let also = take!(
        trio.net.vats[RECIPIENT],
        Event::Returned { result: Ok((_, caps)), .. } => caps[0]
    );
    trio.net.vats[RECIPIENT].release(also);
    trio.net.vats[RECIPIENT].send(promised, 100, &[]);
    trio.net.run();
    let gift = trio.gift;
    trio.net.vats[GIFTER]
        .engine
        .resolve(promise, Ok(gift))
        .unwrap();
    trio.net.vats[GIFTER].release(promise);
    promised
}

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

// ---- more parties

/// A fourth vat, linked with the recipient; the link, and the recipient's reference to its object.
pub(super) fn fourth(trio: &mut Trio) -> (usize, NodeId) {
    let link = trio.net.meet(RECIPIENT, 3);
    (link, trio.net.root(link, 0))
}

#[test]
fn a_gift_is_passed_on_before_anybody_accepts_it() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (_, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    assert!(
        trio.net.vats[RECIPIENT].next().is_none(),
        "the forwarder does not dial"
    );
    trio.net.vats[3].send(passed, 8, &[]);
    let direct = trio.net.dial(3);
    assert_eq!(trio.net.links[direct].ends[1].0, EXPORTER);
    trio.net.run();
    trio.assert_number(EXPORTER, 8);
    // The forwarder accepts its own as well: several Accepts, one Provide.
    trio.net.vats[RECIPIENT].send(given, 9, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    trio.assert_number(EXPORTER, 9);
    trio.net.run();
    trio.net.vats[RECIPIENT].release(given);
    trio.net.vats[RECIPIENT].release(other);
    trio.net.vats[3].release(passed);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1, 1]);
}

#[test]
fn a_forwarder_that_accepts_keeps_the_gift_for_who_got_it_from_there() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (_, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.run();
    trio.net.vats[3].send(passed, 2, &[]);
    trio.net.dial(3);
    trio.net.run();
    trio.assert_number(EXPORTER, 2);
}

#[test]
fn a_gift_that_goes_back_is_what_it_was() {
    let mut trio = Trio::new();
    let given = trio.give();
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    let root = trio.net.vats[RECIPIENT].engine.bootstrap(conn);
    trio.net.run();
    let back = give(&mut trio.net, RECIPIENT, root, GIFTER, given);
    assert_eq!(
        trio.net.vats[GIFTER].engine.same(back, trio.gift),
        Some(true)
    );
    assert!(trio.net.vats[RECIPIENT].next().is_none(), "nobody accepted");
    for node in [given, root] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.net.vats[GIFTER].release(back);
    trio.gifter_lets_go();
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn a_gift_reflected_through_a_fourth_vat_can_still_be_accepted() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (link, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    let conn = trio.net.conn(link, 1);
    let root = trio.net.vats[3].engine.bootstrap(conn);
    trio.net.run();
    let back = give(&mut trio.net, 3, root, RECIPIENT, passed);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.vats[RECIPIENT].send(back, 3, &[]);
    let direct = trio.net.dial(RECIPIENT);
    assert_eq!(trio.net.links[direct].ends[1].0, EXPORTER);
    trio.net.run();
    trio.assert_number(EXPORTER, 3);
}

#[test]
fn an_object_that_comes_home_as_a_gift_is_itself() {
    let mut trio = Trio::new();
    let given = trio.give();
    let link = trio.net.meet(RECIPIENT, EXPORTER);
    let other = trio.net.root(link, 0);
    let home = give(&mut trio.net, RECIPIENT, other, EXPORTER, given);
    trio.net.run();
    let object = trio.net.vats[EXPORTER].object(20);
    assert_eq!(
        trio.net.vats[EXPORTER].engine.same(home, object),
        Some(true)
    );
    trio.net.vats[EXPORTER].release(object);
    trio.net.vats[EXPORTER].release(home);
    for node in [given, other] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn a_gift_in_a_return_is_accepted_first() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let link = trio.net.meet(RECIPIENT, 3);
    let root = trio.net.root(link, 1);
    let (_, result) = trio.net.vats[3].ask(root, 1, &[]);
    trio.net.vats[3].send(result, 50, &[]);
    trio.net.run();
    let respond = take!(trio.net.vats[RECIPIENT], Event::Call { respond, .. } => respond);
    trio.net.vats[RECIPIENT].answer(respond, 0, &[given]);
    trio.net.vats[3].send(result, 51, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    let also = take!(trio.net.vats[3], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    trio.net.vats[3].release(also);
    trio.net.vats[3].send(result, 52, &[]);
    trio.net.dial(3);
    trio.net.run();
    for number in 50..=52 {
        trio.assert_number(EXPORTER, number);
    }
    trio.net.run();
    for node in [root, result] {
        trio.net.vats[3].release(node);
    }
    trio.net.vats[RECIPIENT].release(given);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1, 1]);
}

#[test]
fn a_reference_goes_from_hand_to_hand_through_many_vats() {
    let vats = 8;
    let mut net = Net::known(vats);
    let first = net.meet(0, 1);
    let mut held = net.root(first, 0);
    // Vat 0 holds object 10 of vat 1; it goes to 2, then 3, and so on; all others forget it.
    let mut holder = 0;
    for next in 2..vats {
        let link = net.meet(holder, next);
        let to = net.root(link, 0);
        let given = give(&mut net, holder, to, next, held);
        net.vats[next].send(given, u32::try_from(next).unwrap(), &[]);
        net.dial(next);
        net.run();
        assert_eq!(net.vats[1].take_number(), u32::try_from(next).unwrap());
        net.run();
        for node in [held, to] {
            net.vats[holder].release(node);
        }
        net.run();
        for link in 0..net.links.len() {
            let ends = net.links[link].ends;
            if ends.iter().any(|(vat, _)| *vat == holder) {
                net.cut(link);
            }
        }
        hush(&mut net);
        (holder, held) = (next, given);
    }
    net.vats[holder].release(held);
    net.run();
    assert_eq!(net.vats[holder].engine.live_nodes(), 1);
}

// ---- the exporter, and who is not entitled

/// A vat that speaks to vat 2 by hand, with the key of `number`.
pub(super) struct Stranger {
    pub(super) net: Net,
    pub(super) link: usize,
}

impl Stranger {
    pub(super) fn new(net: Net, number: u8) -> Self {
        Self::with(net, number, Limits::default())
    }

    /// Somebody who may use so much.
    pub(super) fn with(mut net: Net, number: u8, limits: Limits) -> Self {
        let stranger = net.vats.len();
        net.vats.push(Vat::known(identity(number)));
        let options = ConnOptions::default().with_hello(true).with_limits(limits);
        let link = net.link(
            (stranger, options.clone().with_peer(key(3))),
            (EXPORTER, options.with_peer(key(number))),
        );
        net.run();
        Self { net, link }
    }

    pub(super) fn accept(&mut self, question: u32, claim: &Claim, embargo: Option<&[u8]>) {
        let built = encode::accept(QuestionId::new(question), claim, embargo);
        self.say(&built);
    }

    pub(super) fn say(&mut self, built: &encode::Built) {
        let mut out = Transmit::new();
        out.push(&built.get_segments_for_output(), &[]);
        self.say_all(out);
    }

    pub(super) fn say_finish(&mut self, question: u32) {
        let mut out = Transmit::new();
        out.push_with(|out| write::finish(out, QuestionId::new(question), true));
        self.say_all(out);
    }

    fn say_all(&mut self, mut out: Transmit) {
        let conn = self.net.conn(self.link, 1);
        let bytes = out.take_bytes();
        let engine = &mut self.net.vats[EXPORTER].engine;
        assert_eq!(engine.handle_bytes(conn, &bytes, Vec::new()), bytes.len());
        self.net.pump();
        self.net.check();
    }

    /// What the exporter said last: the kind, or the reason of an exception.
    pub(super) fn heard(&mut self) -> String {
        self.net.pump();
        let Some(flying) = self.net.links[self.link].to[0].pop_front() else {
            return "nothing".to_owned();
        };
        match exception_in(&flying.bytes) {
            Some(reason) => reason,
            None => flying.kind.to_owned(),
        }
    }
}

/// The claim that the gifter made for its first gift to `recipient`.
pub(super) fn claim_for(recipient: VatKey) -> Claim {
    Claim::new(&identity(1), 1, &key(3), recipient)
}

#[test]
fn a_stolen_contact_is_of_no_use_to_anybody_else() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let mut thief = Stranger::new(trio.net, 9);
    thief.accept(0, &claim_for(key(2)), None);
    assert_eq!(thief.heard(), "the gift is for another vat");
    thief.accept(1, &claim_for(key(9)), None);
    assert_eq!(
        thief.heard(),
        "the gift is for another vat",
        "well signed, but not what was given"
    );
    let forwarded = claim_for(key(2)).forwarded(&identity(9), &key(3), key(9));
    thief.accept(2, &forwarded, None);
    assert_eq!(
        thief.heard(),
        "the gift is for another vat",
        "not passed on by who had it"
    );
    let forged = Claim::new(&identity(9), 1, &key(3), key(9));
    thief.accept(3, &forged, None);
    assert_eq!(
        thief.heard(),
        "nothing",
        "a gift of its own that was not announced: it waits"
    );
}

#[test]
fn a_contact_for_another_exporter_is_refused() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let mut recipient = Stranger::new(trio.net, 2);
    let elsewhere = Claim::new(&identity(1), 1, &key(7), key(2));
    recipient.accept(0, &elsewhere, None);
    assert_eq!(recipient.heard(), "the gift is for another vat");
    recipient.accept(1, &claim_for(key(2)), None);
    assert_eq!(recipient.heard(), "return", "the true one is good");
}

#[test]
fn an_accept_waits_a_limited_time_for_its_provide() {
    let mut net = Net::known(3);
    net.vats[EXPORTER]
        .engine
        .handle_time(Duration::from_secs(100));
    let mut early = Stranger::new(net, 2);
    early.accept(0, &claim_for(key(2)), None);
    let engine = &mut early.net.vats[EXPORTER].engine;
    assert_eq!(engine.deadline(), Some(Duration::from_secs(110)));
    engine.handle_time(Duration::from_millis(109_999));
    assert_eq!(early.heard(), "nothing");
    early.net.vats[EXPORTER]
        .engine
        .handle_time(Duration::from_secs(110));
    let reason = "the vat that gave this reference did not tell its host in time";
    assert_eq!(early.heard(), reason);
    assert_eq!(early.net.vats[EXPORTER].engine.deadline(), None);
}

#[test]
fn a_gift_that_was_taken_back_is_refused_at_once() {
    let mut trio = Trio::new();
    let given = trio.give();
    trio.net.vats[RECIPIENT].release(given);
    trio.net.run();
    let mut late = Stranger::new(trio.net, 2);
    late.accept(0, &claim_for(key(2)), None);
    assert_eq!(
        late.heard(),
        "the vat that gave this reference has taken the gift back"
    );
    late.net.vats[EXPORTER]
        .engine
        .handle_time(Duration::from_secs(61));
    late.accept(1, &claim_for(key(2)), None);
    assert_eq!(late.heard(), "nothing", "forgotten, so it waits");
}

#[test]
fn a_finished_accept_waits_for_nothing() {
    let mut stranger = Stranger::new(Net::known(3), 2);
    stranger.accept(0, &claim_for(key(2)), None);
    stranger.say_finish(0);
    assert_eq!(stranger.heard(), "the call was canceled");
    assert_eq!(stranger.net.vats[EXPORTER].engine.deadline(), None);
    let conn = stranger.net.conn(stranger.link, 1);
    assert!(stranger.net.vats[EXPORTER].engine.is_drained(conn));
}

#[test]
fn a_disembargo_for_something_that_is_no_gift_ends_the_connection() {
    use crate::engine::node::Place;
    let mut stranger = Stranger::new(Net::known(3), 2);
    let place = Place::Answer {
        question: QuestionId::new(5),
        path: Path::Root,
    };
    stranger.say(&encode::accept_disembargo(&place, b"name"));
    take!(stranger.net.vats[EXPORTER], Event::Closed(
        _,
        CloseReason::PeerMisbehaved(PeerMisbehaved::DisembargoTarget),
    ) => ());
}
