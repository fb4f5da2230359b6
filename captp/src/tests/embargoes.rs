//! The rules of embargoes, one by one: when calls are held back, until when, and when not.

use super::hostile::Victim;
use super::net::{Event, Net, pair, take};
use super::random::Random;
use super::rare::{acquainted, acquainted_with, sent};
use crate::{Exception, Limits, NodeId, PeerMisbehaved};

/// Vat 0 gives vat 1 these references, and gets promises for others back: what vat 1 has of vat 0,
/// its own promises, and what vat 0 has of them.
struct Given {
    net: Net,
    boot: NodeId,
    /// At vat 1: what vat 0 gave.
    theirs: Vec<NodeId>,
    /// At vat 1: promises.
    own: Vec<NodeId>,
    /// At vat 0: the same promises.
    held: Vec<NodeId>,
}

fn given(give: impl FnOnce(&mut Net) -> Vec<NodeId>, promises: usize) -> Given {
    let (mut net, boot) = pair();
    let nodes = give(&mut net);
    net.vats[0].send(boot, 1000, &nodes);
    net.run();
    let mut own = Vec::new();
    let theirs = take!(net.vats[1], Event::Call { caps, respond, .. } => {
        own.extend((0..promises).map(|_| net.vats[1].engine.promise()));
        net.vats[1].answer(respond, 0, &own);
        caps
    });
    net.run();
    let held = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps);
    Given {
        net,
        boot,
        theirs,
        own,
        held,
    }
}

impl Given {
    fn resolve(&mut self, vat: usize, promise: NodeId, to: NodeId) {
        self.net.vats[vat].engine.resolve(promise, Ok(to)).unwrap();
    }

    /// Numbers of the calls that vat 0 has got; they are answered.
    fn numbers(&mut self) -> Vec<u32> {
        let mut seen = Vec::new();
        while let Some(event) = self.net.vats[0].next() {
            if let Event::Call {
                number, respond, ..
            } = event
            {
                seen.push(number);
                self.net.vats[0].answer(respond, 0, &[]);
            }
        }
        seen
    }

    /// Gives everything back but `kept` of vat 0, which are given too.
    fn assert_drained(mut self, kept: &[NodeId]) {
        self.net.run();
        for node in self.theirs.drain(..).chain(self.own.drain(..)) {
            self.net.vats[1].release(node);
        }
        for node in self.held.drain(..).chain(kept.iter().copied()) {
            self.net.vats[0].release(node);
        }
        self.net.vats[0].release(self.boot);
        self.net.assert_drained(&[0, 1]);
    }
}

/// The way of a call through a promise of the caller that has itself become one of the peer, which
/// has come home: calls sent the long way must not be overtaken when the first embargo is lifted.
#[test]
fn what_is_behind_an_embargo_may_have_become_something_of_the_peer_and_come_home() {
    let mut promise = None;
    let mut object = None;
    let mut given = given(
        |net| {
            let nodes = vec![net.vats[0].engine.promise(), net.vats[0].object(9)];
            promise = Some(nodes[0]);
            object = Some(nodes[1]);
            nodes
        },
        2,
    );
    let (promise, object) = (promise.unwrap(), object.unwrap());
    let (far, other) = (given.held[0], given.held[1]);
    given.net.vats[0].send(far, 0, &[]);
    given.resolve(1, given.own[0], given.theirs[0]);
    given.net.deliver(0, 0, "resolve");
    // The call and the disembargo are on their way.
    assert_eq!(given.net.flying(0, 1), ["call", "disembargo", "release"]);
    given.resolve(0, promise, other);
    given.resolve(1, given.own[1], given.theirs[1]);
    given.net.deliver(0, 0, "resolve");
    given.net.deliver(0, 1, "call");
    given.net.deliver(0, 1, "disembargo");
    for number in 1..8 {
        given.net.step(|_| 0);
        given.net.vats[0].send(far, number, &[]);
    }
    given.net.run();
    assert_eq!(given.numbers(), [0, 1, 2, 3, 4, 5, 6, 7]);
    given.assert_drained(&[promise, object]);
}

/// What the peer sent to a reference of ours before it gave it to us arrives before what we send.
#[test]
fn a_reference_of_ours_that_the_peer_gives_back_waits_for_what_the_peer_sent_there() {
    let mut made = Vec::new();
    let mut given = given(
        |net| {
            made = vec![net.vats[0].engine.promise(), net.vats[0].object(9)];
            made.clone()
        },
        1,
    );
    given.resolve(0, made[0], given.held[0]);
    given.resolve(1, given.own[0], given.theirs[1]);
    given.net.deliver(0, 0, "resolve");
    // Vat 1 does not know yet that the promise of vat 0 has become its own.
    given.net.vats[1].send(given.theirs[0], 0, &[]);
    given.net.vats[1].send(given.theirs[1], 500, &[given.theirs[0]]);
    given.net.deliver(0, 0, "call");
    given.net.deliver(0, 0, "call");
    let back = take!(given.net.vats[0], Event::Call { number: 500, caps, respond, .. } => {
        given.net.vats[0].answer(respond, 0, &[]);
        caps[0]
    });
    given.net.vats[0].send(back, 1, &[]);
    given.net.run();
    given.net.vats[0].send(back, 2, &[]);
    assert_eq!(given.numbers(), [0, 1, 2]);
    given.held.push(back);
    given.net.run();
    given.net.vats[1].events.clear();
    given.assert_drained(&made);
}

