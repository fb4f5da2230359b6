//! File descriptors of calls that wait.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::net::{Event, Net, Respond};
use crate::{ConnOptions, Exception, ExceptionKind, Limits, NodeId, Transmit};

fn options(limits: Limits) -> ConnOptions {
    let options = ConnOptions::default().with_descriptors(true);
    options.with_limits(limits)
}

/// Two vats; vat 1 offers object 0, with these limits.
fn pair(limits: Limits) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    net.link(
        (0, options(Limits::default())),
        (1, options(limits).with_bootstrap(root)),
    );
    let boot = net.root(0, 0);
    (net, boot)
}

/// Vat 0 makes a call with two descriptors, and keeps none of them. The other ends.
fn offer_two(net: &mut Net, target: NodeId, number: u32) -> [UnixStream; 2] {
    let key = 1_000 + 2 * u64::from(number);
    let mut caps = Vec::new();
    let ends = [key, key + 1].map(|key| {
        let (ours, passed) = UnixStream::pair().unwrap();
        let object = net.vats[0].object(key);
        net.vats[0].engine.attach_fd(object, Rc::new(passed.into()));
        caps.push(object);
        ours.set_nonblocking(true).unwrap();
        ours
    });
    net.vats[0].send(target, number, &caps);
    caps.into_iter().for_each(|cap| net.vats[0].release(cap));
    ends
}

/// The same, and all messages that follow from it.
fn send_two(net: &mut Net, target: NodeId, number: u32) -> [UnixStream; 2] {
    let ends = offer_two(net, target, number);
    settle(net);
    ends
}

fn settle(net: &mut Net) {
    net.run();
    for vat in &net.vats {
        vat.engine.check().unwrap();
    }
}

/// Whether nobody has the other end any more.
fn is_closed(end: &UnixStream) -> bool {
    match { end }.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            false
        }
    }
}

/// How many calls vat 0 was refused because there are too many descriptors.
fn refusals(net: &mut Net) -> usize {
    let mut refused = 0;
    while let Some(event) = net.vats[0].next() {
        if let Event::Returned { result, .. } = event
            && let Err(reason) = result
        {
            assert_eq!(reason.kind(), ExceptionKind::Overloaded);
            assert!(reason.reason().contains("waiting_fds"), "{reason}");
            refused += 1;
        }
    }
    refused
}

/// The next call at a vat, whose references it lets go of.
fn take_call(net: &mut Net, vat: usize) -> (u32, Respond) {
    loop {
        let event = net.vats[vat].next().expect("a call");
        let Event::Call {
            number,
            caps,
            respond,
            ..
        } = event
        else {
            continue;
        };
        caps.into_iter().for_each(|cap| net.vats[vat].release(cap));
        return (number, respond);
    }
}

#[test]
fn calls_that_wait_for_a_promise_have_so_many_descriptors() {
    let (mut net, boot) = pair(Limits::default().with_waiting_fds(5));
    let (_, pending) = net.vats[0].ask(boot, 1, &[]);
    let waiting: Vec<_> = (2..4).map(|n| send_two(&mut net, pending, n)).collect();
    let refused = send_two(&mut net, pending, 4);
    assert_eq!(refusals(&mut net), 1);
    assert!(refused.iter().all(is_closed));
    assert!(!waiting.iter().flatten().any(is_closed));
    // One without any waits all the same.
    net.vats[0].send(pending, 5, &[]);
    settle(&mut net);
    let (_, first) = take_call(&mut net, 1);
    let object = net.vats[1].object(7);
    net.vats[1].answer(first, 1, &[object]);
    settle(&mut net);
    for number in [2, 3, 5] {
        assert_eq!(take_call(&mut net, 1).0, number);
    }
    settle(&mut net);
    assert!(waiting.iter().flatten().all(is_closed));
    // There is room again.
    let (_, pending) = net.vats[0].ask(boot, 6, &[]);
    let again = send_two(&mut net, pending, 7);
    assert!(!again.iter().any(is_closed));
}

