//! The exporter, and who is not entitled.

use std::time::Duration;

use super::super::net::{Event, Net, identity, key, take};
use super::{EXPORTER, RECIPIENT, Stranger, Trio, claim_for};
use crate::contact::Claim;
use crate::message::encode;
use crate::path::Path;
use crate::{CloseReason, PeerMisbehaved, QuestionId};

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
