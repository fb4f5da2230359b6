//! Three-party handoff in awkward arrangements, and with vats that mean no good.
//!
//! Vats are numbered as in [`super::handoff`].

use std::time::Duration;

use capnp::traits::ImbueMut as _;

use super::handoff::{
    EXPORTER, GIFTER, RECIPIENT, Stranger, TO_EXPORTER, TO_RECIPIENT, Trio, claim_for, embargoed,
    fourth, give, hush,
};
use super::hostile::framed;
use super::net::{Event, Net, Respond, Vat, identity, key, take, write};
use crate::captp_capnp::{call, message, promised_answer};
use crate::contact::{Claim, Contact};
use crate::engine::node::Place;
use crate::message::encode;
use crate::path::Path;
use crate::{ConnOptions, Exception, Limits, NodeId, NodeState, QuestionId, Transmit};

mod oneself;
mod order;

/// Delivers everything but what is on its way to these ends of links.
fn run_but(net: &mut Net, kept: &[(usize, usize)]) {
    loop {
        net.pump();
        let ends = (0..net.links.len()).flat_map(|link| [(link, 0), (link, 1)]);
        let next = ends
            .filter(|end| !kept.contains(end))
            .find_map(|(link, end)| {
                let kind = net.links[link].to[end].front()?.kind;
                Some((link, end, kind))
            });
        let Some((link, end, kind)) = next else {
            return;
        };
        net.deliver(link, end, kind);
    }
}

/// A message of the peer at the other end, written by hand.
pub(super) fn hand_in(
    net: &mut Net,
    link: usize,
    end: usize,
    fill: impl FnOnce(message::Builder<'_>),
) {
    let (vat, conn) = net.links[link].ends[end];
    let bytes = framed(fill);
    net.vats[vat].feed(conn, &bytes, Vec::new());
    net.check();
}

/// The numbers of the calls that came to a vat, each answered at once.
fn numbers(net: &mut Net, vat: usize) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(event) = net.vats[vat].next() {
        if let Event::Call {
            number, respond, ..
        } = event
        {
            found.push(number);
            net.vats[vat].answer(respond, number, &[]);
        }
        net.run();
    }
    found
}

fn is_open(net: &Net, link: usize) -> bool {
    let mut ends = net.links[link].ends.iter();
    ends.all(|(vat, conn)| net.vats[*vat].engine.stats(*conn).is_some())
}

// ---- falling back

#[test]
fn a_forwarder_that_cannot_dial_does_not_spoil_what_it_passed_on() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (_, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    let no = Exception::failed("no authority to dial");
    trio.net.vats[RECIPIENT].engine.dialed(request, Err(no));
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    trio.net.run();
    trio.net.vats[3].send(passed, 2, &[]);
    trio.net.dial(3);
    trio.net.run();
    trio.assert_number(EXPORTER, 2);
    trio.net.run();
    for node in [given, other] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.net.vats[3].release(passed);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1, 1]);
}

#[test]
fn a_connection_that_knows_no_handoff_is_not_used_for_one() {
    let mut trio = Trio::new();
    let given = trio.give();
    let options = ConnOptions::default().with_hello(true);
    let link = trio.net.link(
        (RECIPIENT, options.clone().with_peer(key(3))),
        (EXPORTER, options),
    );
    trio.net.run();
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    assert_eq!(trio.net.flying(link, 1), Vec::<&str>::new());
}

#[test]
fn a_connection_to_somebody_else_is_not_taken_for_the_exporters() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    let wrong = trio.net.meet(RECIPIENT, 3);
    let conn = trio.net.conn(wrong, 0);
    trio.net.vats[RECIPIENT].engine.dialed(request, Ok(conn));
    assert!(trio.net.flying(wrong, 1).is_empty());
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
}

#[test]
fn who_waits_for_a_promise_of_somebody_who_got_a_gift_is_not_left_waiting() {
    let mut trio = Trio::with(Net::known(4));
    let link = trio.net.meet(RECIPIENT, 3);
    let root = trio.net.root(link, 1);
    let (_, result) = trio.net.vats[3].ask(root, 1, &[]);
    trio.net.run();
    let asked = take!(trio.net.vats[RECIPIENT], Event::Call { respond, .. } => respond);
    let promise = trio.net.vats[RECIPIENT].engine.promise();
    trio.net.vats[RECIPIENT].answer(asked, 0, &[promise]);
    trio.net.run();
    trio.net.vats[3].engine.when_resolved(result, 5);
    let given = trio.give();
    let engine = &mut trio.net.vats[RECIPIENT].engine;
    engine.resolve(promise, Ok(given)).unwrap();
    trio.net.dial(RECIPIENT);
    trio.net.run();
    take!(trio.net.vats[3], Event::Returned { .. } => ());
    trio.net.dial(3);
    trio.net.run();
    take!(trio.net.vats[3], Event::Run(5) => ());
}

