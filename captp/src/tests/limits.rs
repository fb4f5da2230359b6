//! Limits: what waits, what fails, what is aborted, and that nobody else notices.

use super::hostile::{Victim, framed};
use super::net::{Event, Net, Respond, pair, take, write};
use crate::{
    CloseReason, Config, ConnId, ConnOptions, Engine, ExceptionKind, Limits, NodeId,
    PeerMisbehaved, Transmit,
};

pub(super) fn call(question: u32, target: u32, blob: u32) -> Vec<u8> {
    framed(|to| {
        let mut call = to.init_call();
        call.set_question_id(question);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(target);
        let content = call.init_params().init_content();
        match blob {
            0 => write(content, question, &[]),
            _ => drop(content.initn_as::<capnp::data::Builder<'_>>(blob)),
        }
    })
}

/// Two engines; the second gives object 0 with these limits to both its peers.
fn two_callers(limits: &Limits) -> (Net, [usize; 2]) {
    let mut net = Net::new(3);
    let root = net.vats[1].object(0);
    let links = [0, 2].map(|caller| {
        let options = ConnOptions::default().with_bootstrap(root);
        let limits = limits.clone();
        net.link(
            (caller, ConnOptions::default()),
            (1, options.with_limits(limits)),
        )
    });
    (net, links)
}

#[test]
fn returns_finishes_releases_and_resolves_go_on_while_calls_wait() {
    let (mut net, links) = two_callers(&Limits::default().with_answers_soft(1));
    let conn = net.conn(links[0], 0);
    let there = net.conn(links[0], 1);
    let boot = net.vats[0].engine.bootstrap(conn);
    let mine = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[mine]);
    net.vats[0].send(boot, 2, &[]);
    net.run();
    let (respond, caps) = take!(net.vats[1], Event::Call { respond, caps, .. } => (respond, caps));
    assert_eq!(net.vats[1].engine.stats(there).unwrap().held, 1);
    // The second call waits for the first; the first needs an answer of the caller.
    net.vats[1].send(caps[0], 3, &[]);
    net.run();
    net.vats[0]
        .events
        .retain(|event| matches!(event, Event::Call { .. }));
    assert_eq!(net.vats[0].take_number(), 3);
    net.run();
    take!(net.vats[1], Event::Returned { result: Ok(_), .. } => ());
    net.vats[1].release(caps[0]);
    net.vats[1].answer(respond, 0, &[]);
    net.run();
    net.vats[1]
        .events
        .retain(|event| matches!(event, Event::Call { .. }));
    assert_eq!(net.vats[1].take_number(), 2);
}

#[test]
fn a_reference_that_comes_back_does_not_lead_past_calls_that_wait() {
    let (mut net, links) = two_callers(&Limits::default().with_answers_soft(1));
    let (conn, there) = (net.conn(links[0], 0), net.conn(links[0], 1));
    let boot = net.vats[0].engine.bootstrap(conn);
    let echo = net.vats[0].object(7);
    net.vats[0].send(boot, 1, &[echo]);
    net.run();
    let (first, caps) = take!(net.vats[1], Event::Call { respond, caps, .. } => (respond, caps));
    // Vat 1 asks for something; the answer will be its own object.
    let (_, back) = net.vats[1].ask(caps[0], 2, &[]);
    net.run();
    let asked = take!(net.vats[0], Event::Call { respond, .. } => respond);
    net.vats[0].send(boot, 3, &[]);
    net.vats[0].answer(asked, 0, &[boot]);
    net.run();
    assert_eq!(
        net.vats[1].engine.stats(there).unwrap().held,
        2,
        "and a lift"
    );
    net.vats[1].send(back, 4, &[]);
    net.vats[1].answer(first, 0, &[]);
    net.run();
    let mut numbers = Vec::new();
    while let Some(event) = net.vats[1].next() {
        if let Event::Call {
            number, respond, ..
        } = event
        {
            numbers.push(number);
            net.vats[1].answer(respond, 0, &[]);
            net.run();
        }
    }
    assert_eq!(numbers, [3, 4], "in the order in which they were sent");
}

