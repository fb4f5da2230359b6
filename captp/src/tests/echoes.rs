//! A Resolve of ours that comes back, because the peer does not speak it: what it gave is released.

use super::cancellation::waiting;
use super::handoff::{
    EXPORTER, GIFTER, RECIPIENT, TO_EXPORTER, TO_RECIPIENT, Trio, become_gift, promised,
};
use super::hostile::framed;
use super::net::{Event, Net, take};
use crate::captp_capnp::message;
use crate::connection::framer::Framer;
use crate::{Exception, Limits};

/// Sends the next message to this end of a link, a Resolve, back as unimplemented.
fn echo_resolve(net: &mut Net, link: usize, end: usize) {
    net.pump();
    let flying = net.links[link].to[end].pop_front().expect("a message");
    assert_eq!(flying.kind, "resolve");
    let frame = Framer::default().next(&mut &*flying.bytes, &Limits::default());
    let original = frame.unwrap().expect("a whole one").into_message(100, 100);
    let root: message::Reader<'_> = original.get_root().unwrap();
    let back = framed(|mut to| to.set_unimplemented(root).unwrap());
    let (vat, conn) = net.links[link].ends[1 - end];
    net.vats[vat].feed(conn, &back, Vec::new());
    net.check();
}

/// Counts of its exports that a vat has given on a link, by their id.
fn exports(net: &Net, link: usize, end: usize) -> Vec<(u32, u32)> {
    let (vat, conn) = net.links[link].ends[end];
    let tables = net.vats[vat].engine.tables(conn).unwrap();
    tables.exports.into_iter().collect()
}

#[test]
fn an_echoed_resolve_releases_what_it_exported() {
    let (mut net, boot, promise, held) = waiting();
    let before = exports(&net, 0, 1);
    let object = net.vats[1].object(5);
    net.vats[1].engine.resolve(promise, Ok(object)).unwrap();
    for node in [promise, object] {
        net.vats[1].release(node);
    }
    assert_eq!(exports(&net, 0, 1).len(), before.len() + 1);
    echo_resolve(&mut net, 0, 0);
    assert_eq!(exports(&net, 0, 1), before);
    // The peer has the promise still, and goes on through that.
    net.vats[0].send(held, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
    });
    net.vats[0].release(held);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

/// Only one count: the peer may have the reference from elsewhere.
#[test]
fn an_echoed_resolve_releases_no_more_than_it_gave() {
    let (mut net, boot, promise, held) = waiting();
    let object = net.vats[1].object(5);
    net.vats[0].send(boot, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[object]));
    net.run();
    let same = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    let before = exports(&net, 0, 1);
    net.vats[1].engine.resolve(promise, Ok(object)).unwrap();
    for node in [promise, object] {
        net.vats[1].release(node);
    }
    assert_ne!(exports(&net, 0, 1), before);
    echo_resolve(&mut net, 0, 0);
    assert_eq!(exports(&net, 0, 1), before);
    for node in [held, same, boot] {
        net.vats[0].release(node);
    }
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.assert_drained(&[0, 1]);
}

#[test]
fn an_echoed_resolve_that_gave_nothing_releases_nothing() {
    for breaks in [false, true] {
        let (mut net, boot, promise, held) = waiting();
        // The peer's own, with an id that some export of ours has, too.
        let own = net.vats[0].object(4);
        net.vats[0].send(boot, 2, &[own]);
        net.run();
        let theirs = take!(net.vats[1], Event::Call { caps, respond, .. } => {
            net.vats[1].answer(respond, 0, &[]);
            caps[0]
        });
        net.run();
        let before = exports(&net, 0, 1);
        let becomes = match breaks {
            true => Err(Exception::failed("gave up")),
            false => Ok(theirs),
        };
        net.vats[1].engine.resolve(promise, becomes).unwrap();
        for node in [promise, theirs] {
            net.vats[1].release(node);
        }
        echo_resolve(&mut net, 0, 0);
        assert_eq!(exports(&net, 0, 1), before);
        net.vats[0].events.clear();
        for node in [held, own, boot] {
            net.vats[0].release(node);
        }
        net.assert_drained(&[0, 1]);
    }
}

#[test]
fn an_echoed_resolve_to_a_gift_ends_the_gift() {
    let mut trio = Trio::new();
    let (held, promise) = promised(&mut trio);
    let before = exports(&trio.net, TO_RECIPIENT, 0);
    become_gift(&mut trio, promise);
    trio.net.pump();
    let conn = trio.net.conn(TO_EXPORTER, 0);
    let asked = |trio: &Trio| trio.net.vats[GIFTER].engine.tables(conn).unwrap().asked;
    assert_eq!(asked(&trio).len(), 1, "the provide");
    echo_resolve(&mut trio.net, TO_RECIPIENT, 1);
    assert_eq!(asked(&trio), [0_u32; 0]);
    assert_eq!(exports(&trio.net, TO_RECIPIENT, 0), before);
    // It goes through the gifter, as before.
    trio.net.vats[RECIPIENT].send(held, 2, &[]);
    trio.net.run();
    trio.assert_number(EXPORTER, 2);
    trio.net.run();
}
