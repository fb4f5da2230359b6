//! What a peer says went wrong is kept by all that it broke: it must not be large.

use super::hostile::write_index;
use super::net::{Event, pair, take};
use super::rare::acquainted;
use crate::{Exception, NodeState};

fn long() -> String {
    "x".repeat(3 << 20)
}

#[test]
fn one_long_abort_does_not_become_a_long_reason_for_every_call() {
    let (mut victim, theirs) = acquainted();
    for number in 0..100 {
        victim.net.vats[0].send(theirs, number, &[]);
    }
    victim.message(|to| {
        let mut abort = to.init_abort();
        abort.set_reason(long().as_str());
        abort.set_trace(long().as_str());
    });
    let mut broken = 0;
    while let Some(event) = victim.net.vats[0].next() {
        if let Event::Returned { result, .. } = event {
            let reason = result.unwrap_err();
            assert!(reason.weight() <= Exception::REASON + Exception::TRACE);
            assert!(reason.reason().ends_with("; the call may have run"));
            broken += 1;
        }
    }
    assert_eq!(broken, 100);
}

#[test]
fn a_long_reason_that_breaks_many_calls_of_a_peer_does_not_end_its_connection() {
    let (mut net, boot) = pair();
    let (_, result) = net.vats[0].ask(boot, 1, &[]);
    for number in 0..1_000 {
        net.vats[0].send(result, number, &[]);
    }
    net.run();
    let reason = Exception::failed(long()).with_trace(long());
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].fail(respond, reason));
    net.run();
    let stats = net.vats[0].engine.stats(net.conn(0, 0));
    assert!(stats.is_some(), "still connected");
    let mut broken = 0;
    while let Some(event) = net.vats[0].next() {
        broken += usize::from(matches!(event, Event::Returned { result: Err(_), .. }));
    }
    assert_eq!(broken, 1_001);
}

#[test]
fn of_the_reasons_with_which_a_peer_breaks_its_promises_little_is_kept() {
    let (mut victim, _) = acquainted();
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(20);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.reborrow().init_target().set_imported_cap(0);
        let mut params = call.init_params();
        let mut caps = params.reborrow().init_cap_table(1);
        caps.reborrow().get(0).set_sender_promise(100);
        write_index(params.init_content());
    });
    let promise = take!(victim.net.vats[0], Event::Call { caps, .. } => caps[0]);
    victim.message(|to| {
        let mut resolve = to.init_resolve();
        resolve.set_promise_id(100);
        let mut exception = resolve.init_exception();
        exception.set_reason(long().as_str());
        exception.set_trace(long().as_str());
    });
    let NodeState::Broken(reason) = victim.net.vats[0].engine.state(promise) else {
        panic!("not broken")
    };
    assert!(reason.weight() <= 256, "{}", reason.weight());
    assert!(reason.reason().starts_with("xxx"));
}