#[test]
fn two_vats_full_of_each_others_calls_go_on() {
    let mut net = Net::new(2);
    let roots = [0, 1].map(|vat: usize| net.vats[vat].object(0));
    let limits = Limits::default().with_answers_soft(1);
    let side = |root| {
        ConnOptions::default()
            .with_bootstrap(root)
            .with_limits(limits.clone())
    };
    let link = net.link((0, side(roots[0])), (1, side(roots[1])));
    let boots = [0, 1].map(|vat: usize| {
        let conn = net.conn(link, vat);
        net.vats[vat].engine.bootstrap(conn)
    });
    for number in 0..200 {
        for vat in [0, 1] {
            net.vats[vat].send(boots[vat], number, &[]);
        }
    }
    let mut answered = [0, 0];
    let mut waiting: [Vec<(Respond, u32)>; 2] = [Vec::new(), Vec::new()];
    // Each call is answered only when the answer to a call of the other side has come.
    for _ in 0..10_000 {
        net.run();
        for vat in [0, 1] {
            while let Some(event) = net.vats[vat].next() {
                match event {
                    Event::Call {
                        respond, number, ..
                    } => waiting[vat].push((respond, number)),
                    Event::Returned { result: Ok(_), .. } => answered[vat] += 1,
                    _ => {}
                }
            }
            if let Some((respond, _)) = waiting[vat].pop() {
                net.vats[vat].answer(respond, 0, &[]);
            }
        }
        if answered == [200, 200] {
            return;
        }
    }
    panic!("{answered:?} of 200 calls were answered");
}

#[test]
fn answers_are_gathered_until_there_are_many() {
    let (mut net, links) = two_callers(&Limits::default());
    let (here, there) = (net.conn(links[0], 0), net.conn(links[0], 1));
    let boot = net.vats[0].engine.bootstrap(here);
    for number in 0..40 {
        net.vats[0].send(boot, number, &[]);
    }
    net.run();
    let mut calls = Vec::new();
    while let Some(event) = net.vats[1].next() {
        if let Event::Call { respond, .. } = event {
            calls.push(respond);
        }
    }
    assert_eq!(calls.len(), 40);
    for respond in calls {
        net.vats[1].answer(respond, 1, &[]);
    }
    let mut out = Transmit::new();
    assert!(net.vats[1].engine.poll_transmit(there, &mut out));
    let bytes = out.take_bytes();
    let taken = net.vats[0].engine.handle_bytes(here, &bytes, Vec::new());
    assert_eq!(taken, bytes.len() / 40 * 7);
}

#[test]
fn calls_wait_while_too_much_waits_to_be_read() {
    let (mut net, links) = two_callers(&Limits::default().with_outbound_soft(1_000));
    let there = net.conn(links[0], 1);
    let mut bytes = framed(|to| to.init_bootstrap().set_question_id(1000));
    (0..20).for_each(|question| bytes.extend(call(question, 0, 0)));
    let vat = &mut net.vats[1];
    let mut rest = &bytes[..];
    let mut served = 0;
    while !rest.is_empty() {
        let taken = vat.engine.handle_bytes(there, rest, Vec::new());
        rest = &rest[taken..];
        while let Some(Event::Call { respond, .. }) = vat.next() {
            served += 1;
            vat.answer(respond, 1, &[]);
        }
    }
    assert!((5..20).contains(&served), "{served} of 20 calls");
    let mut out = Transmit::new();
    while served < 20 {
        assert!(
            vat.engine.poll_transmit(there, &mut out),
            "stuck at {served}"
        );
        out.clear();
        while let Some(Event::Call { respond, .. }) = vat.next() {
            served += 1;
            vat.answer(respond, 1, &[]);
        }
    }
}

