//! Large data that is shared: sent from where it lies, received where it stays.

#![expect(clippy::cast_possible_truncation, reason = "numbers are small")]

use bytes::Bytes;
use capnp::{any_pointer, data_list};

use super::net::{Event, Net, take};
use crate::connection::framer::Framer;
use crate::connection::question::Sort;
use crate::engine::node::Place;
use crate::frame::{Frame, Message};
use crate::message::write::{self, CallHead};
use crate::payload::{self, Payload};
use crate::{
    Config, ConnOptions, Content, Elements, Engine, ImportId, Limits, NodeId, SHARED_BYTES, Slot,
    Transmit,
};

/// Numbers that look random, the same ones for the same seed.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    }
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// A call whose parameters are a list of these.
fn call(items: &[Bytes], shared: bool) -> Content {
    let place = Place::Import {
        id: ImportId::new(3),
        settled: true,
    };
    let head = CallHead {
        place: &place,
        interface: 0xaaaa,
        method: 3,
        sort: Sort::Call,
        time_left: 0,
    };
    let mut content = Content::default();
    write::begin_call(&mut content, head);
    let count = items.len() as u32;
    let list = content
        .list(content.root(), Elements::Pointer, count)
        .unwrap();
    for (at, item) in items.iter().enumerate() {
        let slot = Slot::new(list, at);
        let written = match shared {
            true => content.shared_data(slot, item, item.len()),
            false => content.data(slot, item),
        };
        written.unwrap();
    }
    content
}

/// The content alone, as it is kept, and the message as it is sent.
fn finished(mut content: Content) -> (Message, Vec<u8>) {
    let kept = Frame::of_bytes(&content.segment_until(content.end()));
    write::end_call(&mut content, true, &[]);
    let counted = content.len() - 8;
    let mut out = Transmit::new();
    out.push_content(&mut content, &[]);
    let sent = out.len();
    let bytes = out.take_bytes();
    assert_eq!(bytes.len(), sent);
    assert!(
        message(&bytes).get_segments().bytes() == counted,
        "what limits count"
    );
    (kept.into_message(64, 64), bytes)
}

fn message(mut bytes: &[u8]) -> Message {
    let limits = Limits::default().with_message_bytes(64 << 20);
    let frame = Framer::default().next(&mut bytes, &limits).unwrap();
    frame.unwrap().into_message(64, 64)
}

fn items(content: any_pointer::Reader<'_>) -> Vec<Vec<u8>> {
    let list: data_list::Reader<'_> = content.get_as().unwrap();
    list.iter().map(|item| item.unwrap().to_vec()).collect()
}

#[test]
fn a_message_with_data_apart_reads_as_one_without() {
    for seed in 0..40 {
        let mut random = random(seed);
        let count = [1, 3, 80][seed as usize % 3];
        let written: Vec<Bytes> = (0..count)
            .map(|_| match random(3) {
                0 => bytes(random(100)),
                1 => bytes(SHARED_BYTES - 9 + random(18)),
                _ => bytes(random(60_000)),
            })
            .collect();
        let large = written.iter().filter(|item| item.len() >= SHARED_BYTES);
        let (kept, apart) = finished(call(&written, true));
        let (plain, whole) = finished(call(&written, false));
        let (apart, whole) = (message(&apart), message(&whole));
        let segments = capnp::message::ReaderSegments::len(apart.get_segments());
        assert_eq!(segments, 1 + large.count().min(64));
        let expected: Vec<Vec<u8>> = written.iter().map(|item| item.to_vec()).collect();
        for message in [&apart, &whole] {
            let content = payload::content_in(message, payload::Place::Call).unwrap();
            assert!(items(content) == expected, "{seed}");
        }
        for kept in [&kept, &plain] {
            assert!(items(kept.get_root().unwrap()) == expected, "{seed}");
        }
    }
}

