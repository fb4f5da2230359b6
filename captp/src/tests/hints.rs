//! What a call and its Return may say about pipelining, Finish and the references in the parameters.

use super::hostile::{Victim, write_index};
use super::in_a_row::{row, row_drained};
use super::net::{Event, Net, Respond, pair, take, write};
use super::rare::{acquainted, sent};
use crate::captp_capnp::message;
use crate::{ConnOptions, Exception, Limits, NodeId, ObjectKey};

/// A call of vat 0 that only wants the reference in its result.
pub(super) fn ask_for_reference(net: &mut Net, target: NodeId, number: u32) -> NodeId {
    let result = net.vats[0].engine.promise();
    let mut call = net.vats[0].call(number, &[], Some(result));
    call.pipeline_only = true;
    net.vats[0].engine.send(target, call);
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    result
}

#[test]
fn a_call_for_its_references_only_is_never_returned() {
    let (mut net, boot) = pair();
    let result = ask_for_reference(&mut net, boot, 1);
    let tag = net.vats[0].send(result, 2, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { number: 1, respond, .. } => respond);
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    assert!(net.flying(0, 0).is_empty(), "no return");
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 22, &[]);
    });
    net.run();
    take!(net.vats[0], Event::Returned { tag: got, result: Ok((22, _)) } => assert_eq!(got, tag));
    net.vats[0].send(result, 3, &[]);
    net.run();
    assert_eq!(net.vats[1].take_number(), 3);
    net.run();
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["finish"]);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_call_for_no_references_is_finished_at_once_and_runs() {
    let (mut net, boot) = pair();
    let result = ask_for_reference(&mut net, boot, 1);
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["call", "finish"]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    let Respond::Wire(token) = &respond else {
        panic!("local")
    };
    assert!(net.vats[1].engine.is_cancelled(token));
    take!(net.vats[1], Event::Cancelled(got) => assert_eq!(&got, token));
    net.vats[1].answer(respond, 0, &[]);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_vat_in_the_middle_returns_nothing_to_who_asks_for_the_references_only() {
    let (mut net, boot) = row();
    net.run();
    let middle = net.conn(1, 1);
    let returned = |net: &Net| net.vats[1].engine.stats(middle).unwrap().sent;
    let before = returned(&net);
    let result = ask_for_reference(&mut net, boot, 1);
    net.run();
    let respond = take!(net.vats[2], Event::Call { number: 1, respond, .. } => respond);
    let object = net.vats[2].object(5);
    net.vats[2].answer(respond, 0, &[object]);
    net.vats[2].release(object);
    net.run();
    assert_eq!(returned(&net), before);
    net.vats[0].send(result, 2, &[]);
    net.run();
    take!(net.vats[2], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[2].answer(respond, 0, &[]);
    });
    net.run();
    net.vats[0].release(result);
    net.run();
    take!(net.vats[2], Event::Dropped(5) => ());
    net.vats[0].release(boot);
    row_drained(&mut net);
}

