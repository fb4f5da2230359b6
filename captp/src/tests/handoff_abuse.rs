//! What one of the three can use up of another.

use std::time::Duration;

use super::handoff::{
    EXPORTER, GIFTER, RECIPIENT, Stranger, TO_EXPORTER, TO_RECIPIENT, Trio, claim_for, fourth,
    give, hush,
};
use super::handoff_hostile::{hand_in, say_as_gifter};
use super::net::{Event, Net, identity, key, take, write};
use crate::connection::handoff::Provisions;
use crate::contact::{Await, Claim, Contact, GiftName};
use crate::engine::node::Place;
use crate::message::encode;
use crate::path::Path;
use crate::{
    CloseReason, ExceptionKind, ImportId, Limits, NodeId, NodeState, PeerMisbehaved, QuestionId,
    Transmit,
};

/// Little of everything.
fn little() -> Limits {
    Limits::default()
        .with_accepts(8)
        .with_accepts_per_giver(3)
        .with_signature_checks(20)
}

/// Vat 2, as somebody who may use little of vat 3.
fn recipient(net: Net) -> Stranger {
    Stranger::with(net, 2, little())
}

/// Accepts gifts of vat `gifter` to vat 2 of which nobody has told their host, and says what was
/// heard of the last.
fn accept_all(recipient: &mut Stranger, gifter: u8, numbers: std::ops::Range<u32>) -> String {
    for number in numbers {
        let claim = Claim::new(&identity(gifter), number.into(), &key(3), key(2));
        recipient.accept(number, &claim, None);
    }
    recipient.heard()
}

#[test]
fn accepts_that_wait_for_one_giver_leave_room_for_those_of_others() {
    let mut recipient = recipient(Net::known(3));
    assert_eq!(accept_all(&mut recipient, 1, 0..3), "nothing", "they wait");
    let heard = accept_all(&mut recipient, 1, 3..4);
    assert_eq!(heard, "3 accepted gifts wait for one giver already");
    assert_eq!(accept_all(&mut recipient, 4, 10..13), "nothing");
}

#[test]
fn accepts_without_a_provide_are_bounded() {
    let mut recipient = recipient(Net::known(3));
    assert_eq!(accept_all(&mut recipient, 4, 0..3), "nothing");
    assert_eq!(accept_all(&mut recipient, 5, 3..6), "nothing");
    assert_eq!(accept_all(&mut recipient, 6, 6..8), "nothing");
    let heard = accept_all(&mut recipient, 7, 8..9);
    assert_eq!(heard, "8 accepted gifts wait for their givers already");
}

#[test]
fn accepts_that_wait_for_an_embargo_count_as_well() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let mut recipient = recipient(trio.net);
    for number in 0..3 {
        let embargo = u32::to_le_bytes(number);
        recipient.accept(number, &claim_for(key(2)), Some(&embargo));
    }
    assert_eq!(recipient.heard(), "nothing");
    recipient.accept(3, &claim_for(key(2)), Some(b"one more"));
    let reason = "3 accepted gifts wait for one giver already";
    assert_eq!(recipient.heard(), reason);
}

/// A claim with nine signatures, the last of which is not good.
fn long_and_forged(number: u64) -> Claim {
    let mut claim = Claim::new(&identity(1), number, &key(3), key(2));
    for _ in 0..7 {
        claim = claim.forwarded(&identity(2), &key(3), key(2));
    }
    claim.forwarded(&identity(1), &key(3), key(2))
}

#[test]
fn so_many_signatures_are_checked_in_a_second() {
    let mut net = Net::known(3);
    let start = Duration::from_secs(100);
    net.vats[EXPORTER].engine.handle_time(start);
    let mut recipient = recipient(net);
    for number in 0..2 {
        recipient.accept(number, &long_and_forged(1), None);
        assert_eq!(recipient.heard(), "the gift is for another vat");
    }
    let reason = "20 signatures of accepted gifts were checked within a second; try again later";
    recipient.accept(2, &long_and_forged(1), None);
    assert_eq!(recipient.heard(), reason);
    let engine = &mut recipient.net.vats[EXPORTER].engine;
    let rested = start + Duration::from_secs(1);
    assert_eq!(
        engine.deadline(),
        Some(rested),
        "the host is to tell the time"
    );
    engine.handle_time(rested);
    assert_eq!(engine.deadline(), None);
    recipient.accept(3, &long_and_forged(1), None);
    assert_eq!(recipient.heard(), "the gift is for another vat");
}