#[test]
fn only_a_large_part_of_a_large_message_is_kept_without_a_copy() {
    let large = bytes(3 * SHARED_BYTES);
    let kept = |items: &[Bytes], at: u32| {
        let (_, sent) = finished(call(items, true));
        let payload = Payload::new(message(&sent), payload::Place::Call, Vec::new());
        let content = payload.content().unwrap();
        let list: data_list::Reader<'_> = content.get_as().unwrap();
        let data = list.get(at).unwrap();
        let shared = payload.share(data);
        if let Some(shared) = &shared {
            assert_eq!(shared.as_ptr(), data.as_ptr(), "it is where it was");
            assert!(*shared == items[at as usize]);
        }
        drop(payload);
        shared.map(|shared| shared.len())
    };
    assert_eq!(
        kept(std::slice::from_ref(&large), 0),
        Some(large.len()),
        "alive alone"
    );
    let least = bytes(SHARED_BYTES);
    assert_eq!(
        kept(&[large.clone(), least.clone()], 1),
        None,
        "a small part"
    );
    assert_eq!(kept(&[least.clone(), least], 1), Some(SHARED_BYTES));
    assert_eq!(kept(&[bytes(SHARED_BYTES - 1)], 0), None, "too few");
    // What lies elsewhere is not taken for a part of the message.
    let (_, sent) = finished(call(std::slice::from_ref(&large), true));
    let payload = Payload::new(message(&sent), payload::Place::Call, Vec::new());
    assert_eq!(payload.share(&large), None);
    // Nor what lies behind it.
    let others: Vec<Bytes> = (0..8).map(|_| bytes(3 * SHARED_BYTES)).collect();
    assert!(others.iter().all(|other| payload.share(other).is_none()));
}

#[test]
fn a_small_slice_of_something_large_is_copied() {
    let slice = bytes(SHARED_BYTES);
    for (holds, apart) in [(4 * SHARED_BYTES, 1), (4 * SHARED_BYTES + 4, 0)] {
        let mut content = call(&[], false);
        content.shared_data(content.root(), &slice, holds).unwrap();
        assert_eq!(content.apart().len(), apart);
    }
}

#[test]
fn a_place_that_is_written_again_leaves_nothing_apart_behind() {
    let item = |at: usize| bytes(SHARED_BYTES + at);
    let write = |content: &mut Content, list: usize, at: usize, item: &Bytes| {
        let slot = Slot::new(list, at);
        content.shared_data(slot, item, item.len()).unwrap();
    };
    for again in 0..3 {
        for small in [true, false] {
            let mut content = call(&[], false);
            let list = content.list(content.root(), Elements::Pointer, 3).unwrap();
            let mut expected: Vec<Bytes> = (0..3).map(item).collect();
            for (at, item) in expected.iter().enumerate() {
                write(&mut content, list, at, item);
            }
            let other = if small { bytes(9) } else { item(7) };
            write(&mut content, list, again, &other);
            assert_eq!(content.apart().len(), 3 - usize::from(small));
            expected[again] = other;
            let (kept, sent) = finished(content);
            let sent = message(&sent);
            let content = payload::content_in(&sent, payload::Place::Call).unwrap();
            assert!(items(content) == expected && items(kept.get_root().unwrap()) == expected);
        }
    }
}

#[test]
fn data_apart_is_copied_where_there_is_no_message() {
    let large = bytes(SHARED_BYTES);
    let mut content = Content::new();
    content
        .shared_data(content.root(), &large, large.len())
        .unwrap();
    assert_eq!(content.segment()[8..], large[..]);
}

/// Vat 0 calls with that many bytes.
fn send(net: &mut Net, target: NodeId, bytes: usize) {
    let mut call = net.vats[0].call(1, &[], None);
    call.blob = bytes;
    net.vats[0].engine.send(target, call);
}

#[test]
fn data_apart_counts_against_every_limit_and_arrives() {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let limits = Limits::default().with_message_bytes(1 << 20);
    let options = ConnOptions::default().with_limits(limits);
    net.link((0, options.clone()), (1, options.with_bootstrap(root)));
    let conn = net.conn(0, 0);
    let target = net.vats[0].engine.bootstrap(conn);
    net.run();
    let sent = net.vats[0].engine.stats(conn).unwrap().outbound_bytes;
    send(&mut net, target, 500_000);
    let stats = net.vats[0].engine.stats(conn).unwrap();
    assert!(stats.outbound_bytes >= sent + 500_000, "{stats:?}");
    net.run();
    let there = net.conn(0, 1);
    let stats = net.vats[1].engine.stats(there).unwrap();
    assert!(stats.call_bytes >= 500_000, "{stats:?}");
    take!(net.vats[1], Event::Call { .. } => ());
    send(&mut net, target, 1 << 20);
    net.run();
    let reason = take!(net.vats[0], Event::Returned { result: Err(reason), .. } => reason);
    assert!(reason.reason().contains("above the limit"), "{reason}");
}

