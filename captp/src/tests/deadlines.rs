//! When callers give up: what is told to the callee, and to whom.

use std::time::Duration;

use super::net::{Event, Net, take};
use crate::{ConnOptions, NodeId, Transmit};

const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Two vats that say hello, or not; the clock of the second one is 70 seconds ahead.
fn pair(hello: bool) -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    let options = ConnOptions::default().with_hello(hello);
    net.link((0, options.clone()), (1, options.with_bootstrap(root)));
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    net.vats[1].engine.handle_time(ms(70_000));
    (net, boot)
}

/// Vat 0 calls `to` with a deadline; the call is delivered, and answered, by vat `at`.
fn call(net: &mut Net, to: NodeId, deadline: Option<Duration>, at: usize) -> Option<Duration> {
    let mut call = net.vats[0].call(1, &[], None);
    call.deadline = deadline;
    net.vats[0].engine.send(to, call);
    net.run();
    take!(net.vats[at], Event::Call { respond, .. } => net.vats[at].answer(respond, 0, &[]));
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    net.vats[at].deadlines.pop().unwrap()
}

#[test]
fn the_callee_reckons_the_deadline_on_its_own_clock() {
    let (mut net, boot) = pair(true);
    assert_eq!(call(&mut net, boot, None, 1), None);
    net.vats[0].engine.handle_time(ms(100));
    assert_eq!(call(&mut net, boot, Some(ms(350)), 1), Some(ms(70_250)));
    let late = call(&mut net, boot, Some(ms(99)), 1);
    assert_eq!(late, Some(ms(70_001)), "it is still told that there is one");
    let never = Some(Duration::from_secs(u64::MAX));
    let most = ms(70_000 + u64::from(u32::MAX));
    assert_eq!(call(&mut net, boot, never, 1), Some(most));
    net.vats[0].release(boot);
    net.assert_drained(&[0, 1]);
}

#[test]
fn a_peer_that_says_no_hello_is_told_no_deadline() {
    let sent = |deadline| {
        let (mut net, boot) = pair(false);
        let mut call = net.vats[0].call(1, &[], None);
        call.deadline = deadline;
        net.vats[0].engine.send(boot, call);
        let (conn, mut out) = (net.conn(0, 0), Transmit::new());
        net.vats[0].engine.poll_transmit(conn, &mut out);
        out.take_bytes()
    };
    assert!(!sent(None).is_empty());
    assert_eq!(sent(Some(ms(350))), sent(None));
}

#[test]
fn what_a_plain_peer_has_at_that_place_means_nothing() {
    let mut victim = super::hostile::Victim::new(crate::Limits::default());
    victim.bootstrap();
    victim.message(|to| {
        let mut call = to.init_call();
        call.set_question_id(1);
        call.set_interface_id(0xaaaa);
        call.set_method_id(3);
        call.set_time_left(5);
        call.reborrow().init_target().set_imported_cap(0);
        super::net::write(call.init_params().init_content(), 1, &[]);
    });
    victim.net.vats[0].collect();
    victim.net.vats[0].events.clear();
    assert_eq!(victim.net.vats[0].deadlines, [None]);
}

#[test]
fn it_shrinks_while_a_call_waits_on_its_way() {
    let mut net = Net::new(3);
    let options = ConnOptions::default().with_hello(true);
    let root = net.vats[2].object(0);
    let offered = options.clone().with_bootstrap(root);
    net.link((1, options.clone()), (2, offered));
    net.vats[2].release(root);
    let conn = net.conn(0, 0);
    let through = net.vats[1].engine.bootstrap(conn);
    let promise = net.vats[1].engine.promise();
    let offered = options.clone().with_bootstrap(promise);
    net.link((0, options), (1, offered));
    let conn = net.conn(1, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    let mut call = net.vats[0].call(1, &[], None);
    call.deadline = Some(ms(1_000));
    net.vats[0].engine.send(boot, call);
    net.run();
    net.vats[1].engine.handle_time(ms(300));
    net.vats[1].engine.resolve(promise, Ok(through)).unwrap();
    net.run();
    take!(net.vats[2], Event::Call { respond, .. } => net.vats[2].answer(respond, 0, &[]));
    net.run();
    take!(net.vats[0], Event::Returned { result: Ok(_), .. } => ());
    assert_eq!(net.vats[2].deadlines, [Some(ms(700))]);
}