/// The gifter's first gift, to vat 2, as the exporter is told of it.
fn provide(question: u32) -> encode::Built {
    let place = Place::Import {
        id: ImportId::new(0),
        settled: true,
    };
    let gift = Await {
        recipient: key(2),
        nonce: claim_for(key(2)).gift.nonce,
    };
    encode::provide(QuestionId::new(question), &place, &gift)
}

#[test]
fn a_gift_is_provided_once() {
    for finished in [false, true] {
        let mut trio = Trio::new();
        let given = trio.give();
        if finished {
            trio.net.vats[RECIPIENT].release(given);
            trio.net.run();
        }
        hush(&mut trio.net);
        say_as_gifter(&mut trio.net, &provide(90));
        let exporter = &mut trio.net.vats[EXPORTER];
        let mut events = std::iter::from_fn(|| exporter.next());
        let closed = events.find_map(|event| match event {
            Event::Closed(_, reason) => Some(reason),
            _ => None,
        });
        let fault = PeerMisbehaved::DuplicateGift;
        assert_eq!(closed, Some(CloseReason::PeerMisbehaved(fault)));
    }
}

#[test]
fn who_waits_for_a_gift_that_is_one_too_many_is_told() {
    let mut recipient = Stranger::new(Net::known(3), 2);
    recipient.accept(0, &claim_for(key(2)), None);
    assert_eq!(recipient.heard(), "nothing", "it waits");
    let link = recipient.link;
    let none = Limits::default().with_provisions(0);
    let mut gifter = Stranger::with(recipient.net, 1, none);
    gifter.say(&provide(0));
    let net = gifter.net;
    let reason = "0 gifts of this vat are open already";
    assert_eq!(Stranger { net, link }.heard(), reason);
}

#[test]
fn so_many_disembargoes_of_one_gift_are_remembered() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let place = Place::Answer {
        question: trio.provision(),
        path: Path::Root,
    };
    for number in 0..65_u32 {
        let lift = encode::accept_disembargo(&place, &number.to_le_bytes());
        say_as_gifter(&mut trio.net, &lift);
    }
    let mut recipient = Stranger::new(trio.net, 2);
    recipient.accept(0, &claim_for(key(2)), Some(&63_u32.to_le_bytes()));
    assert_eq!(recipient.heard(), "return");
    recipient.accept(1, &claim_for(key(2)), Some(&64_u32.to_le_bytes()));
    assert_eq!(recipient.heard(), "nothing", "more than anybody needs");
}

#[test]
fn so_many_ended_gifts_are_remembered() {
    let mut provisions = Provisions::default();
    let name = |number: u16| {
        let mut nonce = [0; 16];
        nonce[..2].copy_from_slice(&number.to_le_bytes());
        let gifter = key(1);
        GiftName { gifter, nonce }
    };
    let names: Vec<GiftName> = (0..1_025).map(name).collect();
    for name in &names {
        provisions.remember(*name, Duration::MAX);
    }
    assert!(!provisions.has_ended(&names[0]), "the oldest makes room");
    assert!(names[1..].iter().all(|name| provisions.has_ended(name)));
}

#[test]
fn a_disembargo_lifts_its_own_embargo_only() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let question = trio.provision();
    let mut recipient = Stranger::new(trio.net, 2);
    recipient.accept(0, &claim_for(key(2)), Some(b"first"));
    recipient.accept(1, &claim_for(key(2)), Some(b"second"));
    assert_eq!(recipient.heard(), "nothing");
    let place = Place::Answer {
        question,
        path: Path::Root,
    };
    let lift = encode::accept_disembargo(&place, b"second");
    say_as_gifter(&mut recipient.net, &lift);
    assert_eq!(recipient.heard(), "return");
    assert_eq!(recipient.heard(), "nothing", "the other one waits");
}

