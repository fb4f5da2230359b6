//! Calls that go back to who made them: their results stay there.

use super::net::{Event, Net, Respond, take};
use super::random::Random;
use crate::{ConnOptions, Exception, NodeId, NodeState, ObjectKey};

/// Two vats; vat 1 passes every call on to an object of vat 0, with tail calls if so wanted.
struct Mirror {
    net: Net,
    /// The object of vat 1 that vat 0 calls.
    boot: NodeId,
    /// The object of vat 0 that gets the calls.
    mine: NodeId,
}

fn mirror(tail_calls: bool) -> Mirror {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_tail_calls(tail_calls);
    net.link((0, options.clone()), (1, options.with_bootstrap(root)));
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    let mine = net.vats[0].object(4);
    net.vats[0].send(boot, 0, &[mine]);
    net.run();
    let callback = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    net.run();
    take!(net.vats[0], Event::Returned { .. } => ());
    net.vats[1].forward_to = Some(callback);
    Mirror { net, boot, mine }
}

impl Mirror {
    fn sent(&self, vat: usize) -> u64 {
        let stats = self.net.vats[vat].engine.stats(self.net.conn(0, vat));
        stats.unwrap().sent
    }

    /// Calls vat 1, which passes the call on.
    fn send(&mut self, number: u32) -> u32 {
        self.net.vats[0].send(self.boot, number, &[])
    }

    /// The same with a promise for the reference in the result.
    fn call(&mut self, number: u32) -> (u32, NodeId) {
        self.net.vats[0].ask(self.boot, number, &[])
    }

    fn take_call(&mut self, expected: u32) -> Respond {
        take!(self.net.vats[0], Event::Call { object: 4, number, respond, .. } => {
            assert_eq!(number, expected);
            respond
        })
    }

    fn assert_drained(mut self) {
        let callback = self.net.vats[1].forward_to.take().unwrap();
        self.net.vats[1].release(callback);
        self.net.vats[0].release(self.mine);
        self.net.vats[0].release(self.boot);
        self.net.assert_drained(&[0, 1]);
    }
}

#[test]
fn the_results_of_a_tail_call_stay_with_who_made_the_call() {
    let mut mirror = mirror(true);
    let before = mirror.sent(0);
    let tag = mirror.send(1);
    mirror.net.deliver(0, 1, "call");
    assert_eq!(mirror.net.flying(0, 0), ["call", "return"]);
    mirror.net.run();
    let respond = mirror.take_call(1);
    let object = mirror.net.vats[0].object(9);
    mirror.net.vats[0].answer(respond, 77, &[object]);
    mirror.net.vats[0].release(object);
    let got = take!(mirror.net.vats[0], Event::Returned { tag: got, result: Ok((77, caps)) } => {
        assert_eq!(got, tag);
        caps[0]
    });
    assert_eq!(
        mirror.net.vats[0].engine.state(got),
        NodeState::Near(ObjectKey(9))
    );
    assert_eq!(mirror.net.flying(0, 1), ["return", "finish"]);
    mirror.net.run();
    assert_eq!(mirror.sent(0) - before, 3);
    let conn = mirror.net.conn(0, 1);
    let stats = mirror.net.vats[1].engine.stats(conn).unwrap();
    assert_eq!((stats.questions, stats.answers), (0, 0), "{stats:?}");
    mirror.net.vats[0].release(got);
    take!(mirror.net.vats[0], Event::Dropped(9) => ());
    mirror.assert_drained();
}

#[test]
fn without_tail_calls_the_results_go_there_and_back() {
    let mut mirror = mirror(false);
    mirror.send(1);
    mirror.net.deliver(0, 1, "call");
    assert_eq!(mirror.net.flying(0, 0), ["call"]);
    mirror.net.run();
    let respond = mirror.take_call(1);
    mirror.net.vats[0].answer(respond, 77, &[]);
    mirror.net.run();
    take!(mirror.net.vats[0], Event::Returned { result: Ok((77, _)), .. } => ());
    mirror.assert_drained();
}

#[test]
fn vats_use_tail_calls_among_themselves_and_not_with_others() {
    for hello in [false, true] {
        let mut net = Net::new(2);
        let root = net.vats[1].object(0);
        let options = ConnOptions::default().with_hello(hello);
        net.link((0, options.clone()), (1, options.with_bootstrap(root)));
        net.vats[1].release(root);
        let conn = net.conn(0, 0);
        let boot = net.vats[0].engine.bootstrap(conn);
        let mine = net.vats[0].object(4);
        net.vats[0].send(boot, 0, &[mine]);
        net.run();
        net.vats[1].forward_to = take!(net.vats[1], Event::Call { caps, .. } => Some(caps[0]));
        net.vats[0].send(boot, 1, &[]);
        net.deliver(0, 1, "call");
        let expected: &[&str] = match hello {
            true => &["call", "return"],
            false => &["call"],
        };
        assert_eq!(net.flying(0, 0), expected);
    }
}

