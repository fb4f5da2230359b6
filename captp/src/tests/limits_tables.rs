//! Limits of what a connection keeps: calls and their bytes, references in both directions, what
//! waits.

use super::hostile::{Victim, framed};
use super::net::{Event, Net, Respond, take, write};
use crate::{ConnOptions, ExceptionKind, Limits, NodeId, PeerMisbehaved};

/// A vat that offers object 0, and one with these limits that holds it.
fn caller(limits: Limits) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let link = net.link(
        (0, ConnOptions::default().with_limits(limits)),
        (1, ConnOptions::default().with_bootstrap(root)),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    (net, boot)
}

/// A call whose message has about this many bytes.
fn call(question: u32, bytes: u32) -> Vec<u8> {
    framed(|to| {
        let mut call = to.init_call();
        call.set_question_id(question);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let content = call.init_params().init_content();
        content.initn_as::<capnp::data::Builder<'_>>(bytes);
    })
}

/// How many calls have reached an object.
fn delivered(victim: &mut Victim) -> Vec<Respond> {
    let mut calls = Vec::new();
    while let Some(event) = victim.net.vats[0].next() {
        match event {
            Event::Call { respond, .. } => calls.push(respond),
            other => panic!("{other:?}"),
        }
    }
    calls
}

#[test]
fn calls_wait_while_others_with_many_bytes_are_under_way() {
    let mut victim = Victim::new(Limits::default().with_call_bytes_soft(2_500));
    victim.bootstrap();
    for question in 0..6 {
        victim.bytes(&call(question, 1_000));
    }
    let mut calls = delivered(&mut victim);
    assert_eq!(calls.len(), 3, "the third exceeds it");
    let conn = victim.conn;
    assert_eq!(victim.net.vats[0].engine.stats(conn).unwrap().held, 3);
    // One goes, and one comes.
    let done = calls.pop().unwrap();
    victim.net.vats[0].answer(done, 0, &[]);
    assert_eq!(delivered(&mut victim).len(), 1);
    assert_eq!(victim.net.vats[0].engine.stats(conn).unwrap().held, 2);
}

#[test]
fn bytes_of_calls_without_an_answer_have_a_limit() {
    let limits = Limits::default()
        .with_call_bytes_soft(2_500)
        .with_call_bytes(6_000);
    let mut victim = Victim::new(limits);
    victim.bootstrap();
    for question in 0..5 {
        victim.bytes(&call(question, 1_000));
    }
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    victim.bytes(&call(5, 1_000));
    let fault = PeerMisbehaved::TableFull {
        what: "bytes of unanswered calls",
        limit: 6_000,
    };
    assert_eq!(victim.fault(), fault);
}

#[test]
fn what_waits_behind_calls_has_a_limit() {
    let limits = Limits::default().with_answers_soft(1).with_answers(10);
    let mut victim = Victim::new(limits);
    victim.bootstrap();
    // The first gives promises and is under way; the second waits.
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(0);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut caps = call.init_params().init_cap_table(20);
        (0..20).for_each(|id| caps.reborrow().get(id).set_sender_promise(id));
    });
    victim.bytes(&call(1, 10));
    // Where our own object comes back, calls to it must not overtake those that wait.
    for id in 0..20 {
        victim.message(|to| {
            let mut resolve = to.init_resolve();
            resolve.set_promise_id(id);
            resolve.init_cap().set_receiver_hosted(0);
        });
    }
    let held = victim.net.vats[0].engine.stats(victim.conn).unwrap().held;
    assert_eq!(held, 10);
    victim.bytes(&call(2, 10));
    let fault = PeerMisbehaved::TableFull {
        what: "messages that wait for room",
        limit: 10,
    };
    assert_eq!(victim.fault(), fault);
}

#[test]
fn calls_without_an_answer_have_a_limit() {
    let limits = Limits::default().with_questions(3).with_waiting_calls(1);
    let (mut net, boot) = caller(limits);
    for number in 0..4 {
        net.vats[0].send(boot, number, &[]);
    }
    assert!(net.vats[0].next().is_none());
    net.vats[0].send(boot, 4, &[]);
    take!(net.vats[0], Event::Failed { reason } => {
        assert_eq!(reason.kind(), ExceptionKind::Overloaded);
        assert!(reason.reason().contains("1 calls wait for room"), "{reason}");
    });
    net.run();
    for number in 0..4 {
        assert_eq!(net.vats[1].take_number(), number);
        net.run();
    }
    net.run();
    net.vats[0].events.clear();
    net.vats[0].send(boot, 5, &[]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 5, "there is room again");
}

