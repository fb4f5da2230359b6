//! How slow peers may be, and who is not taken for slow.

use super::*;
use crate::VatConfig;

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A Bootstrap in a message of 8 KiB.
fn large_bootstrap() -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 4, 0, 0]; // one segment of 1024 words
    bytes.extend(&BOOTSTRAP[8..]);
    bytes.resize(8 + 8 * 1024, 0);
    bytes
}

#[test]
fn a_large_message_may_take_longer_if_it_keeps_coming() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_message(Some(millis(200)));
        let (ours, connection) = store(&callee, |boot| Attach::plain(boot).with_timeouts(timeouts));
        for piece in large_bootstrap().chunks(2 << 10) {
            rustix::io::write(&ours, piece).unwrap();
            tokio::time::sleep(millis(120)).await;
        }
        let mut answer = [0; 8];
        let read = timeout(millis(500), async {
            while rustix::net::recv(&ours, &mut answer, rustix::net::RecvFlags::DONTWAIT).is_err() {
                tokio::time::sleep(millis(5)).await;
            }
        });
        assert!(read.await.is_ok(), "no answer");
        assert!(connection.is_open());
    });
}

#[test]
fn a_large_message_that_stops_is_late_however_much_of_it_has_come() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_message(Some(millis(300)));
        let (ours, connection) = store(&callee, |boot| Attach::plain(boot).with_timeouts(timeouts));
        // 128 KiB, of which all but the last word comes in pieces, at 100 KiB a second.
        let mut message = vec![0, 0, 0, 0, 0, 0x40, 0, 0];
        message.resize(128 << 10, 0);
        for piece in message.chunks(10 << 10) {
            rustix::io::write(&ours, piece).unwrap();
            tokio::time::sleep(millis(100)).await;
        }
        assert!(connection.is_open(), "it came fast enough");
        let lasted = lasts(&connection).await;
        assert!(lasted < Duration::from_secs(1), "{lasted:?}");
    });
}

#[test]
fn what_arrives_in_part_on_all_connections_ends_the_one_with_most_at_once() {
    run(async {
        let engine = captp::Config::default().with_in_flight_bytes(350 << 10);
        let callee = Driver::new(Vat::new(VatConfig::new("callee").with_engine(engine)));
        let attach = |boot| Attach::plain(boot).with_timeouts(Timeouts::none());
        let (large, first) = store(&callee, attach);
        let (small, second) = store(&callee, attach);
        let mut message = vec![0, 0, 0, 0, 0, 0, 2, 0]; // one segment of 1 MiB
        message.resize(130 << 10, 0);
        for piece in message.chunks(8 << 10) {
            rustix::io::write(&large, piece).unwrap();
            tokio::time::sleep(millis(2)).await;
        }
        // With 256 KiB there, this one may have no more than the first 64 KiB.
        rustix::io::write(&small, &message[..60 << 10]).unwrap();
        tokio::time::sleep(millis(100)).await;
        assert!(first.is_open() && second.is_open());
        rustix::io::write(&small, &message[..10 << 10]).unwrap();
        let ended = timeout(Duration::from_secs(1), first.gone()).await;
        assert!(ended.is_ok(), "both stay");
        assert!(second.is_open());
    });
}

#[test]
fn a_message_is_not_late_while_nobody_reads_it() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_message(Some(millis(200)));
        let (ours, connection) = store(&callee, |boot| Attach::plain(boot).with_timeouts(timeouts));
        rustix::io::write(&ours, &BOOTSTRAP[..20]).unwrap();
        tokio::time::sleep(millis(50)).await;
        // From now on there is something else to be served first.
        connection.link.input.borrow_mut().end += 1;
        let lasted = timeout(millis(700), lasts(&connection)).await;
        assert!(lasted.is_err(), "ended after {lasted:?}");
        // And then the time begins.
        connection.link.input.borrow_mut().end -= 1;
        callee.0.rouse_watch();
        assert!(lasts(&connection).await >= millis(150));
    });
}

#[test]
fn of_messages_that_come_one_after_the_other_none_is_late() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_message(Some(millis(400)));
        let (ours, connection) = store(&callee, |boot| Attach::plain(boot).with_timeouts(timeouts));
        // There is always one that is not complete, and never the same one for long.
        let mut stream = Vec::new();
        for question in 0..12 {
            let mut message = BOOTSTRAP;
            message[BOOTSTRAP.len() - 8] = question;
            stream.extend(message);
        }
        rustix::io::write(&ours, &stream[..20]).unwrap();
        for piece in stream[20..].chunks(BOOTSTRAP.len()) {
            tokio::time::sleep(millis(100)).await;
            rustix::io::write(&ours, piece).unwrap();
        }
        assert!(connection.is_open());
    });
}