/// The caller finishes such a call before it is over and forgets it; who passes it on must not.
#[test]
fn calls_for_references_only_that_go_on_are_counted_until_the_callee_is_done() {
    let mut net = Net::new(3);
    let root = net.vats[2].object(0);
    let plain = ConnOptions::default;
    let few = Limits::default().with_answers_soft(4).with_answers(8);
    net.link(
        (1, plain().with_limits(Limits::default().with_questions(8))),
        (2, plain().with_bootstrap(root).with_limits(few)),
    );
    let to_host = net.conn(0, 0);
    let host = net.vats[1].engine.bootstrap(to_host);
    net.run();
    net.link((0, plain()), (1, plain().with_bootstrap(host)));
    let conn = net.conn(1, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    for number in 0..100 {
        let result = ask_for_reference(&mut net, boot, number);
        net.vats[0].release(result);
        net.run();
    }
    assert_eq!(net.vats[1].engine.stats(to_host).unwrap().questions, 8);
    let mut served = 0;
    while let Some(event) = net.vats[2].next() {
        if let Event::Call { respond, .. } = event {
            net.vats[2].answer(respond, 0, &[]);
            net.run();
            served += 1;
        }
    }
    assert_eq!(
        served, 8,
        "the others were refused, and the connection lives"
    );
    assert_eq!(net.vats[1].engine.stats(to_host).unwrap().questions, 0);
}

fn return_index(to: message::Builder<'_>, question: u32) {
    let mut ret = to.init_return();
    ret.set_answer_id(question);
    let mut results = ret.init_results();
    results
        .reborrow()
        .init_cap_table(1)
        .get(0)
        .set_sender_hosted(6);
    write_index(results.init_content());
}

#[test]
fn a_peer_that_returns_a_call_for_references_only_is_not_asked_like_that_again() {
    for late in [false, true] {
        let (mut victim, theirs) = acquainted();
        let result = ask_for_reference(&mut victim.net, theirs, 1);
        if late {
            victim.net.vats[0].release(result);
        }
        victim.message(|to| return_index(to, 1 << 31));
        let expected: &[&str] = &["call", "finish"];
        assert_eq!(sent(&mut victim), expected);
        let conn = victim.conn;
        let held = victim.net.vats[0].engine.stats(conn).unwrap().imports;
        assert_eq!(held, if late { 1 } else { 2 });
        // From now on as an ordinary call.
        let again = victim.net.vats[0].engine.promise();
        let mut call = victim.net.vats[0].call(2, &[], Some(again));
        call.pipeline_only = true;
        victim.net.vats[0].engine.send(theirs, call);
        assert!(victim.net.vats[0].next().is_none(), "the reply waits");
        victim.message(|to| return_index(to, 0));
        take!(victim.net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => {
            victim.net.vats[0].release(caps[0]);
        });
    }
}

#[test]
fn a_return_of_a_call_for_references_only_that_never_was_ends_the_connection() {
    let (mut victim, _) = acquainted();
    victim.message(|to| return_index(to, 1 << 31));
    assert_eq!(
        victim.fault(),
        crate::PeerMisbehaved::UnknownQuestion(crate::QuestionId::new(1 << 31))
    );
}

// ---- noPromisePipelining

/// Whether the last call that the victim sent says that nothing will be pipelined on it.
fn says_no_pipelining(bytes: &[u8]) -> bool {
    let mut framer = crate::connection::framer::Framer::default();
    let frame = framer.next(&mut &bytes[..], &Limits::default());
    let message = frame.unwrap().unwrap().into_message(8, 64);
    let root: message::Reader<'_> = message.get_root().unwrap();
    let Ok(message::Call(call)) = root.which() else {
        panic!("not a call")
    };
    call.unwrap().get_no_promise_pipelining()
}

#[test]
fn a_call_without_promised_references_says_that_nothing_will_be_pipelined_on_it() {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.vats[0].ask(boot, 2, &[]);
    net.pump();
    let said = net.links[0].to[1]
        .iter()
        .map(|flying| says_no_pipelining(&flying.bytes));
    assert_eq!(said.collect::<Vec<_>>(), [true, false]);
}

#[test]
fn references_in_results_that_nothing_is_pipelined_on_are_given_back_once() {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    let conn = net.conn(0, 1);
    let stats = net.vats[1].engine.stats(conn).unwrap();
    assert_eq!((stats.answers, stats.call_bytes), (1, 0), "nothing is kept");
    net.run();
    let got = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    net.vats[0].send(got, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
    });
    net.vats[0].release(got);
    net.vats[0].release(boot);
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.assert_drained(&[0, 1]);
}

pub(super) fn hinted_call(to: message::Builder<'_>, question: u32) {
    let mut call = to.init_call();
    call.set_question_id(question);
    call.set_interface_id(0xaaaa);
    call.set_method_id(3);
    call.set_no_promise_pipelining(true);
    call.reborrow().init_target().set_imported_cap(0);
    write(call.init_params().init_content(), question, &[]);
}

pub(super) fn pipelined_call(to: message::Builder<'_>, question: u32, on: u32) {
    let mut call = to.init_call();
    call.set_question_id(question);
    call.set_interface_id(0xaaaa);
    call.set_method_id(3);
    let mut target = call.reborrow().init_target().init_promised_answer();
    target.set_question_id(on);
    target.init_transform(1).get(0).set_get_pointer_field(0);
    write(call.init_params().init_content(), question, &[]);
}

#[test]
fn a_call_pipelined_against_the_word_of_the_caller_fails_alone() {
    let (mut victim, _) = acquainted();
    let object = victim.net.vats[0].object(9);
    victim.message(|to| hinted_call(to, 7));
    let respond = take!(victim.net.vats[0], Event::Call { number: 7, respond, .. } => respond);
    victim.net.vats[0].answer(respond, 0, &[object]);
    victim.message(|to| pipelined_call(to, 8, 7));
    assert_eq!(sent(&mut victim), ["return", "return"]);
    assert!(victim.net.vats[0].next().is_none(), "refused");
    let conn = victim.conn;
    let exports = |victim: &Victim| victim.net.vats[0].engine.stats(conn).unwrap().exports;
    assert_eq!(exports(&victim), 2);
    victim.message(|to| to.init_finish().set_question_id(7));
    assert_eq!(exports(&victim), 1, "given back with the finish");
    victim.net.vats[0].engine.check().unwrap();
}

// ---- noFinishNeeded

#[test]
fn results_that_need_no_finish_and_cross_an_early_one_are_given_back() {
    let (mut victim, theirs) = acquainted();
    let (_, result) = victim.net.vats[0].ask(theirs, 1, &[]);
    assert!(victim.net.vats[0].engine.cancel(result));
    assert_eq!(sent(&mut victim), ["call", "finish"]);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_no_finish_needed(true);
        let mut results = ret.init_results();
        results
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_hosted(6);
        write_index(results.init_content());
    });
    assert_eq!(sent(&mut victim), ["release"]);
    let stats = victim.net.vats[0].engine.stats(victim.conn).unwrap();
    assert_eq!((stats.questions, stats.imports), (0, 1), "{stats:?}");
}

