//! What the engine understands but does not send itself: tail calls, calls made for pipelining
//! only; and file descriptors.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::hostile::{Victim, write_index};
use super::net::{Event, Net, split, take, write};
use crate::captp_capnp::{message, return_};
use crate::{CloseReason, ConnOptions, Limits, NodeId, PeerMisbehaved, Transmit};

/// Kinds of what the victim has sent.
pub(super) fn sent(victim: &mut Victim) -> Vec<&'static str> {
    let mut out = Transmit::new();
    victim.net.vats[0]
        .engine
        .poll_transmit(victim.conn, &mut out);
    split(&out.take_bytes())
        .into_iter()
        .map(|(_, kind)| kind)
        .collect()
}

/// A victim that has the peer's export 5, and the peer has its object 0 as export 0.
pub(super) fn acquainted() -> (Victim, NodeId) {
    acquainted_with(Limits::default())
}

/// The same with other limits.
pub(super) fn acquainted_with(limits: Limits) -> (Victim, NodeId) {
    let mut victim = Victim::new(limits);
    victim.bootstrap();
    let conn = victim.conn;
    let theirs = victim.net.vats[0].engine.bootstrap(conn);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        let mut results = ret.init_results();
        results
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_hosted(5);
        let mut content = results.init_content();
        use capnp::traits::ImbueMut as _;
        content.imbue_mut(Box::leak(Box::default()));
        content.set_as_capability(crate::cap_hook(NodeId::new(0, 0)));
    });
    assert_eq!(sent(&mut victim), ["return", "bootstrap", "finish"]);
    (victim, theirs)
}

pub(super) fn take_from(to: message::Builder<'_>, question: u32, other: u32) {
    let mut ret: return_::Builder<'_> = to.init_return();
    ret.set_answer_id(question);
    ret.set_take_from_other_question(other);
}

pub(super) fn keep_call(to: message::Builder<'_>, question: u32) {
    let mut call = to.init_call();
    call.set_question_id(question);
    call.set_interface_id(0xaaaa);
    call.set_method_id(3);
    call.reborrow().init_target().set_imported_cap(0);
    call.reborrow().init_send_results_to().set_yourself(());
    write(call.init_params().init_content(), question, &[]);
}

pub(super) fn finish(victim: &mut Victim, question: u32) {
    victim.message(|to| to.init_finish().set_question_id(question));
}

#[test]
fn a_tail_call_of_the_peer_brings_the_results_and_keeps_the_order() {
    for early in [false, true] {
        let (mut victim, theirs) = acquainted();
        let (tag, result) = victim.net.vats[0].ask(theirs, 1, &[]);
        victim.net.vats[0].send(result, 2, &[]);
        assert_eq!(sent(&mut victim), ["call", "call"]);
        victim.message(|to| keep_call(to, 50));
        let respond = take!(victim.net.vats[0], Event::Call { number: 50, respond, .. } => respond);
        let object = victim.net.vats[0].object(9);
        let mut respond = Some(respond);
        if early {
            victim.net.vats[0].answer(respond.take().unwrap(), 77, &[object]);
            assert_eq!(sent(&mut victim), ["return"], "results sent elsewhere");
        }
        victim.message(|to| take_from(to, 0, 50));
        if let Some(respond) = respond {
            assert!(
                sent(&mut victim).is_empty(),
                "as before, until the results are here"
            );
            victim.net.vats[0].answer(respond, 77, &[object]);
            assert_eq!(sent(&mut victim), ["return", "disembargo", "finish"]);
        } else {
            assert_eq!(sent(&mut victim), ["disembargo", "finish"]);
        }
        let caps = take!(victim.net.vats[0], Event::Returned { tag: got, result: Ok((77, caps)) } => {
            assert_eq!(got, tag);
            caps
        });
        // A later call waits for the one that goes through the peer.
        victim.net.vats[0].send(result, 3, &[]);
        assert!(victim.net.vats[0].next().is_none());
        victim.message(|to| {
            let mut call = to.init_call();
            call.set_question_id(51);
            call.set_interface_id(0xaaaa);
            call.set_method_id(3);
            let mut target = call.reborrow().init_target().init_promised_answer();
            target.set_question_id(50);
            target.init_transform(1).get(0).set_get_pointer_field(0);
            write(call.init_params().init_content(), 2, &[]);
        });
        victim.message(|to| {
            let mut disembargo = to.init_disembargo();
            disembargo.reborrow().init_target().set_imported_cap(0);
            disembargo.get_context().set_receiver_loopback(0);
        });
        assert_eq!(victim.net.vats[0].take_number(), 2);
        assert_eq!(victim.net.vats[0].take_number(), 3);
        finish(&mut victim, 50);
        for node in [result, object, theirs].into_iter().chain(caps) {
            victim.net.vats[0].release(node);
        }
        let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
        // The second call of the victim was never answered by this peer.
        assert_eq!(
            (stats.questions, stats.embargoes, stats.imports),
            (1, 0, 0),
            "{stats:?}"
        );
        victim.net.vats[0].engine.check().unwrap();
    }
}