/// The gifter hands something over by hand, with this claim.
fn hand_over(trio: &mut Trio, question: u32, claim: &Claim) -> NodeId {
    hand_in(&mut trio.net, TO_RECIPIENT, 1, |to| {
        let mut call = to.init_call();
        call.set_question_id(question);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        write(params.reborrow().init_content(), 9, &[]);
        let table = params.init_cap_table(1);
        let mut third = table.get(0).init_third_party_hosted();
        third.set_vine_id(50);
        let contact = Contact {
            exporter: key(3),
            addresses: Vec::new(),
            claim: claim.clone(),
        };
        contact.write(third.init_id());
    });
    take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0])
}

#[test]
fn a_contact_is_good_from_its_giver_for_who_gets_it_only() {
    let others = [
        (
            "of another giver",
            Claim::new(&identity(9), 1, &key(3), key(2)),
        ),
        (
            "for another vat",
            Claim::new(&identity(1), 1, &key(3), key(9)),
        ),
        (
            "passed on by another vat",
            claim_for(key(9)).forwarded(&identity(9), &key(3), key(2)),
        ),
    ];
    for (what, claim) in others {
        let mut trio = Trio::new();
        let given = hand_over(&mut trio, 40, &claim);
        let conn = trio.net.conn(TO_RECIPIENT, 1);
        let state = trio.net.vats[RECIPIENT].engine.state(given);
        assert_eq!(state, NodeState::Far(conn), "{what}: used as the vine");
    }
    let mut trio = Trio::new();
    let given = hand_over(&mut trio, 40, &claim_for(key(2)));
    let state = trio.net.vats[RECIPIENT].engine.state(given);
    assert_eq!(state, NodeState::Unresolved, "a gift");
}

#[test]
fn a_vine_leads_to_one_gift() {
    let mut trio = Trio::new();
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    let first = hand_over(&mut trio, 40, &claim_for(key(2)));
    let other = Claim::new(&identity(1), 2, &key(3), key(2));
    let second = hand_over(&mut trio, 41, &other);
    let engine = &trio.net.vats[RECIPIENT].engine;
    assert_eq!(engine.state(first), NodeState::Unresolved);
    assert_eq!(
        engine.state(second),
        NodeState::Far(conn),
        "the vine itself"
    );
}

#[test]
fn a_gift_waits_for_the_hello_of_its_host() {
    let mut trio = Trio::new();
    let given = trio.give();
    // Another connection may still take the place of this one.
    trio.net.begin_to_meet(RECIPIENT, EXPORTER);
    trio.net.vats[RECIPIENT].send(given, 5, &[]);
    take!(trio.net.vats[RECIPIENT], Event::Dial(..) => ());
}

#[test]
fn a_host_that_does_not_know_what_an_accept_is_breaks_the_reference() {
    let mut trio = Trio::new();
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 5, &[]);
    let direct = trio.net.dial(RECIPIENT);
    assert_eq!(trio.net.flying(direct, 1), ["accept", "call"]);
    hand_in(&mut trio.net, direct, 0, |to| {
        to.init_unimplemented().init_accept().set_question_id(0);
    });
    let state = trio.net.vats[RECIPIENT].engine.state(given);
    let NodeState::Broken(reason) = state else {
        panic!("{state:?}");
    };
    assert_eq!(reason.kind(), ExceptionKind::Unimplemented);
}

#[test]
fn a_host_that_does_not_know_what_a_provide_is_is_asked_no_more() {
    let mut trio = Trio::new();
    trio.net.vats[GIFTER].send(trio.recipient, 1, &[trio.gift]);
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["provide"]);
    trio.net.links[TO_EXPORTER].to[1].clear();
    let question = trio.provision();
    hand_in(&mut trio.net, TO_EXPORTER, 0, |to| {
        let mut provide = to.init_unimplemented().init_provide();
        provide.set_question_id(question.raw());
    });
    let conn = trio.net.conn(TO_EXPORTER, 0);
    let tables = trio.net.vats[GIFTER].engine.tables(conn).unwrap();
    assert_eq!(tables.asked, [0_u32; 0]);
}

