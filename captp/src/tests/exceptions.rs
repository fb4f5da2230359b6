//! What an exception carries, from where it is raised to who called.

use super::hostile::Victim;
use super::in_a_row::{row, row_drained};
use super::net::{Event, take};
use crate::captp_capnp::exception;
use crate::{CloseReason, Detail, Exception, ExceptionKind, Limits};

fn raised() -> Exception {
    Exception::overloaded("too many cooks")
        .with_trace("kitchen")
        .with_detail(Detail::new(9, vec![1, 2, 3]))
        .with_detail(Detail::new(10, Vec::new()))
}

#[test]
fn a_vat_in_the_middle_keeps_kind_and_details_and_adds_one_line_to_the_trace() {
    let (mut net, boot) = row();
    for answer in [raised(), Exception::unimplemented("no method 7")] {
        net.vats[0].send(boot, 1, &[]);
        net.run();
        take!(net.vats[2], Event::Call { respond, .. } => {
            net.vats[2].fail(respond, answer.clone());
        });
        net.run();
        take!(net.vats[0], Event::Returned { result: Err(got), .. } => {
            assert_eq!((got.kind(), got.reason()), (answer.kind(), answer.reason()));
            assert_eq!(got.details(), answer.details());
            let lines: Vec<&str> = got.trace().lines().collect();
            let own = answer.trace().lines().count();
            assert_eq!(lines.len(), own + 1, "{lines:?}");
            assert!(got.trace().starts_with(answer.trace()));
            assert_eq!(lines.last(), Some(&"passed on by a vat"));
        });
    }
    net.vats[0].release(boot);
    row_drained(&mut net);
}

#[test]
fn a_trace_does_not_grow_without_end() {
    let mut passed_on = Exception::failed("no").with_trace("x".repeat(4_000));
    for _ in 0..100 {
        passed_on = passed_on.relayed("someone");
    }
    assert!((4_000..=4_096).contains(&passed_on.trace().len()));
    assert!(passed_on.trace().ends_with("passed on by someone"));
    // One that is long already stays as it is.
    let long = Exception::failed("no").with_trace("x".repeat(5_000));
    assert_eq!(long.relayed("someone"), long);
}

#[test]
fn marks_of_a_remote_reason_do_not_pile_up_on_the_way() {
    let mut victim = Victim::new(Limits::default());
    let conn = victim.conn;
    let theirs = victim.net.vats[0].engine.bootstrap(conn);
    victim.message(|to| {
        let mut ret = to.init_return();
        ret.set_answer_id(0);
        let mut reason = ret.init_exception();
        reason.set_reason("remote exception: remote exception: no such file");
        reason.set_type(exception::Type::Unimplemented);
    });
    victim.net.vats[0].send(theirs, 1, &[]);
    take!(victim.net.vats[0], Event::Failed { reason, .. } => {
        assert_eq!(reason, Exception::unimplemented("no such file"));
    });
}

#[test]
fn what_is_lost_with_an_aborted_connection_keeps_the_details_of_the_reason() {
    let (mut net, boot) = row();
    net.run();
    net.vats[0].send(boot, 1, &[]);
    net.run();
    let conn = net.conn(1, 1);
    net.vats[1].engine.close(conn, Some(raised()));
    net.run();
    take!(net.vats[0], Event::Returned { result: Err(got), .. } => {
        assert_eq!(got.kind(), ExceptionKind::Disconnected);
        assert!(got.reason().contains("too many cooks"), "{got}");
        assert!(got.reason().contains("may have run"), "{got}");
        assert_eq!(got.details(), raised().details());
        assert_eq!(got.trace(), "kitchen");
    });
    take!(net.vats[0], Event::Closed(_, CloseReason::PeerAborted(got)) => {
        assert_eq!(got, raised());
    });
    net.vats[0].send(boot, 2, &[]);
    take!(net.vats[0], Event::Failed { reason, .. } => {
        assert_eq!(reason.details(), raised().details());
    });
}
