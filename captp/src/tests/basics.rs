//! Calls, answers, exceptions, releases, disconnects.

use super::net::{Event, pair, take};
use crate::{Exception, ExceptionKind, NodeState};

#[test]
fn bootstrap_call_return_and_release_leave_nothing_behind() {
    let (mut net, boot) = pair();
    assert!(matches!(net.vats[0].engine.state(boot), NodeState::Far(_)));
    let tag = net.vats[0].send(boot, 41, &[]);
    net.deliver(0, 1, "call");
    take!(net.vats[1], Event::Call { object: 0, number: 41, respond, .. } => {
        net.vats[1].answer(respond, 42, &[]);
    });
    net.deliver(0, 0, "return");
    take!(net.vats[0], Event::Returned { tag: got, result: Ok((42, _)) } => {
        assert_eq!(got, tag);
    });
    assert!(
        net.flying(0, 1).is_empty(),
        "no finish is needed for results without references"
    );
    net.vats[0].release(boot);
    net.deliver(0, 1, "release");
    // The bootstrap itself is held by the connection.
    net.assert_drained(&[0, 1]);
}

#[test]
fn an_exception_keeps_kind_reason_trace_and_details() {
    let (mut net, boot) = pair();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let reason = Exception::new(ExceptionKind::Overloaded, "too many cooks")
        .with_trace("kitchen")
        .with_detail(crate::Detail::new(9, vec![1, 2, 3]));
    take!(net.vats[1], Event::Call { respond, .. } => {
        net.vats[1].fail(respond, reason.clone());
    });
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(got), .. } => assert_eq!(got, reason));
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}
