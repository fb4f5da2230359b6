//! Bad input beside what `hostile` has: things that were over, that name themselves, or that claim
//! to be huge.

use super::hostile::{Victim, framed, write_index};
use super::net::{Event, pair, take, write};
use super::rare::{acquainted, sent};
use crate::captp_capnp::{message, promised_answer};
use crate::{AnswerId, ExportId, ImportId, Limits, PeerMisbehaved, QuestionId};

fn release(victim: &mut Victim, export: u32) {
    victim.message(|to| {
        let mut release = to.init_release();
        release.set_id(export);
        release.set_reference_count(1);
    });
}

#[test]
fn a_second_release_ends_the_connection_and_no_other() {
    let mut victim = Victim::new(Limits::default());
    let other = crate::ConnOptions::default().with_bootstrap(victim.root);
    let other = victim.net.vats[0].engine.open(other);
    victim.bootstrap();
    release(&mut victim, 0);
    release(&mut victim, 0);
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::UnknownExport(ExportId::new(0))
    );
    victim.conn = other;
    victim.bootstrap();
    victim.call(1, 0);
    assert_eq!(victim.net.vats[0].take_number(), 1);
    assert_eq!(sent(&mut victim), ["return", "return"]);
}

#[test]
fn a_second_return_ends_the_connection() {
    for early in [false, true] {
        let (mut victim, theirs) = acquainted();
        let (_, result) = victim.net.vats[0].ask(theirs, 1, &[]);
        if early {
            assert!(victim.net.vats[0].engine.cancel(result));
        }
        for _ in 0..2 {
            victim.message(|to| {
                let mut ret = to.init_return();
                ret.set_answer_id(0);
                ret.set_canceled(());
            });
        }
        assert_eq!(
            victim.fault(),
            PeerMisbehaved::UnknownQuestion(QuestionId::new(0))
        );
    }
}

#[test]
fn a_finish_of_nothing_is_ignored() {
    let mut victim = Victim::new(Limits::default());
    victim.message(|to| to.init_finish().set_question_id(77));
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
}

/// The victim calls something and gets the peer's promise 6 as the result.
fn promised() -> (Victim, crate::NodeId) {
    let (mut victim, theirs) = acquainted();
    let (_, result) = victim.net.vats[0].ask(theirs, 1, &[]);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        let mut results = ret.init_results();
        results
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .set_sender_promise(6);
        write_index(results.init_content());
    });
    take!(victim.net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    (victim, result)
}

#[test]
fn a_promise_that_is_resolved_to_itself_breaks() {
    let (mut victim, result) = promised();
    victim.net.vats[0].send(result, 2, &[]);
    victim.message(|to| {
        let mut resolve = to.init_resolve();
        resolve.set_promise_id(6);
        resolve.init_cap().set_sender_promise(6);
    });
    victim.net.vats[0].send(result, 3, &[]);
    take!(victim.net.vats[0], Event::Failed { reason, .. } => {
        assert!(reason.reason().contains("itself"), "{reason}");
    });
    victim.message(|to| {
        let mut resolve = to.init_resolve();
        resolve.set_promise_id(6);
        resolve.init_cap().set_sender_promise(6);
    });
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
}

/// The peer's promise is given back when it has become another; what the peer calls by its number
/// after that is a new one, and what to make of calls to it is the peer's business.
#[test]
fn promises_that_are_resolved_to_each_other_stay_promises_of_the_peer() {
    let (mut victim, result) = promised();
    sent(&mut victim);
    for (promise, to) in [(6, 7), (7, 6)] {
        victim.message(|message| {
            let mut resolve = message.init_resolve();
            resolve.set_promise_id(promise);
            resolve.init_cap().set_sender_promise(to);
        });
    }
    victim.net.vats[0].send(result, 3, &[]);
    assert_eq!(sent(&mut victim), ["release", "release", "call"]);
    victim.net.vats[0].engine.check().unwrap();
}

#[test]
fn a_second_resolve_ends_the_connection() {
    let (mut victim, result) = promised();
    // What it stands for is pinned, so that the first Resolve does not free it.
    victim.net.vats[0].send(result, 2, &[result]);
    let object = 0;
    for _ in 0..2 {
        victim.message(|to| {
            let mut resolve = to.init_resolve();
            resolve.set_promise_id(5);
            resolve.init_cap().set_receiver_hosted(object);
        });
    }
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::NotAPromise(ImportId::new(5))
    );
}

#[test]
fn a_call_on_its_own_answer_fails_alone() {
    let mut victim = Victim::new(Limits::default());
    victim.bootstrap();
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(3);
        call.reborrow()
            .init_target()
            .init_promised_answer()
            .set_question_id(3);
        write(call.init_params().init_content(), 3, &[]);
    });
    assert_eq!(sent(&mut victim), ["return", "return"]);
    assert!(victim.net.vats[0].engine.stats(victim.conn).is_some());
}

