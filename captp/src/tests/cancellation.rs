//! Cancelling, and everything that must not cancel.

use std::time::Duration;

use super::hostile::framed;
use super::in_a_row::{row, row_drained};
use super::net::{Event, Net, Respond, pair, split, take, write};
use super::rare::acquainted_with;
use crate::captp_capnp::message;
use crate::{AnswerToken, ConnOptions, Limits, NodeId, Transmit};

fn token(respond: &Respond) -> AnswerToken {
    match respond {
        Respond::Wire(token) => token.duplicate(),
        Respond::Local(_) => panic!("local"),
    }
}

#[test]
fn dropping_everything_that_a_call_returns_does_not_finish_it() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.vats[0].release(result);
    assert_eq!(net.flying(0, 1), ["call", "call"]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { number: 1, respond, .. } => respond);
    assert!(net.vats[1].next().is_none(), "nothing is cancelled");
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    net.vats[1].release(object);
    assert_eq!(net.vats[1].take_number(), 2);
    net.run();
    while let Some(Event::Returned { result, .. }) = net.vats[0].next() {
        for node in result.unwrap().1 {
            net.vats[0].release(node);
        }
    }
    net.vats[0].release(boot);
    net.run();
    net.vats[1].events.clear();
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_call_within_the_vat_and_one_that_is_answered_cannot_be_cancelled() {
    let (mut net, boot) = pair();
    let object = net.vats[0].object(4);
    let (_, here) = net.vats[0].ask(object, 1, &[]);
    assert!(!net.vats[0].engine.cancel(here));
    let respond = take!(net.vats[0], Event::Call { respond, .. } => respond);
    net.vats[0].answer(respond, 0, &[object]);
    let (_, there) = net.vats[0].ask(boot, 2, &[]);
    net.run();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[]));
    net.run();
    assert!(!net.vats[0].engine.cancel(there));
    assert!(!net.vats[0].engine.cancel(boot));
}

#[test]
fn a_vat_in_the_middle_passes_a_cancellation_on_once() {
    let (mut net, boot) = row();
    let (tag, result) = net.vats[0].ask(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[2], Event::Call { respond, .. } => respond);
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    take!(net.vats[0], Event::Returned { tag: got, result: Err(_) } => assert_eq!(got, tag));
    take!(net.vats[2], Event::Cancelled(got) => assert_eq!(got, token(&respond)));
    assert!(net.vats[2].next().is_none());
    let object = net.vats[2].object(5);
    net.vats[2].answer(respond, 0, &[object]);
    net.vats[2].release(object);
    take!(net.vats[2], Event::Dropped(5) => ());
    net.vats[0].release(result);
    net.vats[0].release(boot);
    row_drained(&mut net);
}

/// The host need not tell the time for it.
#[test]
fn what_is_cancelled_and_answered_waits_for_nothing() {
    let (mut net, boot) = row();
    for number in 0..3 {
        let (_, result) = net.vats[0].ask(boot, number, &[]);
        net.run();
        let respond = take!(net.vats[2], Event::Call { respond, .. } => respond);
        assert!(net.vats[0].engine.cancel(result));
        net.run();
        assert!(net.vats[1].engine.deadline().is_some());
        take!(net.vats[2], Event::Cancelled(_) => net.vats[2].answer(respond, 0, &[]));
        net.run();
        assert_eq!(net.vats[1].engine.deadline(), None);
        net.vats[0].release(result);
    }
}

#[test]
fn a_callee_that_never_answers_what_is_cancelled_keeps_no_place_of_the_caller_for_long() {
    let (mut net, boot) = row();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[2], Event::Call { respond, .. } => respond);
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    let questions = |net: &Net| net.vats[0].engine.stats(net.conn(1, 0)).unwrap().questions;
    assert_eq!(questions(&net), 1, "the callee may be about to answer");
    let middle = &mut net.vats[1].engine;
    let due = middle
        .deadline()
        .expect("a time when it has waited long enough");
    middle.handle_time(due - Duration::from_millis(1));
    net.run();
    assert_eq!(questions(&net), 1);
    net.vats[1].engine.handle_time(due);
    net.run();
    assert_eq!(questions(&net), 0);
    assert_eq!(net.vats[1].engine.deadline(), None);
    // At last it answers.
    net.vats[2].answer(respond, 0, &[]);
    net.vats.iter_mut().for_each(|vat| vat.events.clear());
    net.vats[0].release(result);
    net.vats[0].release(boot);
    row_drained(&mut net);
}