#[test]
fn calls_that_are_held_at_the_soft_limit_have_so_many_descriptors() {
    let limits = Limits::default().with_answers_soft(1).with_waiting_fds(3);
    let (mut net, boot) = pair(limits);
    net.vats[0].send(boot, 1, &[]);
    let waiting = send_two(&mut net, boot, 2);
    let refused = send_two(&mut net, boot, 3);
    assert_eq!(refusals(&mut net), 1);
    assert!(refused.iter().all(is_closed));
    assert!(!waiting.iter().any(is_closed));
    let (_, first) = take_call(&mut net, 1);
    net.vats[1].answer(first, 0, &[]);
    settle(&mut net);
    let (number, _second) = take_call(&mut net, 1);
    assert_eq!(number, 2);
    let again = send_two(&mut net, boot, 4);
    assert!(!again.iter().any(is_closed), "there is room again");
}

#[test]
fn calls_that_need_not_wait_bring_as_many_descriptors_as_they_like() {
    let (mut net, boot) = pair(Limits::default().with_waiting_fds(1));
    for number in 0..10 {
        let ends = send_two(&mut net, boot, number);
        assert!(!ends.iter().any(is_closed));
        assert_eq!(take_call(&mut net, 1).0, number);
    }
}

#[test]
fn calls_that_waited_for_a_promise_that_breaks_count_no_more() {
    let (mut net, boot) = pair(Limits::default().with_waiting_fds(2));
    let (_, pending) = net.vats[0].ask(boot, 1, &[]);
    let _waiting = send_two(&mut net, pending, 2);
    let _refused = send_two(&mut net, pending, 3);
    assert_eq!(refusals(&mut net), 1);
    let (_, first) = take_call(&mut net, 1);
    net.vats[1].fail(first, Exception::failed("no"));
    settle(&mut net);
    let (_, pending) = net.vats[0].ask(boot, 4, &[]);
    let again = send_two(&mut net, pending, 5);
    assert!(!again.iter().any(is_closed));
}

/// Vat 0 calls through vat 1, which offers what vat 2 offers it; the limits are those of vat 1.
fn chain(towards_0: Limits, towards_2: Limits) -> (Net, NodeId) {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    let far = net.link(
        (1, options(towards_2)),
        (2, options(Limits::default()).with_bootstrap(root)),
    );
    let far = net.root(far, 0);
    let near = net.link(
        (0, options(Limits::default())),
        (1, options(towards_0).with_bootstrap(far)),
    );
    let boot = net.root(near, 0);
    (net, boot)
}

#[test]
fn calls_that_wait_for_room_at_the_next_vat_count_where_they_came_from() {
    let (mut net, boot) = chain(
        Limits::default().with_waiting_fds(4),
        Limits::default().with_questions_soft(1),
    );
    net.vats[0].send(boot, 1, &[]);
    net.vats[0].send(boot, 2, &[]);
    settle(&mut net);
    let waiting: Vec<_> = (3..5).map(|n| send_two(&mut net, boot, n)).collect();
    let refused = send_two(&mut net, boot, 5);
    assert_eq!(refusals(&mut net), 1);
    assert!(refused.iter().all(is_closed));
    assert!(!waiting.iter().flatten().any(is_closed));
    for expected in [1, 2] {
        let (number, respond) = take_call(&mut net, 2);
        assert_eq!(number, expected);
        net.vats[2].answer(respond, 0, &[]);
        settle(&mut net);
    }
    // The first of them has left, and makes room although it has no answer.
    net.vats[0].events.clear();
    let next = send_two(&mut net, boot, 6);
    assert!(!next.iter().any(is_closed));
    let _refused = send_two(&mut net, boot, 7);
    assert_eq!(refusals(&mut net), 1);
    for expected in [3, 4, 6] {
        let (number, respond) = take_call(&mut net, 2);
        assert_eq!(number, expected);
        net.vats[2].answer(respond, 0, &[]);
        settle(&mut net);
    }
}

/// Delivers everything on one link, and nothing elsewhere.
fn run_link(net: &mut Net, link: usize) {
    let mut any = true;
    while std::mem::take(&mut any) {
        for end in 0..2 {
            let [(from, here), (to, there)] = [end, 1 - end].map(|end| net.links[link].ends[end]);
            let mut out = Transmit::new();
            net.vats[from].engine.poll_transmit(here, &mut out);
            while let Some((run, fds)) = out.head() {
                let run = run.to_vec();
                let fds = fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
                out.advance(run.len());
                net.vats[to].feed(there, &run, fds);
                any = true;
            }
        }
    }
}