#[test]
fn a_reference_in_parameters_that_names_the_call_itself_does_no_harm() {
    let mut victim = Victim::new(Limits::default());
    victim.bootstrap();
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(3);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        params
            .reborrow()
            .init_cap_table(1)
            .get(0)
            .init_receiver_answer()
            .set_question_id(3);
        write_index(params.init_content());
    });
    let (cap, respond) =
        take!(victim.net.vats[0], Event::Call { caps, respond, .. } => (caps[0], respond));
    victim.net.vats[0].send(cap, 9, &[]);
    victim.net.vats[0].answer(respond, 0, &[cap]);
    victim.net.vats[0].release(cap);
    take!(victim.net.vats[0], Event::Failed { .. } => ());
    victim.net.vats[0].engine.check().unwrap();
}

#[test]
fn an_unknown_answer_cannot_be_named_in_a_return() {
    let (mut victim, theirs) = acquainted();
    victim.net.vats[0].send(theirs, 1, &[]);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        ret.set_take_from_other_question(99);
    });
    assert_eq!(
        victim.fault(),
        PeerMisbehaved::ResultsNotThere(AnswerId::new(99))
    );
}

// ---- 2^29 elements in eight bytes

/// The message with its one list of structs changed to claim 2^29 - 1 elements of no size.
fn amplified(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut bytes = framed(fill);
    let (mut lists, mut tags) = (0, 0);
    for word in bytes.chunks_exact_mut(8).skip(1) {
        let low = u32::from_le_bytes(word[..4].try_into().unwrap());
        let high = u32::from_le_bytes(word[4..].try_into().unwrap());
        if low & 3 == 1 && high & 7 == 7 {
            word[4..].copy_from_slice(&7u32.to_le_bytes());
            lists += 1;
        } else if low == 1 << 2 && (high == 0x0001_0001 || high == 1) {
            word[..4].copy_from_slice(&(((1u32 << 29) - 1) << 2).to_le_bytes());
            word[4..].fill(0);
            tags += 1;
        }
    }
    assert_eq!((lists, tags), (1, 1));
    bytes
}

fn fill_list(to: capnp::any_pointer::Builder<'_>) {
    let list: capnp::struct_list::Builder<'_, promised_answer::op::Owned> = to.initn_as(1);
    assert_eq!(list.len(), 1);
}

fn amplified_call(export: u32) -> Vec<u8> {
    amplified(|to| {
        let mut call = to.init_call();
        call.set_question_id(3);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(export);
        fill_list(call.init_params().init_content());
    })
}

#[test]
fn a_list_of_half_a_billion_elements_in_eight_bytes_costs_nothing() {
    let mut victim = Victim::new(Limits::default());
    victim.bootstrap();
    victim.bytes(&amplified(|to| {
        let mut call = to.init_call();
        call.reborrow().init_target().set_imported_cap(0);
        call.init_params().init_cap_table(1);
    }));
    assert!(matches!(victim.fault(), PeerMisbehaved::Malformed(_)));

    let mut victim = Victim::new(Limits::default());
    victim.bytes(&amplified(|to| {
        let call = to.init_call();
        let target = call.init_target().init_promised_answer();
        target.init_transform(1);
    }));
    assert!(matches!(victim.fault(), PeerMisbehaved::Malformed(_)));

    let mut victim = Victim::new(Limits::default());
    victim.bytes(&amplified(|to| {
        to.init_abort().init_details(1);
    }));
    assert!(matches!(victim.fault(), PeerMisbehaved::Malformed(_)));

    // What is not spoken is echoed, or is not a message.
    let mut victim = Victim::new(Limits::default());
    victim.bytes(&amplified(|to| fill_list(to.init_join().init_key_part())));
    assert_eq!(sent(&mut victim), ["abort"]);

    // The object that gets such a call sees that it cannot be read.
    let mut victim = Victim::new(Limits::default());
    victim.bootstrap();
    victim.bytes(&amplified_call(0));
    take!(victim.net.vats[0], Event::Call { number, .. } => assert_eq!(number, u32::MAX));
}

#[test]
fn a_list_of_half_a_billion_elements_is_not_passed_on() {
    let (mut victim, theirs) = acquainted();
    victim.net.vats[0].forward_to = Some(theirs);
    victim.bytes(&amplified_call(0));
    victim.net.vats[0].collect();
    assert_eq!(sent(&mut victim), ["return"], "refused");
}

// ---- messages that are not sent

#[test]
fn a_message_that_is_not_sent_leaves_no_exports_behind() {
    let (mut net, boot) = pair();
    let object = net.vats[0].object(9);
    let promise = net.vats[0].engine.promise();
    let many: Vec<_> = std::iter::repeat_n([object, promise], 40)
        .flatten()
        .collect();
    net.vats[0].send(boot, 1, &many);
    take!(net.vats[0], Event::Returned { result: Err(_), .. } => ());
    let conn = net.conn(0, 0);
    let stats = net.vats[0].engine.stats(conn).unwrap();
    assert_eq!((stats.exports, stats.questions), (0, 0), "{stats:?}");
    net.vats[0].send(boot, 2, &[object]);
    net.run();
    take!(net.vats[1], Event::Call { caps, respond, .. } => {
        net.vats[1].answer(respond, 0, &[]);
        net.vats[1].release(caps[0]);
    });
    net.run();
    net.vats[0].events.clear();
    for node in [object, promise, boot] {
        net.vats[0].release(node);
    }
    net.assert_drained(&[0, 1]);
}
