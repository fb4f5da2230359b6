//! Streams of calls and their window.

use super::in_a_row::{row, row_drained};
use super::net::{Event, Net, pair, take};
use crate::{Exception, NodeId};

/// One call of a stream, with so many bytes.
fn stream(net: &mut Net, target: NodeId, bytes: usize) {
    let mut call = net.vats[0].call(1, &[], None);
    call.blob = bytes;
    call.streaming = true;
    net.vats[0].engine.send(target, call);
    net.vats[0].collect();
}

/// Sends until there is no room; how many calls that took.
fn fill(net: &mut Net, target: NodeId) -> usize {
    let mut sent = 0;
    while net.vats[0].engine.has_stream_room(target) {
        stream(net, target, 10_000);
        sent += 1;
        assert!(sent < 100, "the window has no end");
    }
    sent
}

fn runs(net: &mut Net) -> Vec<u32> {
    net.vats[0].collect();
    let events = std::mem::take(&mut net.vats[0].events);
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Run(job) => Some(job),
            _ => None,
        })
        .collect()
}

/// Vat `at` answers its next call.
fn answer(net: &mut Net, at: usize) {
    take!(net.vats[at], Event::Call { respond, .. } => net.vats[at].answer(respond, 0, &[]));
    net.run();
}

#[test]
fn the_window_of_a_reference_fills_and_answers_make_room() {
    let (mut net, boot) = pair();
    assert!(net.vats[0].engine.has_stream_room(boot));
    assert_eq!(fill(&mut net, boot), 7, "64 KiB, and one more");
    assert!(net.vats[0].engine.stream_bytes(boot) > 70_000);
    net.vats[0].engine.when_stream_room(boot, 5);
    net.vats[0].engine.when_stream_room(boot, 6);
    net.run();
    assert!(runs(&mut net).is_empty());
    answer(&mut net, 1);
    assert_eq!(runs(&mut net), [5, 6], "in the order in which they asked");
    assert!(net.vats[0].engine.has_stream_room(boot));
    net.vats[0].engine.when_stream_room(boot, 7);
    assert_eq!(runs(&mut net), [7], "there is room already");
    for _ in 0..6 {
        answer(&mut net, 1);
    }
    assert_eq!(net.vats[0].engine.stream_bytes(boot), 0);
    net.vats[0].events.clear();
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn other_calls_and_other_references_have_nothing_to_do_with_it() {
    let (mut net, boot) = pair();
    let mut call = net.vats[0].call(1, &[], None);
    call.blob = 100_000;
    net.vats[0].engine.send(boot, call);
    assert_eq!(net.vats[0].engine.stream_bytes(boot), 0);
    let (_, other) = net.vats[0].ask(boot, 2, &[]);
    fill(&mut net, boot);
    assert!(net.vats[0].engine.has_stream_room(other));
}

#[test]
fn small_calls_count_too() {
    let (mut net, boot) = pair();
    stream(&mut net, boot, 0);
    assert!(net.vats[0].engine.stream_bytes(boot) >= 64);
}

#[test]
fn what_waits_for_a_promise_counts_and_goes_on_counting_where_it_goes() {
    let (mut net, boot) = pair();
    let promise = net.vats[0].engine.promise();
    for _ in 0..2_000 {
        stream(&mut net, promise, 8);
    }
    assert!(!net.vats[0].engine.has_stream_room(promise));
    net.vats[0].engine.when_stream_room(promise, 5);
    net.vats[0].engine.resolve(promise, Ok(boot)).unwrap();
    assert!(runs(&mut net).is_empty(), "not even for a moment");
    assert!(!net.vats[0].engine.has_stream_room(boot));
    net.run();
    while net.vats[0].engine.stream_bytes(boot) > 0 {
        answer(&mut net, 1);
    }
    assert_eq!(runs(&mut net), [5]);
    net.vats[0].release(promise);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_promise_that_becomes_an_object_of_the_vat_has_room_again() {
    let mut net = Net::new(1);
    let promise = net.vats[0].engine.promise();
    for _ in 0..2_000 {
        stream(&mut net, promise, 8);
    }
    net.vats[0].engine.when_stream_room(promise, 5);
    let object = net.vats[0].object(3);
    net.vats[0].engine.resolve(promise, Ok(object)).unwrap();
    assert_eq!(net.vats[0].engine.stream_bytes(object), 0);
    assert_eq!(runs(&mut net), [5]);
}

#[test]
fn a_promise_that_breaks_or_is_dropped_lets_go_who_waits_for_room() {
    for dropped in [false, true] {
        let mut net = Net::new(1);
        let promise = net.vats[0].engine.promise();
        for _ in 0..2_000 {
            stream(&mut net, promise, 8);
        }
        net.vats[0].engine.when_stream_room(promise, 5);
        match dropped {
            true => net.vats[0].release(promise),
            false => net.vats[0]
                .engine
                .resolve(promise, Err(Exception::failed("no")))
                .unwrap(),
        }
        assert_eq!(runs(&mut net), [5]);
    }
}

#[test]
fn the_window_reaches_to_the_end_of_a_chain_of_vats() {
    let (mut net, boot) = row();
    net.run();
    let sent = fill(&mut net, boot);
    net.run();
    assert!(!net.vats[0].engine.has_stream_room(boot));
    // The vat in the middle has passed everything on; only the last one can make room.
    for _ in 0..sent {
        answer(&mut net, 2);
    }
    assert_eq!(net.vats[0].engine.stream_bytes(boot), 0);
    net.vats[0].events.clear();
    net.vats[0].release(boot);
    row_drained(&mut net);
}

#[test]
fn a_failed_call_of_a_stream_makes_room_and_says_so() {
    let (mut net, boot) = pair();
    fill(&mut net, boot);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => {
        net.vats[1].fail(respond, Exception::failed("disk full"));
    });
    net.run();
    assert!(net.vats[0].engine.has_stream_room(boot));
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason.reason(), "disk full");
    });
}

#[test]
fn a_lost_connection_lets_go_who_waits_for_room() {
    let (mut net, boot) = pair();
    fill(&mut net, boot);
    net.vats[0].engine.when_stream_room(boot, 5);
    net.run();
    net.cut(0);
    assert_eq!(runs(&mut net), [5]);
    assert_eq!(net.vats[0].engine.stream_bytes(boot), 0);
}

#[test]
fn dropping_the_reference_cancels_nothing_of_the_stream() {
    let (mut net, boot) = pair();
    let sent = fill(&mut net, boot);
    net.vats[0].release(boot);
    net.run();
    for _ in 0..sent {
        answer(&mut net, 1);
    }
    assert!(
        net.vats[1].next().is_none(),
        "neither cancelled nor anything else"
    );
    net.vats[0].events.clear();
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_stream_goes_on_when_its_promise_resolves_at_the_same_peer() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    let sent = fill(&mut net, result);
    net.run();
    let object = net.vats[1].object(5);
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[object]));
    net.vats[1].release(object);
    net.run();
    assert!(!net.vats[0].engine.has_stream_room(result));
    for _ in 0..sent {
        answer(&mut net, 1);
    }
    assert_eq!(net.vats[0].engine.stream_bytes(result), 0);
}