#[test]
fn an_exception_stays_there_as_well() {
    let mut mirror = mirror(true);
    mirror.send(1);
    mirror.net.run();
    let respond = mirror.take_call(1);
    let reason = Exception::overloaded("no").with_trace("here");
    mirror.net.vats[0].fail(respond, reason.clone());
    take!(mirror.net.vats[0], Event::Returned { result: Err(got), .. } => {
        assert_eq!(got, reason, "nobody has passed it on");
    });
    mirror.assert_drained();
}

/// A reference inside the answer that is given to the vat in between must be able to resolve there.
#[test]
fn a_call_with_promised_references_is_no_tail_call() {
    let mut mirror = mirror(true);
    let (_, result) = mirror.call(1);
    mirror.net.deliver(0, 1, "call");
    assert_eq!(mirror.net.flying(0, 0), ["call"]);
    let callback = mirror.net.vats[1].forward_to.take();
    mirror.net.vats[0].send(mirror.boot, 2, &[result]);
    mirror.net.run();
    let respond = mirror.take_call(1);
    let given = take!(mirror.net.vats[1], Event::Call { number: 2, caps, respond, .. } => {
        mirror.net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    mirror.net.vats[1].engine.when_resolved(given, 70);
    let object = mirror.net.vats[0].object(9);
    mirror.net.vats[0].answer(respond, 77, &[object]);
    mirror.net.run();
    take!(mirror.net.vats[1], Event::Run(70) => ());
    mirror.net.vats[1].release(given);
    let mut caps = vec![result, object];
    while let Some(Event::Returned { result, .. }) = mirror.net.vats[0].next() {
        caps.extend(result.unwrap().1);
    }
    caps.into_iter()
        .for_each(|node| mirror.net.vats[0].release(node));
    mirror.net.vats[1].forward_to = callback;
    mirror.net.vats[0].events.clear();
    mirror.assert_drained();
}

/// Calls on the promised result, made at any time, arrive in order, wherever the result lies.
#[test]
fn calls_pipelined_on_a_call_that_goes_back_keep_their_order() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut mirror = mirror(true);
        let (_, result) = mirror.call(1);
        let (mut sent, mut seen) = (0, Vec::new());
        let mut respond = None;
        // The result is an object of vat 0, a promise of vat 0 for one, or something of vat 1.
        let promise = mirror.net.vats[0].engine.promise();
        let object = mirror.net.vats[0].object(9);
        let to = match seed % 3 {
            0 => object,
            1 => promise,
            _ => mirror.boot,
        };
        for round in 0..60 {
            match random.below(4) {
                0 if sent < 12 => {
                    mirror.net.vats[0].send(result, 100 + sent, &[]);
                    sent += 1;
                }
                1 if round > 10 => {
                    if let Some(respond) = respond.take() {
                        mirror.net.vats[0].answer(respond, 77, &[to]);
                    }
                }
                2 if round == 40 => {
                    let _ = mirror.net.vats[0].engine.resolve(promise, Ok(object));
                }
                _ => {
                    mirror.net.step(|ready| random.below(ready));
                }
            }
            collect(&mut mirror, &mut respond, &mut seen);
        }
        if let Some(respond) = respond.take() {
            mirror.net.vats[0].answer(respond, 77, &[to]);
        }
        let _ = mirror.net.vats[0].engine.resolve(promise, Ok(object));
        mirror.net.run();
        collect(&mut mirror, &mut respond, &mut seen);
        if let Some(respond) = respond.take() {
            mirror.net.vats[0].answer(respond, 77, &[to]);
        }
        for _ in 0..3 {
            mirror.net.run();
            collect(&mut mirror, &mut respond, &mut seen);
        }
        let all: Vec<u32> = (100..100 + sent).collect();
        assert_eq!(seen, all, "seed {seed}");
        for node in [result, promise, object] {
            mirror.net.vats[0].release(node);
        }
        mirror.assert_drained();
    }
}