#[test]
fn references_that_a_peer_holds_have_a_limit() {
    let (mut net, boot) = caller(Limits::default().with_exports(3));
    let objects: Vec<NodeId> = (0..4).map(|key| net.vats[0].object(100 + key)).collect();
    net.vats[0].send(boot, 1, &objects[..3]);
    net.vats[0].send(boot, 2, &objects[3..]);
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason.kind(), ExceptionKind::Overloaded);
        assert!(reason.reason().contains("already holds 3 references"), "{reason}");
    });
    // Giving the same one again takes no room, and what comes back makes some.
    net.vats[0].send(boot, 3, &objects[..1]);
    net.run();
    for number in [1, 3] {
        take!(net.vats[1], Event::Call { number: got, caps, respond, .. } => {
            assert_eq!(got, number);
            net.vats[1].answer(respond, 0, &[]);
            caps.into_iter().for_each(|cap| net.vats[1].release(cap));
        });
    }
    net.run();
    net.vats[0].events.clear();
    net.vats[0].send(boot, 4, &objects[3..]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 4);
}

#[test]
fn references_of_a_peer_that_we_hold_have_a_limit() {
    let mut victim = Victim::new(Limits::default().with_imports(3));
    victim.bootstrap();
    let give = |question: u32, id: u32| {
        framed(|to| {
            let mut call = to.init_call();
            call.set_question_id(question);
            call.set_interface_id(0xaaaa);
            call.set_method_id(3);
            call.reborrow().init_target().set_imported_cap(0);
            let params = call.init_params();
            params.init_cap_table(1).get(0).set_sender_hosted(id);
        })
    };
    for id in 0..3 {
        victim.bytes(&give(id, id));
    }
    // One that we hold already is no new one.
    victim.bytes(&give(3, 0));
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    victim.bytes(&give(4, 3));
    let fault = PeerMisbehaved::TableFull {
        what: "references held of the peer",
        limit: 3,
    };
    assert_eq!(victim.fault(), fault);
}

/// A call on what lies at `path` in the answer of `question`.
fn pipelined(victim: &mut Victim, id: u32, question: u32, path: u16) {
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(id);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        let mut answer = call.reborrow().init_target().init_promised_answer();
        answer.set_question_id(question);
        let mut steps = answer.init_transform(1);
        steps.reborrow().get(0).set_get_pointer_field(path);
        write(call.init_params().init_content(), id, &[]);
    });
}

/// How many calls were refused.
fn refused(victim: &mut Victim) -> usize {
    let mut out = crate::Transmit::new();
    let conn = victim.conn;
    victim.net.vats[0].engine.poll_transmit(conn, &mut out);
    let sent = super::net::split(&out.take_bytes());
    sent.iter().filter(|(_, kind)| *kind == "return").count()
}

#[test]
fn references_inside_one_answer_have_a_limit() {
    let mut victim = Victim::new(Limits::default().with_pipeline_depth(3));
    victim.bootstrap();
    victim.call(1, 0);
    refused(&mut victim);
    for path in 0..3 {
        pipelined(&mut victim, 10 + u32::from(path), 1, path);
    }
    assert_eq!(refused(&mut victim), 0);
    pipelined(&mut victim, 13, 1, 3);
    assert_eq!(refused(&mut victim), 1);
}

#[test]
fn references_inside_all_answers_have_a_limit() {
    let mut victim = Victim::new(Limits::default().with_imports(4));
    victim.bootstrap();
    for question in 1..4 {
        victim.call(question, 0);
    }
    refused(&mut victim);
    for path in 0..4 {
        pipelined(
            &mut victim,
            10 + u32::from(path),
            1 + u32::from(path % 2),
            path,
        );
    }
    assert_eq!(refused(&mut victim), 0);
    pipelined(&mut victim, 14, 3, 0);
    assert_eq!(refused(&mut victim), 1);
}

#[test]
fn disembargoes_that_wait_for_promises_have_a_limit() {
    let mut victim = Victim::new(Limits::default());
    let promise = victim.net.vats[0].engine.promise();
    let options = ConnOptions::default()
        .with_bootstrap(promise)
        .with_limits(Limits::default().with_embargoes(2));
    victim.conn = victim.net.vats[0].engine.open(options);
    victim.bootstrap();
    let wait = |victim: &mut Victim| {
        victim.message(|to| {
            let mut disembargo = to.init_disembargo();
            disembargo.reborrow().init_target().set_imported_cap(0);
            disembargo.init_context().set_sender_loopback(7);
        });
    };
    wait(&mut victim);
    wait(&mut victim);
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    wait(&mut victim);
    let fault = PeerMisbehaved::TableFull {
        what: "disembargoes that wait for promises",
        limit: 2,
    };
    assert_eq!(victim.fault(), fault);
}