#[test]
fn a_return_that_needs_no_finish_gets_none_and_its_references_live() {
    let (mut victim, theirs) = acquainted();
    let (_, result) = victim.net.vats[0].ask(theirs, 1, &[]);
    assert_eq!(sent(&mut victim), ["call"]);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_no_finish_needed(true);
        let mut results = ret.init_results();
        results
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_hosted(6);
        write_index(results.init_content());
    });
    assert!(sent(&mut victim).is_empty(), "no finish");
    let got = take!(victim.net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    assert_eq!(victim.net.vats[0].engine.same(got, result), Some(true));
    victim.net.vats[0].send(result, 2, &[]);
    assert_eq!(sent(&mut victim), ["call"]);
    victim.net.vats[0].release(got);
    victim.net.vats[0].release(result);
    assert_eq!(sent(&mut victim), ["release"]);
}

// ---- releaseParamCaps

#[test]
fn references_in_parameters_are_given_back_as_the_return_says_once_each() {
    for release in [false, true] {
        let (mut victim, theirs) = acquainted();
        let object = victim.net.vats[0].object(9);
        victim.net.vats[0].send(theirs, 1, &[object, object]);
        victim.net.vats[0].release(object);
        let conn = victim.conn;
        let exports = |victim: &Victim| victim.net.vats[0].engine.stats(conn).unwrap().exports;
        assert_eq!(exports(&victim), 2, "the bootstrap and this, once");
        victim.message(|to| {
            let mut ret = to.init_return();
            ret.set_answer_id(0);
            ret.set_release_param_caps(release);
            write(ret.init_results().init_content(), 1, &[]);
        });
        if release {
            take!(victim.net.vats[0], Event::Dropped(9) => ());
            assert_eq!(exports(&victim), 1);
            continue;
        }
        take!(victim.net.vats[0], Event::Returned { result: Ok(_), .. } => ());
        assert_eq!(exports(&victim), 2, "the peer keeps both counts");
        victim.message(|to| {
            let mut release = to.init_release();
            release.set_id(1);
            release.set_reference_count(2);
        });
        take!(victim.net.vats[0], Event::Dropped(9) => ());
    }
}

#[test]
fn references_in_parameters_are_given_back_after_a_cancelled_call_as_well() {
    let (mut victim, theirs) = acquainted();
    let object = victim.net.vats[0].object(9);
    let (_, result) = victim.net.vats[0].ask(theirs, 1, &[object]);
    victim.net.vats[0].release(object);
    assert!(victim.net.vats[0].engine.cancel(result));
    take!(victim.net.vats[0], Event::Returned { result: Err(_), .. } => ());
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_canceled(());
    });
    take!(victim.net.vats[0], Event::Dropped(9) => ());
}

// ---- the pipeline before the answer

#[test]
fn a_reference_of_an_answer_can_be_used_before_and_though_the_call_never_returns() {
    let (mut net, boot) = pair();
    let (tag, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    let token = take!(net.vats[1], Event::Call { respond: Respond::Wire(token), .. } => token);
    let (object, other) = (net.vats[1].object(5), net.vats[1].object(6));
    net.vats[1].engine.set_pipeline(&token, &[0], Ok(object));
    net.vats[1].engine.set_pipeline(&token, &[0], Ok(other));
    net.vats[0].send(result, 3, &[]);
    net.run();
    for number in [2, 3] {
        take!(net.vats[1], Event::Call { object: 5, number: got, respond, .. } => {
            assert_eq!(got, number);
            net.vats[1].answer(respond, 0, &[]);
        });
    }
    net.run();
    for _ in 0..2 {
        take!(net.vats[0], Event::Returned { tag: got, result: Ok(_) } => assert_ne!(got, tag));
    }
    assert!(
        net.vats[0].next().is_none(),
        "the call itself is not answered"
    );
    // Once it is, everything is as always.
    net.vats[1].answer(Respond::Wire(token), 0, &[object]);
    net.vats[1].release(object);
    net.vats[1].release(other);
    net.run();
    take!(net.vats[1], Event::Dropped(6) => ());
    let got = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    for node in [got, result, boot] {
        net.vats[0].release(node);
    }
    net.run();
    take!(net.vats[1], Event::Dropped(5) => ());
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_reference_of_an_answer_can_be_broken_before_the_answer() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    let token = take!(net.vats[1], Event::Call { respond: Respond::Wire(token), .. } => token);
    let reason = Exception::failed("none today");
    net.vats[1]
        .engine
        .set_pipeline(&token, &[0], Err(reason.clone()));
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(got), .. } => assert_eq!(got, reason));
    let object = net.vats[1].engine.object(ObjectKey(8));
    net.vats[1].answer(Respond::Wire(token), 0, &[]);
    // Too late: nothing happens.
    net.vats[1].release(object);
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    net.vats[0].release(result);
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}
