//! More parties: gifts that are passed on, and those that go back.

use super::super::net::{Event, Net, take};
use super::{EXPORTER, GIFTER, RECIPIENT, TO_RECIPIENT, Trio, fourth, give, hush};

#[test]
fn a_gift_is_passed_on_before_anybody_accepts_it() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (_, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    assert!(
        trio.net.vats[RECIPIENT].next().is_none(),
        "the forwarder does not dial"
    );
    trio.net.vats[3].send(passed, 8, &[]);
    let direct = trio.net.dial(3);
    assert_eq!(trio.net.links[direct].ends[1].0, EXPORTER);
    trio.net.run();
    trio.assert_number(EXPORTER, 8);
    // The forwarder accepts its own as well: several Accepts, one Provide.
    trio.net.vats[RECIPIENT].send(given, 9, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    trio.assert_number(EXPORTER, 9);
    trio.net.run();
    trio.net.vats[RECIPIENT].release(given);
    trio.net.vats[RECIPIENT].release(other);
    trio.net.vats[3].release(passed);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1, 1]);
}

#[test]
fn a_forwarder_that_accepts_keeps_the_gift_for_who_got_it_from_there() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (_, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    trio.net.vats[RECIPIENT].send(given, 1, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    trio.assert_number(EXPORTER, 1);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.run();
    trio.net.vats[3].send(passed, 2, &[]);
    trio.net.dial(3);
    trio.net.run();
    trio.assert_number(EXPORTER, 2);
}

#[test]
fn a_gift_that_goes_back_is_what_it_was() {
    let mut trio = Trio::new();
    let given = trio.give();
    let conn = trio.net.conn(TO_RECIPIENT, 1);
    let root = trio.net.vats[RECIPIENT].engine.bootstrap(conn);
    trio.net.run();
    let back = give(&mut trio.net, RECIPIENT, root, GIFTER, given);
    assert_eq!(
        trio.net.vats[GIFTER].engine.same(back, trio.gift),
        Some(true)
    );
    assert!(trio.net.vats[RECIPIENT].next().is_none(), "nobody accepted");
    for node in [given, root] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.net.vats[GIFTER].release(back);
    trio.gifter_lets_go();
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn a_gift_reflected_through_a_fourth_vat_can_still_be_accepted() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let (link, other) = fourth(&mut trio);
    let passed = give(&mut trio.net, RECIPIENT, other, 3, given);
    let conn = trio.net.conn(link, 1);
    let root = trio.net.vats[3].engine.bootstrap(conn);
    trio.net.run();
    let back = give(&mut trio.net, 3, root, RECIPIENT, passed);
    trio.net.vats[RECIPIENT].release(given);
    trio.net.vats[RECIPIENT].send(back, 3, &[]);
    let direct = trio.net.dial(RECIPIENT);
    assert_eq!(trio.net.links[direct].ends[1].0, EXPORTER);
    trio.net.run();
    trio.assert_number(EXPORTER, 3);
}

#[test]
fn an_object_that_comes_home_as_a_gift_is_itself() {
    let mut trio = Trio::new();
    let given = trio.give();
    let link = trio.net.meet(RECIPIENT, EXPORTER);
    let other = trio.net.root(link, 0);
    let home = give(&mut trio.net, RECIPIENT, other, EXPORTER, given);
    trio.net.run();
    let object = trio.net.vats[EXPORTER].object(20);
    assert_eq!(
        trio.net.vats[EXPORTER].engine.same(home, object),
        Some(true)
    );
    trio.net.vats[EXPORTER].release(object);
    trio.net.vats[EXPORTER].release(home);
    for node in [given, other] {
        trio.net.vats[RECIPIENT].release(node);
    }
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1]);
}

#[test]
fn a_gift_in_a_return_is_accepted_first() {
    let mut trio = Trio::with(Net::known(4));
    let given = trio.give();
    let link = trio.net.meet(RECIPIENT, 3);
    let root = trio.net.root(link, 1);
    let (_, result) = trio.net.vats[3].ask(root, 1, &[]);
    trio.net.vats[3].send(result, 50, &[]);
    trio.net.run();
    let respond = take!(trio.net.vats[RECIPIENT], Event::Call { respond, .. } => respond);
    trio.net.vats[RECIPIENT].answer(respond, 0, &[given]);
    trio.net.vats[3].send(result, 51, &[]);
    trio.net.dial(RECIPIENT);
    trio.net.run();
    let also = take!(trio.net.vats[3], Event::Returned { result: Ok((_, caps)), .. } => caps[0]);
    trio.net.vats[3].release(also);
    trio.net.vats[3].send(result, 52, &[]);
    trio.net.dial(3);
    trio.net.run();
    for number in 50..=52 {
        trio.assert_number(EXPORTER, number);
    }
    trio.net.run();
    for node in [root, result] {
        trio.net.vats[3].release(node);
    }
    trio.net.vats[RECIPIENT].release(given);
    trio.gifter_lets_go();
    hush(&mut trio.net);
    trio.net.assert_drained(&[1, 1, 1, 1]);
}

#[test]
fn a_reference_goes_from_hand_to_hand_through_many_vats() {
    let vats = 8;
    let mut net = Net::known(vats);
    let first = net.meet(0, 1);
    let mut held = net.root(first, 0);
    // Vat 0 holds object 10 of vat 1; it goes to 2, then 3, and so on; all others forget it.
    let mut holder = 0;
    for next in 2..vats {
        let link = net.meet(holder, next);
        let to = net.root(link, 0);
        let given = give(&mut net, holder, to, next, held);
        net.vats[next].send(given, u32::try_from(next).unwrap(), &[]);
        net.dial(next);
        net.run();
        assert_eq!(net.vats[1].take_number(), u32::try_from(next).unwrap());
        net.run();
        for node in [held, to] {
            net.vats[holder].release(node);
        }
        net.run();
        for link in 0..net.links.len() {
            let ends = net.links[link].ends;
            if ends.iter().any(|(vat, _)| *vat == holder) {
                net.cut(link);
            }
        }
        hush(&mut net);
        (holder, held) = (next, given);
    }
    net.vats[holder].release(held);
    net.run();
    assert_eq!(net.vats[holder].engine.live_nodes(), 1);
}