#[test]
fn results_for_which_there_is_no_room_fail_and_the_connection_stays() {
    let mut victim = Victim::new(Limits::default().with_outbound_bytes(8_000));
    victim.bootstrap();
    for question in 0..14 {
        victim.call(question, 0);
    }
    let mut calls = Vec::new();
    while let Some(Event::Call { respond, .. }) = victim.net.vats[0].next() {
        calls.push(respond);
    }
    for respond in calls {
        let Respond::Wire(token) = respond else {
            panic!()
        };
        let mut fill = |to: &mut crate::Content| {
            to.data(to.root(), &[0; 600]).unwrap();
            Ok(())
        };
        victim.net.vats[0].engine.answer(token, Ok(&mut fill));
    }
    let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
    assert!((6_000..=8_000).contains(&stats.outbound_bytes), "{stats:?}");
}

#[test]
fn calls_that_wait_for_many_promises_are_refused_beyond_the_limit() {
    let limits = Limits::default().with_pipelined_calls(3);
    let (mut net, links) = two_callers(&limits);
    let conns = [net.conn(links[0], 0), net.conn(links[1], 0)];
    let boot = net.vats[0].engine.bootstrap(conns[0]);
    let other = net.vats[2].engine.bootstrap(conns[1]);
    for number in 0..4 {
        let (_, result) = net.vats[0].ask(boot, number, &[]);
        net.vats[0].send(result, 10 + number, &[]);
    }
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(reason), .. } => {
        assert_eq!(reason.kind(), ExceptionKind::Overloaded);
        assert!(reason.reason().contains("3 calls that wait for promises"), "{reason}");
    });
    // The other peer has its own.
    let (_, result) = net.vats[2].ask(other, 9, &[]);
    net.vats[2].send(result, 19, &[]);
    net.run();
    assert!(net.vats[2].next().is_none(), "it waits");
}

#[test]
fn a_hello_is_small() {
    let mut victim = Victim::new(Limits::default());
    let options = ConnOptions::default().with_hello(true);
    victim.conn = victim.net.vats[0].engine.open(options);
    let words: u32 = 4_096 / 8 + 1;
    let mut bytes = vec![0; 4];
    bytes.extend(words.to_le_bytes());
    victim.bytes(&bytes);
    let fault = PeerMisbehaved::MessageTooLarge {
        bytes: 4_104,
        limit: 4_096,
    };
    assert_eq!(victim.fault(), fault);
}

#[test]
fn the_connection_with_most_in_flight_ends_when_all_together_have_too_much() {
    let mut net = Net::new(1);
    let vat = &mut net.vats[0];
    vat.engine = Engine::new(Config::default().with_in_flight_bytes(100_000));
    let root = vat.object(0);
    let options = ConnOptions::default().with_bootstrap(root);
    let conns: Vec<ConnId> = (0..4).map(|_| vat.engine.open(options.clone())).collect();
    let mut ended = None;
    for conn in &conns {
        vat.feed(
            *conn,
            &framed(|to| to.init_bootstrap().set_question_id(1000)),
            Vec::new(),
        );
    }
    'flood: for question in 0..100 {
        for (at, conn) in conns.iter().enumerate() {
            // The third one makes the largest calls.
            let blob = if at == 2 { 2_000 } else { 500 };
            vat.feed(*conn, &call(question, 0, blob), Vec::new());
            vat.engine.check().unwrap();
            for event in vat.events.drain(..) {
                if let Event::Closed(conn, reason) = event {
                    ended = Some((conn, reason));
                    break 'flood;
                }
            }
        }
    }
    let (conn, reason) = ended.expect("a limit");
    assert_eq!(conn, conns[2]);
    assert!(matches!(
        reason,
        CloseReason::PeerMisbehaved(PeerMisbehaved::TableFull { limit: 100_000, .. })
    ));
    for conn in [conns[0], conns[1], conns[3]] {
        assert!(vat.engine.stats(conn).is_some(), "{conn} ended as well");
    }
}