/// What a vat writes first that makes so many calls of `load`.
fn calls_of_load(count: usize, bytes: u32) -> Vec<u8> {
    let vat = Vat::new("caller");
    let conn = vat.engine(|engine| engine.open(ConnOptions::default()));
    let root = vat.engine(|engine| engine.bootstrap(conn));
    let store = StoreRef::from(vat.adopt(root));
    (0..count).for_each(|_| store.load(bytes).detach());
    vat.run(10_000);
    let mut written = Vec::new();
    while let Some(length) = vat.engine(|engine| {
        let (run, _) = engine.transmit_head(conn)?;
        written.extend(run);
        let length = run.len();
        engine.transmit_advance(conn, length);
        Some(length)
    }) {
        assert!(length > 0);
    }
    written
}

#[test]
fn a_peer_that_reads_slowly_is_not_taken_for_one_that_does_not_read() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_stall(Some(millis(400)));
        let (ours, connection) = store(&callee, |boot| Attach::plain(boot).with_timeouts(timeouts));
        let calls = calls_of_load(50, 60 << 10);
        assert_eq!(rustix::io::write(&ours, &calls), Ok(calls.len()));
        let mut read = 0;
        for _ in 0..60 {
            tokio::time::sleep(millis(20)).await;
            read += rustix::io::read(&ours, &mut [0; 16 << 10]).unwrap();
            let stats = callee.vat().engine(|engine| engine.stats(connection.id()));
            assert!(stats.unwrap().outbound_bytes > 0, "nothing waits");
        }
        assert!(connection.is_open());
        assert!(read > 500 << 10, "{read}");
    });
}

#[test]
fn a_connection_that_is_used_now_and_then_is_not_idle() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let timeouts = Timeouts::none().with_idle(Some(millis(200)));
        let attach = |boot| Attach::sibling(boot).with_timeouts(timeouts);
        let (ours, connection) = store(&callee, attach);
        let caller = Driver::new(Vat::new("caller"));
        let stream = Stream::from_socketpair(ours).unwrap();
        let here = caller.attach(stream, Attach::sibling(None));
        for _ in 0..20 {
            let store = StoreRef::from(here.bootstrap().unwrap());
            store.load(1).await.unwrap();
            drop(store);
            tokio::time::sleep(millis(50)).await;
        }
        assert!(connection.is_open());
        let lasted = lasts(&connection).await;
        assert!(lasted < millis(900), "{lasted:?}");
    });
}

#[test]
fn what_a_closed_connection_has_to_say_waits_for_a_second_at_most() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (ours, connection) = store(&callee, Attach::sibling);
        let caller = Driver::new(Vat::new("caller"));
        let stream = Stream::from_socketpair(ours).unwrap();
        let here = caller.attach(stream, Attach::sibling(None));
        let store = StoreRef::from(here.bootstrap().unwrap());
        store.load(1).await.unwrap();
        let calls: Vec<_> = (0..300).map(|_| store.load(20 << 10)).collect();
        caller.flushed(Duration::from_secs(1)).await;
        // From now on nothing is read there.
        here.link.input.borrow_mut().end = 1;
        tokio::time::sleep(millis(200)).await;
        connection.close();
        connection.gone().await;
        tokio::time::sleep(millis(500)).await;
        assert!(connection.link.stream.borrow().is_some(), "it is cut off");
        tokio::time::sleep(millis(800)).await;
        assert!(connection.link.stream.borrow().is_none(), "still there");
        drop(calls);
    });
}

#[test]
fn each_kind_of_connection_has_its_times() {
    let seconds = |number| Some(Duration::from_secs(number));
    let times = |attach: Attach| {
        let Timeouts {
            stall,
            message,
            first_message,
            idle,
        } = attach.timeouts;
        [stall, message, first_message, idle]
    };
    let vat = Vat::new("vat");
    let bootstrap = vat.turn(|turn| Ok(Ref::from(StoreRef::new(turn, Zeros))));
    let called = Attach::network(bootstrap.ok(), true);
    let expected = [seconds(30), seconds(30), seconds(10), seconds(120)];
    assert_eq!(times(called), expected, "where we are called");
    let calling = Attach::network(None, true);
    let expected = [seconds(30), seconds(30), None, seconds(60)];
    assert_eq!(times(calling), expected, "where we call");
    let sibling = Attach::sibling(None);
    let expected = [seconds(30), seconds(30), None, None];
    assert_eq!(times(sibling), expected, "between launcher and child");
    assert_eq!(
        times(Attach::plain(None)),
        times(Attach::network(None, false))
    );
}