#[test]
fn descriptors_that_a_peer_does_not_take_make_further_ones_wait() {
    let (mut net, boot) = chain(
        Limits::default().with_waiting_fds(4),
        Limits::default().with_waiting_fds(6),
    );
    let mut refused = Vec::new();
    for number in 0..10 {
        let ends = offer_two(&mut net, boot, number);
        run_link(&mut net, 1);
        net.vats[1].engine.check().unwrap();
        if refusals(&mut net) > 0 {
            refused.push(number);
        }
        assert_eq!(ends.iter().all(is_closed), refused.contains(&number));
    }
    let conn = net.conn(0, 0);
    let stats = net.vats[1].engine.stats(conn).unwrap();
    // Three have left, two wait.
    assert_eq!((stats.waiting, &refused[..]), (2, &[5, 6, 7, 8, 9][..]));
    settle(&mut net);
    for expected in 0..5 {
        assert_eq!(take_call(&mut net, 2).0, expected);
    }
}

#[test]
fn calls_that_an_object_passes_on_to_a_promise_count_again() {
    let (mut net, boot) = pair(Limits::default().with_waiting_fds(4));
    let promise = net.vats[1].engine.promise();
    net.vats[1].forward_to = Some(promise);
    let waiting: Vec<_> = (0..2).map(|n| send_two(&mut net, boot, n)).collect();
    let refused = send_two(&mut net, boot, 2);
    assert_eq!(refusals(&mut net), 1);
    assert!(refused.iter().all(is_closed));
    assert!(!waiting.iter().flatten().any(is_closed));
    net.vats[1].forward_to = None;
    let object = net.vats[1].object(7);
    net.vats[1].engine.resolve(promise, Ok(object)).unwrap();
    settle(&mut net);
    for number in 0..2 {
        assert_eq!(take_call(&mut net, 1).0, number);
    }
}

#[test]
fn calls_that_go_back_to_their_caller_and_wait_there_count_too() {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let limits = Limits::default().with_waiting_fds(4).with_questions_soft(1);
    net.link(
        (0, options(Limits::default()).with_hello(true)),
        (1, options(limits).with_hello(true).with_bootstrap(root)),
    );
    net.run();
    let boot = net.root(0, 0);
    let own = net.vats[0].object(9);
    net.vats[0].send(boot, 0, &[own]);
    settle(&mut net);
    let Some(Event::Call { caps, .. }) = net.vats[1].next() else {
        panic!("no call");
    };
    net.vats[1].forward_to = Some(caps[0]);
    // One goes on, and the next one is answered: it is a tail call, as nothing waits before it.
    for number in 1..5 {
        send_two(&mut net, boot, number);
    }
    let conn = net.conn(0, 1);
    assert_eq!(net.vats[1].engine.stats(conn).unwrap().waiting, 3);
    send_two(&mut net, boot, 5);
    let mut served = 0;
    while let Some(event) = net.vats[0].next() {
        if let Event::Call { respond, .. } = event {
            net.vats[0].answer(respond, 0, &[]);
            served += 1;
            settle(&mut net);
        }
    }
    assert_eq!(served, 4, "one was refused");
    send_two(&mut net, boot, 6);
    let Some(Event::Call { .. }) = net.vats[0].next() else {
        panic!("it does not go on");
    };
}

#[test]
fn calls_that_waited_for_a_promise_and_went_on_to_another_vat_count_no_more() {
    let (mut net, _) = chain(Limits::default(), Limits::default());
    let far = net.root(0, 0);
    let object = net.vats[1].object(7);
    let options = options(Limits::default().with_waiting_fds(4)).with_bootstrap(object);
    let link = net.link((0, self::options(Limits::default())), (1, options));
    let own = net.root(link, 0);
    for number in [0, 10] {
        let promise = net.vats[1].engine.promise();
        net.vats[1].forward_to = Some(promise);
        let waiting: Vec<_> = (0..2)
            .map(|n| send_two(&mut net, own, number + n))
            .collect();
        assert_eq!(refusals(&mut net), 0);
        assert!(!waiting.iter().flatten().any(is_closed));
        net.vats[1].engine.resolve(promise, Ok(far)).unwrap();
        settle(&mut net);
        // They are there, and have no answer.
        for n in 0..2 {
            assert_eq!(take_call(&mut net, 2).0, number + n);
        }
    }
}