#[test]
fn results_can_be_taken_only_once_and_only_if_they_were_kept() {
    let (mut victim, theirs) = acquainted();
    victim.net.vats[0].send(theirs, 1, &[]);
    victim.net.vats[0].send(theirs, 2, &[]);
    victim.message(|to| keep_call(to, 50));
    victim.message(|to| take_from(to, 0, 50));
    victim.message(|to| take_from(to, 1, 50));
    let mut replies = 0;
    let fault = loop {
        match victim.net.vats[0].next() {
            Some(Event::Closed(_, CloseReason::PeerMisbehaved(fault))) => break fault,
            Some(Event::Returned { result: Err(_), .. }) => replies += 1,
            Some(_) => {}
            None => panic!("not aborted"),
        }
    };
    assert_eq!(
        fault,
        PeerMisbehaved::ResultsNotThere(crate::AnswerId::new(50))
    );
    assert_eq!(replies, 2, "both are lost with the connection");
}

#[test]
fn a_call_for_pipelining_only_is_never_returned() {
    let (mut victim, theirs) = acquainted();
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(1 << 31);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.set_only_promise_pipeline(true);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        params
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_hosted(6);
        write_index(params.init_content());
    });
    let (respond, cap) =
        take!(victim.net.vats[0], Event::Call { respond, caps, .. } => (respond, caps[0]));
    let object = victim.net.vats[0].object(9);
    victim.net.vats[0].answer(respond, 0, &[object]);
    victim.net.vats[0].release(cap);
    assert_eq!(sent(&mut victim), ["release"], "no return");
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(7);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        let mut target = call.reborrow().init_target().init_promised_answer();
        target.set_question_id(1 << 31);
        target.init_transform(1).get(0).set_get_pointer_field(0);
        write(call.init_params().init_content(), 8, &[]);
    });
    take!(victim.net.vats[0], Event::Call { object: 9, number: 8, respond, .. } => {
        victim.net.vats[0].answer(respond, 0, &[]);
    });
    finish(&mut victim, 1 << 31);
    victim.net.vats[0].release(object);
    take!(victim.net.vats[0], Event::Dropped(9) => ());
    victim.net.vats[0].release(theirs);
    let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
    // The bootstrap is the peer's still.
    assert_eq!((stats.answers, stats.exports), (1, 1), "{stats:?}");
}

// ---- file descriptors

fn descriptors() -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_descriptors(true);
    net.link((0, options.clone()), (1, options.with_bootstrap(root)));
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    (net, boot)
}

fn socket() -> (UnixStream, Rc<OwnedFd>) {
    let (one, other) = UnixStream::pair().unwrap();
    (one, Rc::new(other.into()))
}

/// Whether what is written to the descriptor comes out here.
fn leads_to(fd: &OwnedFd, end: &mut UnixStream) -> bool {
    let mut written = UnixStream::from(fd.try_clone().unwrap());
    written.write_all(b"hello").unwrap();
    end.set_nonblocking(true).unwrap();
    let mut seen = [0; 5];
    end.read_exact(&mut seen).is_ok() && &seen == b"hello"
}

/// A vat sends this reference to an object of another; what comes there.
fn give(net: &mut Net, (from, to): (usize, NodeId), at: usize, object: NodeId) -> NodeId {
    net.vats[from].send(to, 1, &[object]);
    net.run();
    take!(net.vats[at], Event::Call { caps, respond, .. } => {
        net.vats[at].answer(respond, 0, &[]);
        caps[0]
    })
}

