//! Limits of a single message: segments, depth, how often it may be read, what it may carry.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::hostile::{Victim, framed};
use super::net::{Event, Net, take, write};
use crate::captp_capnp::{call, message};
use crate::message::encode::{Built, new_message};
use crate::{ConnOptions, Incoming, Limits, NodeId, Output, Payload, PeerMisbehaved, Transmit};

/// The same message in this many segments more, all empty: it is not one of the frequent ones.
fn with_empty_segments(bytes: &[u8], more: u32) -> Vec<u8> {
    let (length, content) = (&bytes[4..8], &bytes[8..]);
    let mut all = more.to_le_bytes().to_vec();
    all.extend(length);
    all.resize((4 + 4 * (more as usize + 1)).next_multiple_of(8), 0);
    all.extend(content);
    all
}

/// A call of method 3 on export 0, in one segment.
fn call(fill: impl FnOnce(call::Builder<'_>)) -> Vec<u8> {
    let mut built: Built = new_message(1 << 16);
    let mut call = built.init_root::<message::Builder<'_>>().init_call();
    call.set_question_id(5);
    call.set_interface_id(0xaaaa);
    call.set_method_id(3);
    call.reborrow().init_target().set_imported_cap(0);
    fill(call);
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    out.take_bytes()
}

/// The parameters of a call, as they reach an object.
fn params(victim: &mut Victim, bytes: &[u8]) -> Payload {
    let engine = &mut victim.net.vats[0].engine;
    let taken = engine.handle_bytes(victim.conn, bytes, Vec::new());
    assert_eq!(taken, bytes.len());
    loop {
        match engine.poll_output().expect("a call") {
            Output::Deliver {
                call: Incoming::Wire(call),
                ..
            } => return call.params,
            _ => continue,
        }
    }
}

#[test]
fn a_message_has_only_so_many_segments() {
    let mut victim = Victim::new(Limits::default().with_segments(3));
    let bootstrap = framed(|to| to.init_bootstrap().set_question_id(1000));
    victim.bytes(&with_empty_segments(&bootstrap, 2));
    victim.call(1, 0);
    take!(victim.net.vats[0], Event::Call { .. } => ());
    victim.bytes(&with_empty_segments(&bootstrap, 3));
    assert_eq!(victim.fault(), PeerMisbehaved::TooManySegments(3));
}

#[test]
fn the_path_of_a_pipelined_call_has_only_so_many_steps() {
    // Eight steps are read by the shortcut for frequent messages; nine are not, nor are segments.
    for (limit, more) in [(7, 0), (8, 0), (7, 1), (8, 1)] {
        let mut victim = Victim::new(Limits::default().with_nesting(limit));
        victim.bootstrap();
        let along = |steps: u16| {
            call(|mut call| {
                let mut answer = call.reborrow().init_target().init_promised_answer();
                answer.set_question_id(1000);
                let mut path = answer.init_transform(u32::from(steps));
                for step in 0..u32::from(steps) {
                    path.reborrow().get(step).set_get_pointer_field(0);
                }
                write(call.init_params().init_content(), 0, &[]);
            })
        };
        victim.bytes(&with_empty_segments(&along(limit), more));
        assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
        victim.bytes(&with_empty_segments(&along(limit + 1), more));
        assert_eq!(
            victim.fault(),
            PeerMisbehaved::TableFull {
                what: "steps in the path of a pipelined call",
                limit: usize::from(limit),
            }
        );
    }
}

/// How many structs inside each other can be read.
fn depth(payload: &Payload) -> usize {
    let Ok(mut inner) = payload.content().unwrap().get_as::<message::Reader<'_>>() else {
        return 0;
    };
    // The last one reads as if it held itself.
    for depth in 1..100 {
        match inner.which() {
            Ok(message::Unimplemented(Ok(next))) => inner = next,
            _ => return depth,
        }
    }
    100
}

#[test]
fn what_lies_too_deep_cannot_be_read() {
    let nested = call(|call| {
        let content = call.init_params().init_content();
        let mut inner: message::Builder<'_> = content.init_as();
        for _ in 0..60 {
            inner = inner.init_unimplemented();
        }
    });
    for more in [0, 1] {
        let mut victim = Victim::new(Limits::default().with_nesting(20));
        victim.bootstrap();
        let payload = params(&mut victim, &with_empty_segments(&nested, more));
        let depth = depth(&payload);
        assert!((15..=20).contains(&depth), "{depth} of 20");
        assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    }
}

#[test]
fn a_message_can_be_read_only_so_often() {
    const BYTES: u32 = 64 << 10;
    let large = call(|call| {
        let content = call.init_params().init_content();
        content.initn_as::<capnp::data::Builder<'_>>(BYTES);
    });
    for more in [0, 1] {
        let mut victim = Victim::new(Limits::default().with_traversal_factor(3));
        victim.bootstrap();
        let payload = params(&mut victim, &with_empty_segments(&large, more));
        let read = || {
            let content = payload.content()?;
            content.get_as::<capnp::data::Reader<'_>>().map(<[u8]>::len)
        };
        let times = (0..100).take_while(|_| read().is_ok()).count();
        assert!((2..=3).contains(&times), "{times} times");
        let error = read().unwrap_err().to_string();
        assert!(error.contains("Read limit"), "{error}");
        assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    }
}

fn descriptor() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

#[test]
fn more_descriptors_than_allowed_with_one_message_end_the_connection() {
    let limits = Limits::default().with_fds_per_message(2);
    let mut victim = Victim::new(limits.clone());
    let options = ConnOptions::default()
        .with_bootstrap(victim.root)
        .with_limits(limits)
        .with_descriptors(true);
    let vat = &mut victim.net.vats[0];
    victim.conn = vat.engine.open(options);
    let bootstrap = |question| framed(|to| to.init_bootstrap().set_question_id(question));
    let two = vec![descriptor(), descriptor()];
    vat.feed(victim.conn, &bootstrap(1), two);
    assert!(vat.engine.stats(victim.conn).is_some());
    let three = vec![descriptor(), descriptor(), descriptor()];
    vat.feed(victim.conn, &bootstrap(2), three);
    assert_eq!(victim.fault(), PeerMisbehaved::TooManyFds(3));
}

/// Vat 0 calls vat 1 with descriptors attached to this many references.
fn send_with_descriptors(count: u64) -> (Net, Vec<NodeId>) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = || ConnOptions::default().with_descriptors(true);
    let narrow = Limits::default().with_fds_per_message(2);
    let link = net.link(
        (0, options().with_limits(narrow)),
        (1, options().with_bootstrap(root)),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    let objects: Vec<NodeId> = (0..count)
        .map(|key| {
            let object = net.vats[0].object(100 + key);
            net.vats[0].engine.attach_fd(object, Rc::new(descriptor()));
            object
        })
        .collect();
    net.vats[0].send(boot, 1, &objects);
    net.run();
    (net, objects)
}

#[test]
fn a_call_with_more_descriptors_than_allowed_fails_alone() {
    let (mut net, _) = send_with_descriptors(2);
    let caps = take!(net.vats[1], Event::Call { caps, .. } => caps);
    assert!(caps.iter().all(|cap| net.vats[1].engine.fd(*cap).is_some()));

    let (mut net, _) = send_with_descriptors(3);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert!(reason.reason().contains("more than 2 file descriptors"), "{reason}");
    });
    let conn = net.conn(0, 0);
    assert!(net.vats[0].engine.stats(conn).is_some());
}