/// How many bytes come first in the parameters of the next message to vat 1.
fn flying_bytes(net: &Net) -> (usize, usize) {
    let flying = net.links[0].to[1].front().expect("a message");
    let message = message(&flying.bytes);
    let segments = capnp::message::ReaderSegments::len(message.get_segments());
    assert_eq!(segments, 2, "the data lies apart");
    let content = payload::content_in(&message, payload::Place::Call).unwrap();
    let list: data_list::Reader<'_> = content.get_as().unwrap();
    (list.get(0).unwrap().len(), flying.fds.len())
}

#[test]
fn calls_with_data_apart_and_descriptors_wait_and_leave_whole() {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_descriptors(true);
    let narrow = Limits::default().with_question_bytes(150_000);
    net.link(
        (0, options.clone().with_limits(narrow)),
        (1, options.with_bootstrap(root)),
    );
    let conn = net.conn(0, 0);
    let target = net.vats[0].engine.bootstrap(conn);
    net.run();
    let given = net.vats[0].object(4);
    let (_mine, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs: std::rc::Rc<std::os::fd::OwnedFd> = std::rc::Rc::new(theirs.into());
    net.vats[0].engine.attach_fd(given, theirs);
    for at in 0..4 {
        let mut call = net.vats[0].call(1, &[given], None);
        call.blob = 100_000 + at;
        net.vats[0].engine.send(target, call);
    }
    let stats = net.vats[0].engine.stats(conn).unwrap();
    assert_eq!(stats.waiting, 3, "question_bytes");
    assert!(stats.waiting_bytes > 300_000, "{stats:?}");
    for at in 0..4 {
        while net.flying(0, 1).first() != Some(&"call") {
            let kind = net.flying(0, 1)[0];
            net.deliver(0, 1, kind);
        }
        assert_eq!(flying_bytes(&net), (100_000 + at, 1));
        net.deliver(0, 1, "call");
        assert!(net.flying(0, 1).is_empty(), "one at a time");
        take!(net.vats[1], Event::Call { caps, respond, .. } => {
            assert!(net.vats[1].engine.fd(caps[0]).is_some());
            net.vats[1].answer(respond, 0, &[]);
        });
        net.deliver(0, 0, "return");
    }
    assert_eq!(net.vats[0].engine.stats(conn).unwrap().waiting, 0);
}

#[test]
fn what_stays_alive_with_waiting_calls_counts() {
    let mut net = Net::new(2);
    net.vats[0].engine = Engine::new(Config::default().with_in_flight_bytes(1 << 20));
    let root = net.vats[1].object(0);
    let options = ConnOptions::default();
    let narrow = Limits::default().with_questions_soft(1);
    net.link(
        (0, options.clone().with_limits(narrow)),
        (1, options.with_bootstrap(root)),
    );
    let conn = net.conn(0, 0);
    let target = net.vats[0].engine.bootstrap(conn);
    net.run();
    for _ in 0..5 {
        let mut call = net.vats[0].call(1, &[], None);
        (call.blob, call.holds) = (100_000, 400_000);
        net.vats[0].engine.send(target, call);
        net.run();
    }
    // Their sizes would have room for six, one is under way.
    assert_eq!(net.vats[0].engine.stats(conn).unwrap().waiting, 2);
    let reason = take!(net.vats[0], Event::Returned { result: Err(reason), .. } => reason);
    let reason = reason.reason();
    assert!(reason.contains("800"), "what waits: {reason}");
    assert!(reason.contains("400"), "what would be added: {reason}");
}

#[test]
fn what_stays_alive_with_data_apart_counts_as_in_flight() {
    for (calls, open) in [(2, true), (3, false)] {
        let mut net = Net::new(2);
        net.vats[0].engine = Engine::new(Config::default().with_in_flight_bytes(1 << 20));
        let root = net.vats[1].object(0);
        let options = ConnOptions::default().with_bootstrap(root);
        net.link((0, ConnOptions::default()), (1, options));
        let conn = net.conn(0, 0);
        let target = net.vats[0].engine.bootstrap(conn);
        net.run();
        for _ in 0..calls {
            let mut call = net.vats[0].call(1, &[], None);
            (call.blob, call.holds) = (100_000, 400_000);
            net.vats[0].engine.send(target, call);
        }
        assert_eq!(net.vats[0].engine.stats(conn).is_some(), open);
        net.run();
    }
}

#[test]
fn the_rest_of_a_large_message_is_received_where_it_stays() {
    let (_, sent) = finished(call(&[bytes(1_000_003)], true));
    let limits = Limits::default();
    for first in [8, 16, 17, 4_096, 65_536, 900_000] {
        let mut random = random(first as u64);
        let mut framer = Framer::default();
        assert!(framer.room().is_none(), "nothing has arrived");
        let (mut head, mut rest) = sent.split_at(first);
        assert!(framer.next(&mut head, &limits).unwrap().is_none());
        let mut arrived = first;
        let frame = loop {
            let Some(room) = framer.room() else {
                // Little is missing, or the segment table.
                let (mut now, later) = rest.split_at(rest.len().min(1_000));
                arrived += now.len();
                rest = later;
                match framer.next(&mut now, &limits).unwrap() {
                    Some(frame) => break frame,
                    None => continue,
                }
            };
            // A bounded step ahead of what has come, whatever was declared.
            assert!(room.len() <= arrived + (64 << 10), "{arrived}");
            let count = room.len().min(rest.len()).min(1 + random(300_000));
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            arrived += count;
            if let Some(frame) = framer.arrived_in_room(count) {
                break frame;
            }
        };
        assert!(rest.is_empty());
        let bytes = frame.into_message(64, 64).get_segments().bytes();
        assert_eq!(bytes, message(&sent).get_segments().bytes());
    }
}

/// Bytes of a large call, and of a call with a descriptor, as one that sends both together.
fn large_and_with_descriptor() -> (Net, Vec<u8>, Vec<u8>, Vec<std::os::fd::OwnedFd>) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_descriptors(true);
    net.link((0, options.clone()), (1, options.with_bootstrap(root)));
    let conn = net.conn(0, 0);
    let target = net.vats[0].engine.bootstrap(conn);
    net.run();
    let given = net.vats[0].object(4);
    let (_, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs: std::rc::Rc<std::os::fd::OwnedFd> = std::rc::Rc::new(theirs.into());
    net.vats[0].engine.attach_fd(given, theirs);
    send(&mut net, target, 200_000);
    net.vats[0].send(target, 2, &[given]);
    net.pump();
    let large = net.links[0].to[1].pop_front().unwrap();
    let with = net.links[0].to[1].pop_front().unwrap();
    assert_eq!(with.fds.len(), 1);
    (net, large.bytes, with.bytes, with.fds)
}

/// Hands vat 1 what comes, in the room for it where there is some, as long as that is so; the rest.
/// The descriptors come with the first of it.
fn receive_in_room<'b>(
    net: &mut Net,
    mut bytes: &'b [u8],
    mut fds: Vec<std::os::fd::OwnedFd>,
) -> &'b [u8] {
    let conn = net.conn(0, 1);
    let engine = &mut net.vats[1].engine;
    while let Some(room) = engine.receive_room(conn) {
        let count = room.len().min(bytes.len());
        if count == 0 {
            break;
        }
        room[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        engine.handle_received(conn, count, std::mem::take(&mut fds));
    }
    net.vats[1].collect();
    bytes
}