/// The peer may have something of ours from somebody else, but cannot say so for others.
#[test]
fn a_forged_way_home_leads_through_who_told_it() {
    let mut trio = Trio::new();
    let claim = Claim::new(&identity(9), 1, &key(3), key(8));
    // As if vat 8 had passed it on to the gifter.
    let forged = claim.forwarded(&identity(1), &key(3), key(1));
    let forged = forged.forwarded(&identity(1), &key(3), key(3));
    let [given] = flood_with(&mut trio, &forged)[..] else {
        panic!("one reference");
    };
    trio.net.run();
    let conn = trio.net.conn(TO_EXPORTER, 1);
    let state = trio.net.vats[EXPORTER].engine.state(given);
    assert_eq!(state, NodeState::Far(conn), "used as the vine");
}

/// The gifter gives the exporter something of its own, with this claim.
fn flood_with(trio: &mut Trio, claim: &Claim) -> Vec<NodeId> {
    hand_in(&mut trio.net, TO_EXPORTER, 1, |to| {
        let mut call = to.init_call();
        call.set_question_id(60);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        write(params.reborrow().init_content(), 9, &[]);
        let mut third = params.init_cap_table(1).get(0).init_third_party_hosted();
        third.set_vine_id(70);
        let contact = Contact {
            exporter: key(3),
            addresses: Vec::new(),
            claim: claim.clone(),
        };
        contact.write(third.init_id());
    });
    take!(trio.net.vats[EXPORTER], Event::Call { caps, .. } => caps)
}

#[test]
fn something_that_came_home_waits_for_its_provide_as_long_as_a_peer_does() {
    let mut trio = Trio::new();
    let claim = Claim::new(&identity(1), 77, &key(3), key(3));
    let _given = flood_with(&mut trio, &claim);
    let deadline = trio.net.vats[EXPORTER].engine.deadline();
    assert_eq!(deadline, Some(Duration::from_secs(10)));
}

#[test]
fn a_disembargo_of_an_accept_goes_along_vines_only() {
    let mut trio = Trio::new();
    let root = trio.net.root(TO_RECIPIENT, 1);
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    let tables = trio.net.vats[RECIPIENT].engine.tables(conn).unwrap();
    let id = *tables.imports.keys().next().unwrap();
    say_as(&mut trio.net, (TO_RECIPIENT, 0), id);
    let gifter = &mut trio.net.vats[GIFTER];
    let mut events = std::iter::from_fn(|| gifter.next());
    assert!(events.any(|event| matches!(
        event,
        Event::Closed(
            _,
            CloseReason::PeerMisbehaved(PeerMisbehaved::DisembargoTarget)
        )
    )));
    trio.net.vats[RECIPIENT].release(root);
}

#[test]
fn a_disembargo_goes_on_along_the_vine_of_a_gift_that_was_passed_on() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (link, other) = fourth(&mut trio);
    let _passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    let conn = trio.net.conn(link, 1);
    let tables = trio.net.vats[3].engine.tables(conn).unwrap();
    let vine = *tables.imports.keys().next().unwrap();
    say_as(&mut trio.net, (link, 0), vine);
    assert_eq!(trio.net.flying(TO_RECIPIENT, 0), ["disembargo"]);
    trio.net.deliver(TO_RECIPIENT, 0, "disembargo");
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["disembargo"]);
}

/// The other end of a link says that an embargo on this export may be lifted.
fn say_as(net: &mut Net, (link, end): (usize, usize), export: u32) {
    let place = Place::Import {
        id: ImportId::new(export),
        settled: true,
    };
    let built = encode::accept_disembargo(&place, b"name");
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    let (vat, conn) = net.links[link].ends[end];
    net.vats[vat].feed(conn, &out.take_bytes(), Vec::new());
    net.check();
}