#[test]
fn our_own_calls_that_wait_for_a_slow_peer_do_not_end_its_connection() {
    let mut net = Net::new(3);
    net.vats[0].engine = Engine::new(Config::default().with_in_flight_bytes(100_000));
    let (root, other) = (net.vats[0].object(0), net.vats[1].object(0));
    let narrow = ConnOptions::default().with_limits(Limits::default().with_questions_soft(1));
    let plain = ConnOptions::default();
    // Vat 1 is slow; vat 2 calls us.
    let slow = net.link((0, narrow), (1, plain.clone().with_bootstrap(other)));
    let busy = net.link((0, plain.clone().with_bootstrap(root)), (2, plain));
    let (to, from) = (net.root(slow, 0), net.root(busy, 1));
    let send = |net: &mut Net, vat: usize, target: NodeId| {
        let mut call = net.vats[vat].call(1, &[], None);
        call.blob = 10_000;
        net.vats[vat].engine.send(target, call);
        net.run();
    };
    let is_open = |net: &Net, link: usize| net.vats[0].engine.stats(net.conn(link, 0)).is_some();
    send(&mut net, 0, to);
    for _ in 0..9 {
        send(&mut net, 0, to);
        send(&mut net, 2, from);
    }
    let slow_conn = net.conn(slow, 0);
    let waiting = |net: &Net| net.vats[0].engine.stats(slow_conn).unwrap().waiting;
    assert_eq!(waiting(&net), 9, "one is under way");
    assert!(
        is_open(&net, slow) && is_open(&net, busy),
        "not even both together"
    );
    send(&mut net, 0, to);
    let reason = loop {
        match net.vats[0].next() {
            Some(Event::Returned {
                result: Err(reason),
                ..
            }) => break reason,
            Some(Event::Call { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reason.kind(), ExceptionKind::Overloaded);
    assert!(reason.reason().contains("in_flight_bytes"), "{reason}");
    assert_eq!(waiting(&net), 9);
    // What the peer causes is another matter.
    send(&mut net, 2, from);
    assert!(is_open(&net, slow) && !is_open(&net, busy));
    // With its connection, what waits is gone.
    net.cut(slow);
    let narrow = ConnOptions::default().with_limits(Limits::default().with_questions_soft(1));
    let options = ConnOptions::default().with_bootstrap(other);
    let again = net.link((0, narrow), (1, options));
    let to = net.root(again, 0);
    for _ in 0..3 {
        send(&mut net, 0, to);
    }
    let stats = net.vats[0].engine.stats(net.conn(again, 0)).unwrap();
    assert_eq!(stats.waiting, 2);
}

#[test]
fn what_is_waiting_is_dropped_with_its_connection() {
    let (mut net, boot) = pair();
    net.cut(0);
    net.vats[0].release(boot);
    net.vats[0].events.clear();
    net.vats[1].events.clear();
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_bootstrap(root);
    let limits = Limits::default().with_answers_soft(1);
    let link = net.link(
        (0, ConnOptions::default()),
        (1, options.with_limits(limits)),
    );
    let conn = net.conn(link, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    let mine = net.vats[0].object(5);
    for number in 0..5 {
        net.vats[0].send(boot, number, &[mine]);
    }
    net.run();
    let (respond, caps) = take!(net.vats[1], Event::Call { respond, caps, .. } => (respond, caps));
    net.cut(link);
    net.vats[1].answer(respond, 0, &[]);
    net.vats[1].release(caps[0]);
    net.vats[1].release(root);
    net.vats[0].release(mine);
    net.vats[0].release(boot);
    while net.vats[1]
        .next()
        .is_some_and(|event| !matches!(event, Event::Call { .. }))
    {}
    net.assert_drained(&[0, 0]);
}
