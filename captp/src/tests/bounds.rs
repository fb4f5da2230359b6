//! What one peer can make us keep or send, and what must be there for another.

use super::net::{Event, Net, pair, split, take, write};
use crate::captp_capnp::{message, return_};
use crate::connection::framer::Framer;
use crate::message::encode::{Built, new_message};
use crate::{ConnId, ConnOptions, Exception, ExceptionKind, Limits, Transmit};

/// Vat 0 as it offers object 0 to a peer whose messages the test writes.
fn victim(limits: Limits) -> (Net, ConnId) {
    let mut net = Net::new(1);
    let root = net.vats[0].object(0);
    let options = ConnOptions::default()
        .with_bootstrap(root)
        .with_limits(limits);
    let conn = net.vats[0].engine.open(options);
    net.vats[0].release(root);
    (net, conn)
}

fn tell(net: &mut Net, conn: ConnId, fill: impl FnOnce(message::Builder<'_>)) {
    let mut built: Built = new_message(64);
    fill(built.init_root());
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    let bytes = out.take_bytes();
    net.vats[0].feed(conn, &bytes, Vec::new());
    net.vats[0].engine.check().unwrap();
}

/// Whether the last thing that was sent is a Return with an exception, and its reason.
fn refusal(net: &mut Net, conn: ConnId) -> Option<String> {
    let mut out = Transmit::new();
    net.vats[0].engine.poll_transmit(conn, &mut out);
    let (bytes, _) = split(&out.take_bytes()).pop().unwrap();
    let frame = Framer::default().next(&mut &bytes[..], &Limits::default());
    let message = frame.unwrap().unwrap().into_message(8, 64);
    let root: message::Reader<'_> = message.get_root().unwrap();
    let Ok(message::Return(ret)) = root.which() else {
        panic!("not a return");
    };
    match ret.unwrap().which() {
        Ok(return_::Exception(reason)) => {
            let reason = reason.unwrap().get_reason().unwrap();
            Some(reason.to_string().unwrap())
        }
        _ => None,
    }
}

#[test]
fn an_object_stays_as_long_as_a_call_is_on_its_way_to_it() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    for number in [1, 2] {
        let call = vat.call(number, &[], None);
        let object = vat.engine.object(crate::ObjectKey(5));
        vat.engine.send(object, call);
        vat.engine.release(object);
    }
    assert_eq!(vat.take_number(), 1);
    assert_eq!(vat.take_number(), 2);
    let dropped = std::iter::from_fn(|| vat.next());
    let dropped = dropped.filter(|event| matches!(event, Event::Dropped(5)));
    assert_eq!(dropped.count(), 1);
}

#[test]
fn a_peer_that_aborts_leaves_nothing_behind() {
    let (mut net, conn) = victim(Limits::default());
    tell(&mut net, conn, |to| to.init_abort().set_reason("enough"));
    let shown = format!("{:?}", net.vats[0].engine);
    assert!(shown.contains("connections: 0"), "{shown}");
}

#[test]
fn results_that_the_peer_does_not_finish_are_kept_up_to_a_limit() {
    let (mut net, conn) = victim(Limits::default().with_kept_bytes(1_100));
    tell(&mut net, conn, |to| {
        to.init_bootstrap().set_question_id(1000);
    });
    let ask = |net: &mut Net, question: u32| {
        tell(net, conn, |to| {
            let mut call = to.init_call();
            call.set_question_id(question);
            call.set_interface_id(0xaaaa);
            call.set_method_id(3);
            call.reborrow().init_target().set_imported_cap(0);
            write(call.init_params().init_content(), question, &[]);
        });
        let root = net.vats[0].object(0);
        take!(net.vats[0], Event::Call { respond, .. } => {
            net.vats[0].answer(respond, 1, &[root; 8]);
        });
        net.vats[0].release(root);
        refusal(net, conn)
    };
    let refused = (0..100).find_map(|question| Some((question, ask(&mut net, question)?)));
    let (question, reason) = refused.expect("a limit");
    assert!(reason.contains("1100 bytes of unfinished"), "{reason}");
    assert!(question > 0);
    tell(&mut net, conn, |to| to.init_finish().set_question_id(0));
    assert_eq!(ask(&mut net, 200), None, "room again");
}

#[test]
fn an_exception_larger_than_the_peer_accepts_arrives_shortened() {
    let (mut net, boot) = pair();
    net.cut(0);
    net.vats[0].release(boot);
    net.vats[0].events.clear();
    net.vats[1].events.clear();
    let root = net.vats[1].object(0);
    let small = Limits::default().with_message_bytes(4_000);
    let link = net.link(
        (
            0,
            ConnOptions::default().with_hello(true).with_limits(small),
        ),
        (
            1,
            ConnOptions::default().with_hello(true).with_bootstrap(root),
        ),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    let large = Exception::overloaded("ä".repeat(100_000)).with_trace("t".repeat(100_000));
    net.vats[0].send(boot, 1, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => {
        net.vats[1].fail(respond, large.clone());
    });
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(got), .. } => {
        assert_eq!(got.kind(), ExceptionKind::Overloaded);
        assert!(got.reason().starts_with("äää") && got.reason().ends_with("(shortened)"));
    });
    // And as what became of a promise.
    net.vats[0].send(boot, 2, &[]);
    net.run();
    let broken = net.vats[1].engine.broken(large);
    take!(net.vats[1], Event::Call { respond, .. } => {
        net.vats[1].answer(respond, 0, &[broken]);
    });
    net.vats[1].release(broken);
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => {
        net.vats[0].release(caps[0]);
    });
    net.run();
    assert!(net.vats[0].engine.stats(conn).is_some());
}

#[test]
fn embargoes_that_the_peer_does_not_lift_have_a_limit() {
    let (mut net, boot) = pair();
    net.cut(0);
    net.vats[0].release(boot);
    net.vats[0].events.clear();
    net.vats[1].events.clear();
    let root = net.vats[1].object(0);
    let link = net.link(
        (
            0,
            ConnOptions::default().with_limits(Limits::default().with_embargoes(1)),
        ),
        (1, ConnOptions::default().with_bootstrap(root)),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    let mine = net.vats[0].object(5);
    let echoes = [0, 1].map(|number| {
        let (_, echo) = net.vats[0].ask(boot, number, &[mine]);
        net.vats[0].send(echo, 7, &[]);
        echo
    });
    for _ in 0..4 {
        net.deliver(link, 1, "call");
    }
    for _ in 0..2 {
        take!(net.vats[1], Event::Call { caps, respond, .. } => {
            net.vats[1].answer(respond, 0, &caps);
            net.vats[1].release(caps[0]);
        });
    }
    for kind in net.flying(link, 0) {
        net.deliver(link, 0, kind);
    }
    assert_eq!(net.vats[0].engine.stats(conn).unwrap().embargoes, 1);
    net.vats[0].events.clear();
    net.vats[0].send(echoes[1], 8, &[]);
    take!(net.vats[0], Event::Failed { reason, .. } => {
        assert!(reason.reason().contains("1 embargoes"), "{reason}");
    });
}