// ---- the exporter's limits

#[test]
fn gifts_that_are_there_are_given_however_many_others_wait() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let mut recipient = Stranger::new(trio.net, 2);
    for number in 0..128 {
        let claim = Claim::new(&identity(7), number.into(), &key(3), key(2));
        recipient.accept(number, &claim, None);
    }
    recipient.accept(200, &claim_for(key(2)), None);
    assert_eq!(recipient.heard(), "return");
    let claim = Claim::new(&identity(7), 200, &key(3), key(2));
    recipient.accept(201, &claim, None);
    assert_eq!(
        recipient.heard(),
        "128 accepted gifts wait for one giver already"
    );
}

#[test]
fn calls_that_wait_for_a_connection_are_bounded() {
    let mut trio = Trio::with(Net::known(4));
    let link = trio.net.meet(RECIPIENT, 3);
    let root = trio.net.root(link, 1);
    let given = trio.give();
    let (_, result) = trio.net.vats[3].ask(root, 1, &[]);
    for _ in 0..300 {
        trio.net.vats[3].send(result, 2, &[]);
    }
    trio.net.deliver(link, 0, "call");
    let asked = take!(trio.net.vats[RECIPIENT], Event::Call { respond, .. } => respond);
    trio.net.vats[RECIPIENT].answer(asked, 0, &[given]);
    trio.net.run();
    let mut refused = 0;
    while let Some(event) = trio.net.vats[3].next() {
        refused += u32::from(matches!(event, Event::Returned { result: Err(_), .. }));
    }
    assert_eq!(refused, 44);
}