/// What comes home may itself point back to the peer: then the peer's object gets the calls, and in
/// order too, although the new way is shorter.
#[test]
fn something_reflected_that_points_back_to_the_peer_is_embargoed_too() {
    for seed in 0..200 {
        let as_answer = seed % 2 == 1;
        let mut random = Random::new(seed);
        let mut promise = None;
        let mut given = given(
            |net| {
                promise = Some(net.vats[0].engine.promise());
                vec![promise.unwrap(), net.vats[0].object(3)]
            },
            1,
        );
        let promise = promise.unwrap();
        let (far, boot) = (given.held[0], given.boot);
        let mut result = None;
        let mut todo = vec!["resolve there", "resolve here"];
        let mut seen = Vec::new();
        for number in 0..20 {
            given.net.vats[0].send(far, number, &[]);
            for _ in 0..random.below(4) {
                given.net.step(|ready| random.below(ready));
            }
            if number > 2 && !todo.is_empty() && random.below(3) == 0 {
                match todo.remove(random.below(todo.len())) {
                    "resolve there" if as_answer => {
                        let object = given.theirs[1];
                        let (_, asked) = given.net.vats[1].ask(object, 500, &[]);
                        given.resolve(1, given.own[0], asked);
                        result = Some(asked);
                    }
                    "resolve there" => given.resolve(1, given.own[0], given.theirs[0]),
                    _ => given.resolve(0, promise, boot),
                }
            }
            given.serve(promise, &mut seen);
        }
        for _ in 0..4 {
            given.net.run();
            given.serve(promise, &mut seen);
        }
        if todo.is_empty() {
            assert_eq!(seen, (0..20).collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(given.net.vats[0].engine.same(far, boot), Some(true));
        } else {
            assert!(seen.is_empty());
            continue;
        }
        given.theirs.extend(result);
        let object = given.net.vats[0].object(3);
        given.net.vats[0].release(object);
        given.assert_drained(&[promise, object]);
    }
}

impl Given {
    /// Vat 0 answers call 500 with the promise; numbers of the calls that vat 1 got.
    fn serve(&mut self, promise: NodeId, seen: &mut Vec<u32>) {
        while let Some(event) = self.net.vats[0].next() {
            if let Event::Call {
                number: 500,
                respond,
                ..
            } = event
            {
                self.net.vats[0].answer(respond, 0, &[promise]);
            }
        }
        while let Some(event) = self.net.vats[1].next() {
            match event {
                Event::Call {
                    number, respond, ..
                } => {
                    seen.push(number);
                    self.net.vats[1].answer(respond, 0, &[]);
                }
                Event::Returned { result, .. } => {
                    for node in result.unwrap().1 {
                        self.net.vats[1].release(node);
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_promise_that_breaks_under_an_embargo_fails_all_calls_and_nothing_else() {
    let mut promise = None;
    let mut given = given(
        |net| {
            promise = Some(net.vats[0].engine.promise());
            vec![promise.unwrap()]
        },
        1,
    );
    let promise = promise.unwrap();
    let far = given.held[0];
    given.net.vats[0].send(far, 0, &[]);
    given.resolve(1, given.own[0], given.theirs[0]);
    given.net.deliver(0, 0, "resolve");
    given.net.vats[0].send(far, 1, &[]);
    let reason = Exception::failed("no longer");
    given.net.vats[0]
        .engine
        .resolve(promise, Err(reason.clone()))
        .unwrap();
    given.net.vats[0].send(far, 2, &[]);
    given.net.run();
    given.net.vats[0].send(far, 3, &[]);
    let mut failed = 0;
    while let Some(event) = given.net.vats[0].next() {
        match event {
            Event::Returned {
                result: Err(got), ..
            }
            | Event::Failed { reason: got } => {
                assert_eq!(got.reason(), reason.reason());
                failed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failed, 4);
    given.net.vats[0].send(given.boot, 4, &[]);
    given.net.run();
    assert_eq!(given.net.vats[1].take_number(), 4);
    given.net.run();
    given.net.vats[0].events.clear();
    given.assert_drained(&[promise]);
}

#[test]
fn nothing_is_sent_to_lift_an_embargo_on_null() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[]));
    net.deliver(0, 0, "return");
    assert!(!net.flying(0, 1).contains(&"disembargo"));
}

// ---- what a Disembargo of the peer points to

fn disembargo(victim: &mut Victim, export: u32) {
    victim.message(|to| {
        let mut disembargo = to.init_disembargo();
        disembargo.reborrow().init_target().set_imported_cap(export);
        disembargo.get_context().set_sender_loopback(3);
    });
}

/// A victim that has given the peer a promise as export 1, and the promise.
fn promised() -> (Victim, NodeId, NodeId) {
    let (mut victim, theirs) = acquainted();
    let promise = victim.net.vats[0].engine.promise();
    victim.net.vats[0].send(theirs, 1, &[promise]);
    assert_eq!(sent(&mut victim), ["call"]);
    (victim, theirs, promise)
}

#[test]
fn a_disembargo_to_a_promise_follows_the_calls_before_it_one_step() {
    let (mut victim, theirs, promise) = promised();
    victim.call(20, 1);
    disembargo(&mut victim, 1);
    assert!(sent(&mut victim).is_empty(), "it waits");
    victim.net.vats[0]
        .engine
        .resolve(promise, Ok(theirs))
        .unwrap();
    assert_eq!(sent(&mut victim), ["call", "disembargo", "resolve"]);
}

#[test]
fn a_disembargo_to_a_promise_that_breaks_comes_back() {
    let (mut victim, _, promise) = promised();
    disembargo(&mut victim, 1);
    victim.net.vats[0]
        .engine
        .resolve(promise, Err(Exception::failed("no")))
        .unwrap();
    assert_eq!(sent(&mut victim), ["disembargo", "resolve"]);
    disembargo(&mut victim, 1);
    assert_eq!(
        sent(&mut victim),
        ["disembargo"],
        "and to one that is broken"
    );
}

#[test]
fn a_disembargo_to_a_promise_that_turns_out_not_to_point_back_ends_the_connection() {
    let (mut victim, _, promise) = promised();
    disembargo(&mut victim, 1);
    let object = victim.net.vats[0].object(9);
    victim.net.vats[0]
        .engine
        .resolve(promise, Ok(object))
        .unwrap();
    assert_eq!(victim.fault(), PeerMisbehaved::DisembargoTarget);
}

#[test]
fn a_disembargo_waits_behind_as_many_calls_as_may_wait() {
    let (mut victim, theirs, promise) = promised();
    let most = u32::try_from(Limits::default().pipeline_depth).unwrap();
    for question in 0..=most {
        victim.call(20 + question, 1);
    }
    assert_eq!(sent(&mut victim), ["return"], "one call too many");
    disembargo(&mut victim, 1);
    assert!(sent(&mut victim).is_empty(), "it waits");
    victim.net.vats[0]
        .engine
        .resolve(promise, Ok(theirs))
        .unwrap();
    let sent = sent(&mut victim);
    assert_eq!(sent.len(), most as usize + 2);
    assert_eq!(sent[most as usize..], ["disembargo", "resolve"]);
}

#[test]
fn disembargoes_that_no_longer_wait_leave_room_for_others() {
    let (mut victim, theirs) = acquainted_with(Limits::default().with_embargoes(1));
    for outcome in [Ok(theirs), Err(Exception::failed("no")), Ok(theirs)] {
        let promise = victim.net.vats[0].engine.promise();
        victim.net.vats[0].send(theirs, 1, &[promise]);
        sent(&mut victim);
        disembargo(&mut victim, 1);
        victim.net.vats[0].engine.resolve(promise, outcome).unwrap();
        assert_eq!(sent(&mut victim), ["disembargo", "resolve"]);
        victim.message(|to| {
            let mut release = to.init_release();
            release.set_id(1);
            release.set_reference_count(1);
        });
    }
}

// ---- Resolve

#[test]
fn a_resolve_of_something_released_gives_back_what_it_brings() {
    let (mut victim, _) = acquainted();
    for import in [7, 8] {
        victim.message(|to| {
            let mut resolve = to.init_resolve();
            resolve.set_promise_id(import);
            resolve.init_cap().set_sender_hosted(40);
        });
        assert_eq!(sent(&mut victim), ["release"]);
    }
    victim.message(|to| {
        let mut resolve = to.init_resolve();
        resolve.set_promise_id(9);
        resolve.init_exception().set_reason("gone");
    });
    assert!(sent(&mut victim).is_empty());
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
}

#[test]
fn promises_are_exports_of_their_own_and_never_named_once_resolved() {
    let mut made = Vec::new();
    let mut given = given(
        |net| {
            made = (0..2).map(|_| net.vats[0].engine.promise()).collect();
            vec![made[0], made[1], made[0]]
        },
        0,
    );
    let engine = &given.net.vats[1].engine;
    assert_eq!(engine.identity(given.theirs[0]), None);
    let conn = given.net.conn(0, 0);
    assert_eq!(given.net.vats[0].engine.stats(conn).unwrap().exports, 2);
    let object = given.net.vats[0].object(5);
    given.resolve(0, made[0], object);
    assert_eq!(given.net.flying(0, 1), ["resolve"], "one for both mentions");
    given.net.vats[0].send(given.boot, 1, &[made[0]]);
    given.net.run();
    let again = take!(given.net.vats[1], Event::Call { caps, respond, .. } => {
        given.net.vats[1].answer(respond, 0, &[]);
        caps[0]
    });
    let engine = &given.net.vats[1].engine;
    assert_eq!(engine.same(again, given.theirs[2]), Some(true));
    given.theirs.push(again);
    given.net.run();
    given.net.vats[0].events.clear();
    made.push(object);
    given.assert_drained(&made);
}