#[test]
fn the_first_descriptor_stays_with_a_reference_and_later_ones_are_closed() {
    let (mut net, boot) = descriptors();
    let object = net.vats[0].object(4);
    let mut ends = Vec::new();
    let mut given = Vec::new();
    for _ in 0..2 {
        let (mine, theirs) = socket();
        net.vats[0].engine.attach_fd(object, theirs);
        ends.push(mine);
        given.push(give(&mut net, (0, boot), 1, object));
    }
    assert_eq!(net.vats[1].engine.same(given[0], given[1]), Some(true));
    let fd = net.vats[1].engine.fd(given[1]).expect("a descriptor");
    assert!(leads_to(&fd, &mut ends[0]));
    // Nobody has the second one but its sender.
    net.vats[0].release(object);
    given.into_iter().for_each(|node| net.vats[1].release(node));
    net.run();
    assert_eq!(ends[1].read(&mut [0; 9]).unwrap(), 0, "all are closed");
    drop(fd);
    assert_eq!(ends[0].read(&mut [0; 9]).unwrap(), 0);
    net.vats[0].release(boot);
    net.vats[1].events.clear();
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_descriptor_travels_with_its_reference_and_on_through_another_vat() {
    let (mut net, boot) = descriptors();
    net.vats.push(Net::new(1).vats.remove(0));
    let root = net.vats[2].object(20);
    let options = ConnOptions::default().with_descriptors(true);
    let link = net.link((1, options.clone()), (2, options.with_bootstrap(root)));
    net.vats[2].release(root);
    let next = net.root(link, 0);
    let (mut mine, theirs) = socket();
    let object = net.vats[0].object(4);
    net.vats[0].engine.attach_fd(object, theirs);
    let middle = give(&mut net, (0, boot), 1, object);
    assert!(net.vats[1].engine.fd(middle).is_some());
    let last = give(&mut net, (1, next), 2, middle);
    net.vats[0].release(object);
    net.vats[1].release(middle);
    net.run();
    let fd = net.vats[2].engine.fd(last).expect("a descriptor");
    assert!(leads_to(&fd, &mut mine));
    net.vats[2].release(last);
    net.run();
    drop(fd);
    let mut nothing = [0; 1];
    assert_eq!(mine.read(&mut nothing).unwrap(), 0, "all are closed");
    net.vats[1].release(next);
    net.vats[0].release(boot);
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.assert_drained(&[0, 1, 1]);
}

#[test]
fn descriptors_go_to_the_last_message_that_begins_in_the_bytes_received() {
    let (mut net, boot) = descriptors();
    let (_, theirs) = socket();
    let plain = net.vats[0].object(3);
    let with = net.vats[0].object(4);
    net.vats[0].engine.attach_fd(with, Rc::clone(&theirs));
    net.vats[0].send(boot, 1, &[plain]);
    net.vats[0].send(boot, 2, &[with]);
    net.pump();
    let first = net.links[0].to[1].pop_front().unwrap();
    let second = net.links[0].to[1].pop_front().unwrap();
    assert_eq!((first.fds.len(), second.fds.len()), (0, 1));
    let conn = net.conn(0, 1);
    // The kernel may put earlier bytes in front, and end the read inside of the message.
    let cut = 24;
    let joined = [&first.bytes[..], &second.bytes[..cut]].concat();
    net.vats[1].feed(conn, &joined, second.fds);
    net.vats[1].feed(conn, &second.bytes[cut..], Vec::new());
    for expected in [false, true] {
        take!(net.vats[1], Event::Call { caps, .. } => {
            assert_eq!(net.vats[1].engine.fd(caps[0]).is_some(), expected);
        });
    }
}

#[test]
fn descriptors_that_belong_nowhere_end_the_connection() {
    let (mut net, boot) = descriptors();
    net.vats[0].send(boot, 1, &[]);
    net.pump();
    let flying = net.links[0].to[1].pop_front().unwrap();
    let conn = net.conn(0, 1);
    let (_, stray) = socket();
    let stray = Rc::try_unwrap(stray).unwrap();
    net.vats[1].feed(conn, &flying.bytes[..10], Vec::new());
    net.vats[1].feed(conn, &flying.bytes[10..], vec![stray]);
    while let Some(event) = net.vats[1].next() {
        if let Event::Closed(_, reason) = event {
            assert_eq!(
                reason,
                CloseReason::PeerMisbehaved(PeerMisbehaved::UnexpectedFds)
            );
            return;
        }
    }
    panic!("not aborted");
}

#[test]
fn too_many_descriptors_end_the_connection_and_are_closed() {
    let (mut net, boot) = descriptors();
    net.vats[0].send(boot, 1, &[]);
    net.pump();
    let flying = net.links[0].to[1].pop_front().unwrap();
    let conn = net.conn(0, 1);
    let (mut held, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..17 {
        let (mine, theirs) = socket();
        held.push(mine);
        sent.push(Rc::try_unwrap(theirs).unwrap());
    }
    net.vats[1].feed(conn, &flying.bytes, sent);
    assert!(net.vats[1].engine.stats(conn).is_none());
    for mut mine in held {
        assert_eq!(
            mine.read(&mut [0; 1]).unwrap(),
            0,
            "the other end is closed"
        );
    }
}
