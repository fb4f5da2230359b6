//! What vats tell each other before anything else.

use super::hostile::Victim;
use super::net::{Event, Net, take};
use crate::message::encode::{Built, new_message};
use crate::network_capnp::hello;
use crate::{ConnOptions, Features, Limits, Transmit};

#[test]
fn what_the_peer_announced_is_kept_and_only_common_features_count() {
    let mut net = Net::new(2);
    let one = Features::EXTENDED_CALLS;
    let both = one | Features::THREE_PARTY_HANDOFF;
    let small = Limits::default()
        .with_message_bytes(9_000)
        .with_caps_per_message(3)
        .with_fds_per_message(0)
        .with_answers_soft(77)
        .with_answers(88)
        .with_call_bytes_soft(7_000)
        .with_call_bytes(8_000);
    let options = ConnOptions::default().with_hello(true);
    net.link(
        (0, options.clone().with_features(both)),
        (1, options.with_features(one).with_limits(small)),
    );
    let (here, there) = (net.conn(0, 0), net.conn(0, 1));
    assert_eq!(net.vats[0].engine.peer_hello(here), None);
    assert_eq!(net.vats[0].engine.features(here), Features::NONE);
    net.run();
    let said = net.vats[0].engine.peer_hello(here).unwrap();
    assert_eq!(said.features, one);
    assert_eq!(said.message_bytes, Some(9_000));
    assert_eq!(said.caps_per_message, Some(3));
    assert_eq!(said.fds_per_message, None, "0 means that it does not say");
    assert_eq!((said.calls_soft, said.calls), (Some(77), Some(88)));
    assert_eq!(said.call_bytes_soft, Some(7_000));
    assert_eq!(said.call_bytes, Some(8_000));
    assert_eq!(net.vats[1].engine.peer_hello(there).unwrap().features, both);
    for (vat, conn) in [(0, here), (1, there)] {
        assert_eq!(net.vats[vat].engine.features(conn), one);
    }
    assert!(!Features::NONE.contains(one) && both.contains(one));
    net.cut(0);
    take!(net.vats[0], Event::Closed(..) => ());
    assert_eq!(net.vats[0].engine.peer_hello(here), None);
}

#[test]
fn unknown_features_and_a_long_name_do_no_harm() {
    let mut victim = Victim::new(Limits::default());
    let options = ConnOptions::default()
        .with_hello(true)
        .with_features(Features::EXTENDED_CALLS);
    let conn = victim.net.vats[0].engine.open(options);
    victim.conn = conn;
    let mut built: Built = new_message(16);
    let mut hello = built.init_root::<hello::Builder<'_>>();
    hello.set_magic(0x0d74_6176);
    hello.set_major(1);
    hello.set_minor(9);
    hello.set_features(u64::MAX);
    hello.set_agent("ä".repeat(1_000));
    let mut out = Transmit::new();
    out.push(&built.get_segments_for_output(), &[]);
    victim.bytes(&out.take_bytes());
    let said = victim.net.vats[0].engine.peer_hello(conn).unwrap();
    assert_eq!((said.minor, said.agent.chars().count()), (9, 64));
    assert_eq!(said.message_bytes, None);
    let shown = format!("{:?}", said.features);
    assert!(shown.contains("three-party handoff") && shown.contains("63"));
    assert_eq!(
        victim.net.vats[0].engine.features(conn),
        Features::EXTENDED_CALLS
    );
}

#[test]
fn a_plain_peer_announces_nothing() {
    let mut victim = Victim::new(Limits::default());
    victim.bootstrap();
    let conn = victim.conn;
    assert_eq!(victim.net.vats[0].engine.peer_hello(conn), None);
    assert_eq!(victim.net.vats[0].engine.features(conn), Features::NONE);
}
