//! Messages that have arrived in part, of many peers at once: what they hold is bounded.

use super::net::{Event, Net, Vat};
use crate::{CloseReason, Config, ConnId, ConnOptions, Engine, PeerMisbehaved};

const IN_FLIGHT: usize = 1 << 20;

/// A vat with little room for what is in flight, and this many connections.
fn crowd(connections: usize) -> (Net, Vec<ConnId>) {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    vat.engine = Engine::new(Config::default().with_in_flight_bytes(IN_FLIGHT));
    let root = vat.object(0);
    let options = ConnOptions::default().with_bootstrap(root);
    let open = |_| vat.engine.open(options.clone());
    let conns = (0..connections).map(open).collect();
    (net, conns)
}

/// The beginning of a message of one segment of `bytes`, up to its last word.
fn all_but_the_end(bytes: u32) -> Vec<u8> {
    let mut begun = vec![0; 4];
    begun.extend((bytes / 8).to_le_bytes());
    begun.resize(bytes as usize, 0);
    begun
}

/// The connections that have ended since the last time, and that they were told why.
fn ended(vat: &mut Vat) -> Vec<ConnId> {
    vat.engine.check().unwrap();
    let mut ended = Vec::new();
    while let Some(event) = vat.next() {
        let Event::Closed(conn, CloseReason::PeerMisbehaved(fault)) = event else {
            panic!("{event:?}");
        };
        let PeerMisbehaved::TableFull { what, limit } = &fault else {
            panic!("{fault}");
        };
        assert_eq!(*limit, IN_FLIGHT);
        assert!(what.contains("arrived in part"), "{fault}");
        ended.push(conn);
    }
    ended
}

#[test]
fn messages_that_stop_before_their_end_count_and_the_largest_ends() {
    let (mut net, conns) = crowd(41);
    let vat = &mut net.vats[0];
    let (honest, hostile) = conns.split_first().unwrap();
    let small = super::hostile::framed(|to| to.init_bootstrap().set_question_id(1));
    let (begin, end) = small.split_at(20);
    vat.feed(*honest, begin, Vec::new());
    let mut over = Vec::new();
    for conn in hostile {
        vat.feed(*conn, &all_but_the_end(128 << 10), Vec::new());
        over.extend(ended(vat));
    }
    // Seven of 128 KiB and a small one fit into 1 MiB.
    assert_eq!(over.len(), 40 - 7);
    assert!(!over.contains(honest));
    vat.feed(*honest, end, Vec::new());
    assert_eq!(vat.engine.stats(*honest).unwrap().received, 1);
    assert_eq!(ended(vat), []);
}

#[test]
fn room_for_what_has_not_arrived_counts_as_well() {
    let (mut net, conns) = crowd(12);
    let vat = &mut net.vats[0];
    let mut over = Vec::new();
    for conn in &conns {
        // Room for 64 KiB is there with the first byte, and for as much again when that is full.
        vat.feed(
            *conn,
            &all_but_the_end(1 << 20)[..(64 << 10) + 8],
            Vec::new(),
        );
        assert_eq!(ended(vat), []);
    }
    for conn in &conns {
        if let Some(room) = vat.engine.receive_room(*conn) {
            assert_eq!(room.len(), 64 << 10);
        }
        vat.collect();
        over.extend(ended(vat));
    }
    // Eight would fit but for the segment tables.
    let open = conns.iter().filter(|conn| !over.contains(conn));
    let weight: usize = open.clone().map(|_| 128 << 10).sum();
    assert!((IN_FLIGHT / 2..=IN_FLIGHT).contains(&weight), "{weight}");
    assert!(open.count() < 12);
}

#[test]
fn a_message_that_grows_where_it_stays_ends_the_largest() {
    let (mut net, conns) = crowd(2);
    let vat = &mut net.vats[0];
    for (conn, most) in conns.iter().zip([300 << 10, 900 << 10]) {
        vat.feed(*conn, &all_but_the_end(1 << 20)[..64], Vec::new());
        let mut arrived = 0;
        while arrived < most {
            let Some(room) = vat.engine.receive_room(*conn) else {
                break;
            };
            let count = room.len().min(most - arrived);
            room[..count].fill(0);
            arrived += count;
            assert!(!vat.engine.handle_received(*conn, count, Vec::new()));
            vat.engine.check().unwrap();
        }
    }
    vat.collect();
    assert_eq!(ended(vat), [conns[1]]);
}

#[test]
fn a_peer_that_sends_whole_messages_does_not_end_for_those_that_do_not() {
    let (mut net, conns) = crowd(20);
    let vat = &mut net.vats[0];
    let (honest, hostile) = conns.split_first().unwrap();
    let bootstrap = super::hostile::framed(|to| to.init_bootstrap().set_question_id(1));
    vat.feed(*honest, &bootstrap, Vec::new());
    // Its calls are more than any single message of the others.
    for question in 2..5 {
        vat.feed(
            *honest,
            &super::limits::call(question, 0, 100_000),
            Vec::new(),
        );
    }
    let calls: Vec<Event> = vat.events.drain(..).collect();
    assert_eq!(calls.len(), 3);
    let mut over = Vec::new();
    for conn in hostile {
        vat.feed(*conn, &all_but_the_end(100_000), Vec::new());
        over.extend(ended(vat));
    }
    assert!(!over.contains(honest));
    assert_eq!(over.len(), 19 - 7);
}