/// Somebody who was given a reference inside the answer still wants it.
#[test]
fn a_call_that_others_pipelined_on_is_not_cancelled() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    net.vats[0].send(result, 2, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    assert!(net.vats[1].next().is_none(), "call 2 still needs it");
    assert!(!net.vats[1].engine.is_cancelled(&token(&respond)));
    let object = net.vats[1].object(5);
    net.vats[1].answer(respond, 0, &[object]);
    take!(net.vats[1], Event::Call { object: 5, number: 2, respond, .. } => {
        net.vats[1].answer(respond, 22, &[]);
    });
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    take!(net.vats[0], Event::Returned { result: Ok((22, _)), .. } => ());
}

/// Vat 1 gives a promise of its own to vat 0, which calls it.
pub(super) fn waiting() -> (Net, NodeId, NodeId, NodeId) {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let promise = net.vats[1].engine.promise();
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[promise]));
    net.run();
    let held = take!(net.vats[0], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    (net, boot, promise, held)
}

#[test]
fn a_call_cancelled_while_it_waits_for_a_promise_arrives_and_is_known_to_be_cancelled() {
    let (mut net, boot, promise, held) = waiting();
    let mine = net.vats[0].object(4);
    let (_, result) = net.vats[0].ask(held, 2, &[mine]);
    net.run();
    assert!(net.vats[0].engine.cancel(result));
    net.run();
    assert!(net.vats[1].next().is_none(), "no object has it");
    let object = net.vats[1].object(5);
    net.vats[1].engine.resolve(promise, Ok(object)).unwrap();
    let (respond, param) =
        take!(net.vats[1], Event::Call { caps, respond, .. } => (respond, caps[0]));
    assert!(net.vats[1].engine.is_cancelled(&token(&respond)));
    take!(net.vats[1], Event::Cancelled(got) => assert_eq!(got, token(&respond)));
    net.vats[1].answer(respond, 0, &[]);
    for node in [param, promise, object] {
        net.vats[1].release(node);
    }
    for node in [mine, result, held, boot] {
        net.vats[0].release(node);
    }
    net.vats[0].events.clear();
    net.run();
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_call_that_nobody_cancelled_is_not_cancelled() {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let respond = take!(net.vats[1], Event::Call { respond, .. } => respond);
    let token = token(&respond);
    assert!(!net.vats[1].engine.is_cancelled(&token));
    net.vats[1].answer(respond, 0, &[]);
    assert!(!net.vats[1].engine.is_cancelled(&token));
}

/// Who makes calls, cancels them, and makes more is answered without the callee beyond some number.
#[test]
fn of_very_many_cancelled_calls_the_oldest_is_answered_without_its_callee() {
    let many = Limits::default()
        .with_answers_soft(40_000)
        .with_answers(40_000)
        .with_questions_soft(40_000)
        .with_questions(40_000);
    let (mut callee, theirs) = acquainted_with(many.clone());
    let vat = &mut callee.net.vats[0];
    let options = ConnOptions::default()
        .with_bootstrap(theirs)
        .with_limits(many);
    let caller = vat.engine.open(options);
    vat.feed(
        caller,
        &framed(|to| to.init_bootstrap().set_question_id(0)),
        Vec::new(),
    );
    let mut cancel = |numbers: std::ops::RangeInclusive<u32>| -> Vec<u32> {
        for number in numbers {
            vat.feed(caller, &call(number), Vec::new());
            let finish = framed(|to| to.init_finish().set_question_id(number));
            vat.feed(caller, &finish, Vec::new());
        }
        let mut out = Transmit::new();
        vat.engine.poll_transmit(caller, &mut out);
        vat.engine.check().unwrap();
        let sent = split(&out.take_bytes());
        sent.iter()
            .filter_map(|(bytes, _)| returned(bytes))
            .collect()
    };
    assert_eq!(cancel(1..=16_384), [0], "the bootstrap");
    assert_eq!(cancel(16_385..=16_387), [1, 2, 3]);
}

/// The question that a message returns, if it does.
fn returned(bytes: &[u8]) -> Option<u32> {
    let read = capnp::serialize::read_message(bytes, capnp::message::ReaderOptions::new());
    match read
        .unwrap()
        .get_root::<message::Reader<'_>>()
        .unwrap()
        .which()
    {
        Ok(message::Return(ret)) => Some(ret.unwrap().get_answer_id()),
        _ => None,
    }
}

fn call(question: u32) -> Vec<u8> {
    framed(|to| {
        let mut call = to.init_call();
        call.set_question_id(question);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        write(call.init_params().init_content(), question, &[]);
    })
}
