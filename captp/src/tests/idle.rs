//! When a connection is of no use, and how it ends.

use super::hostile::Victim;
use super::net::{Event, Net, pair, take};
use crate::{CloseReason, Limits};

fn idle(net: &Net) -> [bool; 2] {
    [0, 1].map(|end| net.vats[end].engine.is_idle(net.conn(0, end)))
}

#[test]
fn a_connection_is_idle_only_with_empty_tables_and_nothing_under_way() {
    let (mut net, boot) = pair();
    assert_eq!(idle(&net), [false, false], "a reference is held");
    net.vats[0].release(boot);
    assert_eq!(idle(&net), [false, false], "the release is to be sent");
    net.run();
    assert_eq!(idle(&net), [true, true]);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.vats[0].send(boot, 1, &[]);
    net.vats[0].release(boot);
    net.run();
    assert_eq!(idle(&net), [false, false], "a call is under way");
    take!(net.vats[1], Event::Call { respond, .. } => net.vats[1].answer(respond, 0, &[]));
    net.run();
    assert_eq!(idle(&net), [true, true]);
}

#[test]
fn a_message_that_has_begun_is_waited_for() {
    let mut victim = Victim::new(Limits::default());
    let conn = victim.conn;
    assert!(victim.net.vats[0].engine.is_idle(conn));
    victim.bytes(&[0, 0, 0]);
    assert!(!victim.net.vats[0].engine.is_idle(conn));
}

#[test]
fn an_idle_connection_is_closed_without_a_message() {
    let (mut net, boot) = pair();
    net.vats[0].release(boot);
    net.run();
    let (here, there) = (net.conn(0, 0), net.conn(0, 1));
    net.vats[0].engine.close(here, None);
    take!(net.vats[0], Event::Closed(_, CloseReason::Local) => ());
    assert!(net.flying(0, 1).is_empty());
    assert!(!net.vats[0].engine.is_idle(here), "it is closed");
    net.vats[1].engine.handle_closed(there, "end of stream");
    take!(net.vats[1], Event::Dropped(0) => ());
    take!(net.vats[1], Event::Closed(..) => ());
    net.assert_drained(&[0, 0]);
}