fn collect(mirror: &mut Mirror, first: &mut Option<Respond>, seen: &mut Vec<u32>) {
    while let Some(event) = mirror.net.vats[0].next() {
        match event {
            Event::Call {
                number: 1, respond, ..
            } => *first = Some(respond),
            Event::Call {
                number, respond, ..
            } => {
                seen.push(number);
                mirror.net.vats[0].answer(respond, 0, &[]);
            }
            Event::Returned {
                result: Ok((_, caps)),
                ..
            } => caps
                .into_iter()
                .for_each(|node| mirror.net.vats[0].release(node)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn cancelling_a_call_that_goes_back_cancels_the_callee_once() {
    // Before the peer has it; while it is on its way back; and at the callee.
    for delivered in 0..3 {
        let mut mirror = mirror(true);
        let (tag, result) = mirror.call(1);
        if delivered > 0 {
            mirror.net.deliver(0, 1, "call");
        }
        if delivered > 1 {
            mirror.net.deliver(0, 0, "call");
        }
        assert!(mirror.net.vats[0].engine.cancel(result));
        assert!(!mirror.net.vats[0].engine.cancel(result));
        mirror.net.run();
        let events = std::mem::take(&mut mirror.net.vats[0].events);
        let (mut cancelled, mut respond) = (Vec::new(), None);
        for event in events {
            match event {
                Event::Returned { tag: got, result } => {
                    assert_eq!(got, tag);
                    assert!(result.unwrap_err().reason().contains("cancel"));
                }
                Event::Cancelled(token) => cancelled.push(token),
                Event::Call { respond: to, .. } => respond = Some(to),
                other => panic!("{other:?}"),
            }
        }
        let Some(Respond::Wire(token)) = respond else {
            panic!("the call did not arrive")
        };
        assert_eq!(cancelled, [token.duplicate()], "after {delivered}");
        assert!(mirror.net.vats[0].engine.is_cancelled(&token));
        let object = mirror.net.vats[0].object(9);
        mirror.net.vats[0].answer(Respond::Wire(token), 77, &[object]);
        mirror.net.vats[0].release(object);
        take!(mirror.net.vats[0], Event::Dropped(9) => ());
        mirror.net.vats[0].release(result);
        mirror.assert_drained();
    }
}

#[test]
fn dropping_the_promise_of_a_call_that_goes_back_cancels_nothing() {
    let mut mirror = mirror(true);
    let (_, result) = mirror.call(1);
    mirror.net.vats[0].release(result);
    mirror.net.run();
    let respond = mirror.take_call(1);
    assert!(mirror.net.vats[0].next().is_none());
    mirror.net.vats[0].answer(respond, 77, &[]);
    mirror.net.run();
    take!(mirror.net.vats[0], Event::Returned { result: Ok((77, _)), .. } => ());
    mirror.assert_drained();
}

#[test]
fn losing_the_connection_ends_a_tail_call_once_on_each_side() {
    for delivered in 0..4 {
        let mut mirror = mirror(true);
        let tag = mirror.send(1);
        for _ in 0..delivered {
            mirror.net.step(|_| 0);
        }
        mirror.net.cut(0);
        let mut failed = Vec::new();
        while let Some(event) = mirror.net.vats[0].next() {
            match event {
                Event::Returned { tag, result } => {
                    assert!(result.unwrap_err().reason().contains("may have run"));
                    failed.push(tag);
                }
                Event::Call { respond, .. } => mirror.net.vats[0].answer(respond, 0, &[]),
                Event::Closed(..) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, [tag]);
        let callback = mirror.net.vats[1].forward_to.take().unwrap();
        mirror.net.vats[1].release(callback);
        for node in [mirror.mine, mirror.boot] {
            mirror.net.vats[0].release(node);
        }
        mirror.net.assert_drained(&[0, 0]);
    }
}

/// Vat 0 calls through vat 1, which proxies for vat 2, and vat 2 passes the call back to vat 1.
#[test]
fn a_call_that_came_from_elsewhere_can_be_answered_by_a_tail_call() {
    let mut net = Net::new(3);
    let options = ConnOptions::default().with_tail_calls(true);
    let root = net.vats[2].object(0);
    net.link(
        (1, options.clone()),
        (2, options.clone().with_bootstrap(root)),
    );
    net.vats[2].release(root);
    let beyond = net.conn(0, 0);
    let through = net.vats[1].engine.bootstrap(beyond);
    let middle = net.vats[1].object(6);
    net.vats[1].send(through, 0, &[middle]);
    net.link((0, options.clone()), (1, options.with_bootstrap(through)));
    let conn = net.conn(1, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    let callback = take!(net.vats[2], Event::Call { caps, respond, .. } => {
        net.vats[2].answer(respond, 0, &[]);
        caps[0]
    });
    net.run();
    take!(net.vats[1], Event::Returned { .. } => ());
    net.vats[2].forward_to = Some(callback);
    let tag = net.vats[0].send(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { object: 6, number: 1, respond, .. } => respond);
    let object = net.vats[1].object(9);
    net.vats[1].answer(respond, 77, &[object]);
    net.vats[1].release(object);
    assert_eq!(net.flying(0, 1), ["return", "finish"], "no results there");
    net.run();
    let got = take!(net.vats[0], Event::Returned { tag: got, result: Ok((77, caps)) } => {
        assert_eq!(got, tag);
        caps[0]
    });
    net.vats[0].send(got, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { object: 9, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
    });
    net.run();
    for node in [got, boot] {
        net.vats[0].release(node);
    }
    net.vats[1].release(middle);
    net.vats[1].release(through);
    net.vats[2].release(callback);
    net.run();
    net.cut(1);
    net.vats[0].events.clear();
    net.assert_drained(&[0, 0, 1]);
}