#[test]
fn descriptors_that_come_with_the_end_of_a_message_belong_to_the_one_behind() {
    // What is missing is received in place, all of it or but for the last bytes.
    for first in [80_000, 150_000] {
        for cut in [0, 5, 24] {
            let (mut net, large, with, fds) = large_and_with_descriptor();
            let conn = net.conn(0, 1);
            net.vats[1].feed(conn, &large[..first], Vec::new());
            let together = [&large[first..], &with[..]].concat();
            let rest = receive_in_room(&mut net, &together, fds);
            let (one, other) = rest.split_at(rest.len().min(cut));
            net.vats[1].feed(conn, one, Vec::new());
            net.vats[1].feed(conn, other, Vec::new());
            take!(net.vats[1], Event::Call { caps, .. } => assert!(caps.is_empty()));
            take!(net.vats[1], Event::Call { caps, .. } => {
                assert!(net.vats[1].engine.fd(caps[0]).is_some(), "{first} {cut}");
            });
        }
    }
}

#[test]
fn descriptors_inside_a_message_that_do_not_reach_its_end_end_the_connection() {
    let (mut net, large, _, fds) = large_and_with_descriptor();
    let conn = net.conn(0, 1);
    net.vats[1].feed(conn, &large[..80_000], Vec::new());
    receive_in_room(&mut net, &large[80_000..80_064], fds);
    assert!(net.vats[1].engine.stats(conn).is_none());
}