#[test]
fn more_open_gifts_than_the_exporter_allows_do_not_end_the_gifters_connection() {
    let mut net = Net::known(3);
    assert_eq!(net.meet(GIFTER, RECIPIENT), TO_RECIPIENT);
    let root = net.vats[EXPORTER].object(20);
    let options = ConnOptions::default().with_hello(true);
    let narrow = Limits::default().with_provisions(1);
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
    net.vats[EXPORTER].release(root);
    net.run();
    let (recipient, gift) = (net.root(TO_RECIPIENT, 0), net.root(link, 0));
    let mut trio = Trio {
        net,
        recipient,
        gift,
    };
    let (first, second) = (trio.give(), trio.give());
    assert!(is_open(&trio.net, TO_EXPORTER));
    trio.net.vats[RECIPIENT].send(second, 2, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    take!(trio.net.vats[RECIPIENT], Event::Returned { result: Err(_), .. } => ());
    trio.net.vats[RECIPIENT].send(first, 1, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    trio.net.run();
    for node in [first, second] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn calls_on_an_accept_that_was_finished_still_arrive() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let mut recipient = Stranger::new(trio.net, 2);
    recipient.accept(0, &claim_for(key(2)), Some(b"name"));
    let link = recipient.link;
    hand_in(&mut recipient.net, link, 1, |to| {
        let mut call = to.init_call();
        call.set_question_id(1);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        let target = call.reborrow().init_target();
        target.init_promised_answer().set_question_id(0);
        write(call.init_params().init_content(), 5, &[]);
    });
    recipient.say_finish(0);
    assert!(recipient.net.vats[EXPORTER].next().is_none());
    let place = Place::Answer {
        question: QuestionId::new(0), // the lowest that is free
        path: Path::Root,
    };
    let lift = encode::accept_disembargo(&place, b"name");
    say_as_gifter(&mut recipient.net, &lift);
    assert_eq!(recipient.net.vats[EXPORTER].take_number(), 5);
    assert_eq!(recipient.heard(), "return");
    recipient.say_finish(1);
    let conn = recipient.net.conn(link, 1);
    assert!(recipient.net.vats[EXPORTER].engine.is_drained(conn));
}

/// The gifter says something to the exporter that its engine knows nothing of.
pub(super) fn say_as_gifter(net: &mut Net, built: &encode::Built) {
    let conn = net.conn(TO_EXPORTER, 1);
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    let bytes = out.take_bytes();
    net.vats[EXPORTER].feed(conn, &bytes, Vec::new());
    net.pump();
    net.check();
}

// ---- a hostile exporter

#[test]
fn an_exporter_that_answers_a_provide_hurts_nothing_else() {
    let mut trio = Trio::new();
    // The exporter asks for something, and keeps the results to itself.
    let conn = trio.net.conn(TO_EXPORTER, 1);
    let root = trio.net.vats[EXPORTER].engine.bootstrap(conn);
    trio.net.run();
    hand_in(&mut trio.net, TO_EXPORTER, 0, |to| {
        let mut call = to.init_call();
        call.set_question_id(70);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        call.reborrow().get_send_results_to().set_yourself(());
        write(call.init_params().init_content(), 9, &[]);
    });
    take!(trio.net.vats[GIFTER], Event::Call { .. } => ());
    trio.net.vats[GIFTER].send(trio.recipient, 1, &[trio.gift]);
    trio.net.deliver(TO_RECIPIENT, 1, "call");
    let given = take!(trio.net.vats[RECIPIENT], Event::Call { caps, .. } => caps[0]);
    assert_eq!(trio.net.flying(TO_EXPORTER, 1), ["provide"]);
    trio.net.links[TO_EXPORTER].to[1].clear();
    // Question 0 it was: the lowest that is free.
    hand_in(&mut trio.net, TO_EXPORTER, 0, |to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_release_param_caps(false);
        ret.set_take_from_other_question(70);
    });
    let tag = trio.net.vats[GIFTER].send(trio.gift, 5, &[]);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.deliver(TO_RECIPIENT, 0, "release");
    trio.net.cut(TO_EXPORTER);
    loop {
        match trio.net.vats[GIFTER].next() {
            Some(Event::Returned { tag: of, result }) if of == tag => {
                assert!(result.is_err());
                break;
            }
            Some(Event::Failed { .. }) => break,
            Some(_) => {}
            None => panic!("a call of the gifter was forgotten"),
        }
    }
    trio.net.vats[EXPORTER].release(root);
}

// ---- a hostile recipient

#[test]
fn a_recipient_that_lifts_what_it_likes_does_not_turn_the_exporter_against_the_gifter() {
    let mut trio = Trio::new();
    let given = trio.give();
    let vine = Place::Import {
        id: crate::ImportId::new(trio.vine()),
        settled: true,
    };
    let say = |trio: &mut Trio, built: &encode::Built| {
        let conn = trio.net.conn(TO_RECIPIENT, 0);
        let mut out = Transmit::new();
        out.push(&built.get_segments_for_output(), &[]);
        let bytes = out.take_bytes();
        trio.net.vats[GIFTER].feed(conn, &bytes, Vec::new());
        trio.net.check();
    };
    for number in 0..200u32 {
        let name = number.to_le_bytes();
        say(&mut trio, &encode::accept_disembargo(&vine, &name));
    }
    // A call ends the gift; what follows leads nowhere.
    trio.net.vats[RECIPIENT].engine.when_resolved(given, 1);
    let request = take!(trio.net.vats[RECIPIENT], Event::Dial(request, _) => request);
    let no = Exception::failed("no authority to dial");
    trio.net.vats[RECIPIENT].engine.dialed(request, Err(no));
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    trio.net.run();
    for _ in 0..3 {
        say(&mut trio, &encode::accept_disembargo(&vine, b"late"));
    }
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    assert!(is_open(&trio.net, TO_EXPORTER) && is_open(&trio.net, TO_RECIPIENT));
}

#[test]
fn a_disembargo_is_passed_on_once_and_not_without_end() {
    let mut trio = Trio::new();
    let _given = trio.give();
    let target = trio.vine();
    let mut lift = |name: &[u8]| {
        hand_in(&mut trio.net, TO_RECIPIENT, 0, |to| {
            let mut disembargo = to.init_disembargo();
            disembargo.reborrow().init_target().set_imported_cap(target);
            disembargo.init_context().set_accept(name);
        });
        trio.net.pump();
        trio.net.flying(TO_EXPORTER, 1).len()
    };
    // Names of two who accept it: the gift may have been passed on.
    assert_eq!([lift(b"one"), lift(b"one"), lift(b"two")], [1, 1, 2]);
    assert_eq!([lift(b"two"), lift(b"one")], [2, 2]);
    for number in 0..200u32 {
        lift(&number.to_le_bytes());
    }
    assert_eq!(lift(b"last"), 64);
    assert!(is_open(&trio.net, TO_RECIPIENT));
}

#[test]
fn finish_and_accept_in_any_order_leave_nothing_at_the_exporter() {
    let mut trio = Trio::new();
    let given = trio.give();
    let mut recipient = Stranger::new(trio.net, 2);
    let claim = claim_for(key(2));
    for _ in 0..3 {
        // Ids are used again; one waits for an embargo, one is answered.
        recipient.accept(0, &claim, Some(b"never"));
        recipient.accept(1, &claim, None);
        recipient.say_finish(0);
        recipient.say_finish(1);
        recipient.say_finish(7);
    }
    let conn = recipient.net.conn(recipient.link, 1);
    assert!(recipient.net.vats[EXPORTER].engine.is_drained(conn));
    let mut net = recipient.net;
    net.vats[RECIPIENT].release(given);
    net.run();
    net.vats[EXPORTER].engine.handle_time(Duration::MAX);
    assert_eq!(net.vats[EXPORTER].engine.deadline(), None);
}
