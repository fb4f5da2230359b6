//! Tail calls with peers that do it wrong, or do not know them.

use super::hints::{hinted_call, pipelined_call};
use super::hostile::Victim;
use super::net::{Event, Respond, take, write};
use super::rare::{acquainted, keep_call, sent, take_from};
use crate::{CloseReason, ConnOptions, PeerMisbehaved};

/// The victim passes the peer's call 7 on to the peer's own reference, as its question 1.
fn passing_back() -> Victim {
    let (mut victim, theirs) = acquainted();
    let conn = victim.conn;
    victim.net.vats[0].engine.close(conn, None);
    victim.net.vats[0].release(theirs);
    let root = victim.root;
    let options = ConnOptions::default()
        .with_bootstrap(root)
        .with_tail_calls(true);
    victim.conn = victim.net.vats[0].engine.open(options);
    victim.bootstrap();
    let conn = victim.conn;
    let theirs = victim.net.vats[0].engine.bootstrap(conn);
    victim.net.vats[0].forward_to = Some(theirs);
    victim.message(|to| hinted_call(to, 7));
    victim.net.vats[0].collect();
    assert_eq!(sent(&mut victim), ["return", "bootstrap", "call", "return"]);
    victim.net.vats[0].events.clear();
    victim
}

#[test]
fn results_where_none_may_be_end_the_connection() {
    let mut victim = passing_back();
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(1);
        write(ret.init_results().init_content(), 1, &[]);
    });
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::UnknownValue("Return to a tail call")
    );
}

#[test]
fn a_finish_of_a_redirected_call_finishes_the_tail_call_once() {
    for returned in [false, true] {
        let mut victim = passing_back();
        let elsewhere = |victim: &mut Victim| {
            victim.message(|to| {
                let mut ret = to.init_return();
                ret.set_answer_id(1);
                ret.set_results_sent_elsewhere(());
            });
        };
        if returned {
            elsewhere(&mut victim);
            assert!(sent(&mut victim).is_empty(), "the results are still used");
        }
        victim.message(|to| to.init_finish().set_question_id(7));
        assert_eq!(sent(&mut victim), ["finish"]);
        if !returned {
            elsewhere(&mut victim);
        }
        assert!(sent(&mut victim).is_empty());
        let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
        // The bootstraps of both sides.
        assert_eq!((stats.questions, stats.answers), (1, 1), "{stats:?}");
    }
}

#[test]
fn a_call_pipelined_on_a_redirected_call_fails_alone() {
    let mut victim = passing_back();
    victim.message(|to| pipelined_call(to, 8, 7));
    assert_eq!(sent(&mut victim), ["return"]);
    victim.message(|to| {
        let mut disembargo = to.init_disembargo();
        let mut target = disembargo.reborrow().init_target().init_promised_answer();
        target.set_question_id(7);
        target.init_transform(1).get(0).set_get_pointer_field(0);
        disembargo.get_context().set_sender_loopback(3);
    });
    assert_eq!(sent(&mut victim), ["disembargo"]);
}

#[test]
fn a_second_return_of_a_redirected_call_ends_the_connection() {
    let (mut victim, theirs) = acquainted();
    victim.net.vats[0].ask(theirs, 1, &[]);
    for (question, other) in [(0, 50), (0, 51)] {
        victim.message(|to| keep_call(to, other));
        victim.message(|to| take_from(to, question, other));
    }
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::UnknownQuestion(crate::QuestionId::new(0))
    );
}

#[test]
fn cancelling_a_call_that_the_peer_redirected_cancels_the_callee_once() {
    for finished_first in [false, true] {
        let (mut victim, theirs) = acquainted();
        let (tag, result) = victim.net.vats[0].ask(theirs, 1, &[]);
        victim.message(|to| keep_call(to, 50));
        let token = take!(victim.net.vats[0], Event::Call { respond: Respond::Wire(token), .. } => {
            token
        });
        victim.message(|to| take_from(to, 0, 50));
        assert_eq!(sent(&mut victim), ["call"]);
        if finished_first {
            victim.message(|to| to.init_finish().set_question_id(50));
            assert!(
                victim.net.vats[0].next().is_none(),
                "the results are wanted"
            );
        }
        assert!(victim.net.vats[0].engine.cancel(result));
        assert!(!victim.net.vats[0].engine.cancel(result));
        if !finished_first {
            victim.message(|to| to.init_finish().set_question_id(50));
        }
        assert_eq!(sent(&mut victim), ["finish"]);
        let mut cancelled = Vec::new();
        while let Some(event) = victim.net.vats[0].next() {
            match event {
                Event::Cancelled(token) => cancelled.push(token),
                Event::Returned { tag: got, result } => {
                    assert_eq!(got, tag);
                    assert!(result.is_err());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(cancelled, [token.duplicate()]);
        victim.net.vats[0].answer(Respond::Wire(token), 0, &[]);
        assert_eq!(sent(&mut victim), ["return"], "without results");
        let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
        assert_eq!((stats.questions, stats.answers), (0, 1), "{stats:?}");
        victim.net.vats[0].engine.check().unwrap();
    }
}

#[test]
fn results_elsewhere_that_were_asked_for_here_end_the_connection() {
    let (mut victim, theirs) = acquainted();
    victim.net.vats[0].send(theirs, 1, &[]);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_results_sent_elsewhere(());
    });
    take!(victim.net.vats[0], Event::Returned { result: Err(_), .. } => ());
    take!(victim.net.vats[0], Event::Closed(_, CloseReason::PeerMisbehaved(fault)) => {
        assert_eq!(fault, PeerMisbehaved::UnknownValue("Return to a call of this vat"));
    });
}

#[test]
fn a_peer_that_does_not_understand_a_redirection_loses_that_call_only() {
    let (mut victim, _) = acquainted();
    for redirection in [true, false] {
        victim.message(|to| {
            let mut ret = to.init_unimplemented().init_return();
            ret.set_answer_id(3);
            match redirection {
                true => ret.set_take_from_other_question(4),
                false => ret.set_results_sent_elsewhere(()),
            }
        });
        assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
    }
    victim.message(|to| {
        let _ = to.init_unimplemented().init_return().init_results();
    });
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::RequiredUnimplemented("return")
    );
}
