//! The engine against `capnp-rpc`, both as the one who calls and as the one who is called, over
//! streams in memory: bootstrap, calls, callbacks, pipelining, promises, embargo, exceptions.
//!
//! Parameters and results are `schema_capnp::annotation`s, for want of a schema: a number in `id`
//! and a reference as `value.anyPointer`, which is pointer 0 of pointer 0.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::type_complexity,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test"
)]

use std::rc::Rc;

use capnp::any_pointer;
use capnp::private::capability::ClientHook;
use capnp::schema_capnp::{annotation, value};
use captp::{CloseReason, Exception, ExceptionKind, NodeState, ObjectKey};

mod peer;
mod stream;
mod world;

use peer::{Raw, request};
use world::World;

const INTERFACE: u64 = 0x8123_4567_89ab_cdef;
const PATH: [u16; 2] = [0, 0];

/// Answers the number plus one.
const ECHO: u16 = 0;
/// Calls `ECHO` of the reference with the number, and answers what comes back.
const CALL_BACK: u16 = 1;
/// Answers the reference that it was given, or itself.
const REFLECT: u16 = 2;
/// Fails.
const FAIL: u16 = 3;
/// Holds on to the reference that it was given, and never answers.
const HANG: u16 = 4;

fn fill(to: any_pointer::Builder<'_>, number: u64, cap: Option<Box<dyn ClientHook>>) {
    let mut root: annotation::Builder<'_> = to.init_as();
    root.set_id(number);
    if let Some(cap) = cap {
        root.init_value().init_any_pointer().set_as_capability(cap);
    }
}

fn look(from: any_pointer::Reader<'_>) -> (u64, Option<Box<dyn ClientHook>>) {
    let root: annotation::Reader<'_> = from.get_as().unwrap();
    let cap = match root.get_value().unwrap().which() {
        Ok(value::AnyPointer(cap)) => cap.get_pipelined_cap(&[]).ok(),
        _ => None,
    };
    (root.get_id(), cap)
}

#[test]
fn we_call_a_capnp_rpc_server() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    // Before the bootstrap has been answered, too.
    let tag = world.send(boot, ECHO, 41, None);
    assert_eq!(world.result(tag).unwrap().0, 42);
    assert_eq!(world.engine.state(boot), NodeState::Far(world.conn));
    for number in 0..100 {
        let tag = world.send(boot, ECHO, number, None);
        assert_eq!(world.result(tag).unwrap().0, number + 1);
    }
    let stats = world.engine.stats(world.conn).unwrap();
    assert_eq!((stats.questions, stats.imports), (0, 1));
    world.engine.release(boot);
    world.run();
    let stats = world.engine.stats(world.conn).unwrap();
    assert_eq!((stats.imports, world.closed), (0, None));
}

#[test]
fn a_capnp_rpc_server_calls_back() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    let mine = world.engine.object(ObjectKey(7));
    let tag = world.send(boot, CALL_BACK, 10, Some(mine));
    assert_eq!(world.result(tag).unwrap().0, 11);
    assert_eq!(world.seen, [10]);
    world.engine.release(mine);
    world.engine.release(boot);
    world.run();
    assert_eq!(world.engine.stats(world.conn).unwrap().imports, 0);
}

#[test]
fn exceptions_keep_kind_and_reason_both_ways() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    let tag = world.send(boot, FAIL, 1, None);
    let reason = world.result(tag).unwrap_err();
    assert_eq!(reason.kind(), ExceptionKind::Overloaded);
    assert!(reason.reason().contains("no room at the inn"), "{reason}");
    let tag = world.send(boot, 99, 1, None);
    assert_eq!(
        world.result(tag).unwrap_err().kind(),
        ExceptionKind::Unimplemented
    );

    let call = request(&*world.theirs.clone(), FAIL, 1, None);
    let error = world.theirs(call).err().unwrap();
    assert_eq!(error.kind, capnp::ErrorKind::Overloaded);
    assert!(error.extra.contains("no room at the inn"), "{error}");
    assert_eq!(error.extra.matches("remote exception").count(), 1);
}

#[test]
fn we_pipeline_on_a_capnp_rpc_server() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    let first = world.engine.promise();
    world.ask(boot, REFLECT, 1, None, Some(first));
    let second = world.engine.promise();
    world.ask(first, REFLECT, 2, None, Some(second));
    let tag = world.send(second, ECHO, 3, None);
    world.engine.release(first);
    assert_eq!(world.result(tag).unwrap().0, 4);
    assert_eq!(world.engine.state(second), NodeState::Far(world.conn));
    // A pipelined call to what turns out to be null.
    let none = world.engine.promise();
    world.ask(boot, ECHO, 5, None, Some(none));
    let tag = world.send(none, ECHO, 6, None);
    assert!(world.result(tag).is_err());
    assert_eq!(world.closed, None);
}

#[test]
fn order_is_kept_when_capnp_rpc_reflects_our_own_object() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    let mine = world.engine.object(ObjectKey(7));
    let echo = world.engine.promise();
    world.ask(boot, REFLECT, 100, Some(mine), Some(echo));
    for number in 0..3 {
        world.send(echo, ECHO, number, None);
    }
    world.run();
    for number in 3..6 {
        world.send(echo, ECHO, number, None);
    }
    world.run();
    assert_eq!(world.seen, [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.engine.same(echo, mine), Some(true));
    assert_eq!(world.engine.stats(world.conn).unwrap().embargoes, 0);
}

#[test]
fn a_promise_of_ours_resolves_at_capnp_rpc() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    let promise = world.engine.promise();
    let tag = world.send(boot, CALL_BACK, 20, Some(promise));
    world.run();
    assert!(world.seen.is_empty(), "the callback waits");
    let mine = world.engine.object(ObjectKey(7));
    world.engine.resolve(promise, Ok(mine)).unwrap();
    assert_eq!(world.result(tag).unwrap().0, 21);
    let broken = world.engine.promise();
    let tag = world.send(boot, CALL_BACK, 20, Some(broken));
    world.run();
    world
        .engine
        .resolve(broken, Err(Exception::failed("gave up")))
        .unwrap();
    assert!(world.result(tag).unwrap_err().reason().contains("gave up"));
}

#[test]
fn a_call_that_we_cancel_is_dropped_by_capnp_rpc_and_the_connection_goes_on() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    world.run();
    let nodes = world.engine.live_nodes();
    let before = world.engine.stats(world.conn).unwrap();
    let mine = world.engine.object(ObjectKey(7));
    let results = [(); 3].map(|()| world.engine.promise());
    let tags = results.map(|result| world.ask(boot, HANG, 1, Some(mine), Some(result)));
    world.engine.release(mine);
    world.run();
    assert_eq!(world.peer.hanging.get(), 3, "their methods run");
    for (left, (result, tag)) in (0..3).rev().zip(results.into_iter().zip(tags)) {
        assert!(world.engine.cancel(result));
        let reason = world.result(tag).unwrap_err();
        assert!(reason.reason().contains("canceled"), "{reason}");
        assert_eq!(world.peer.hanging.get(), left, "the others go on");
        let tag = world.send(boot, ECHO, 41, None);
        assert_eq!(world.result(tag).unwrap().0, 42);
        world.engine.release(result);
    }
    // What the methods held went with them. capnp-rpc never returns what it dropped, although every
    // call should be: it keeps these ids in use, and so must we.
    let after = world.engine.stats(world.conn).unwrap();
    assert_eq!((after.questions, after.answers), (3, before.answers));
    assert_eq!(
        (after.exports, after.imports),
        (before.exports, before.imports)
    );
    assert_eq!(world.engine.live_nodes(), nodes);
    assert_eq!(world.closed, None);
}

#[test]
fn a_capnp_rpc_client_calls_us() {
    let mut world = World::new();
    let theirs = world.theirs.clone();
    assert_eq!(world.theirs(request(&*theirs, ECHO, 1, None)).unwrap().0, 2);
    // A reference of theirs comes back as itself, one of ours can be called.
    let own: Raw = capnp_rpc::new_client_from_rc(Rc::clone(&world.peer));
    let (_, back) = world
        .theirs(request(&*theirs, REFLECT, 2, Some(own.0.hook.add_ref())))
        .unwrap();
    assert_eq!(
        world
            .theirs(request(&*back.unwrap(), ECHO, 30, None))
            .unwrap()
            .0,
        31
    );
    assert_eq!(*world.peer.seen.borrow(), [30]);
    let (_, ours) = world.theirs(request(&*theirs, REFLECT, 3, None)).unwrap();
    assert_eq!(
        world
            .theirs(request(&*ours.unwrap(), ECHO, 40, None))
            .unwrap()
            .0,
        41
    );
    drop((theirs, own));
    assert_eq!(world.seen, [1, 2, 3, 40]);
}

#[test]
fn a_capnp_rpc_client_pipelines_on_us_in_order() {
    let mut world = World::new();
    let own: Raw = capnp_rpc::new_client_from_rc(Rc::clone(&world.peer));
    let call = request(
        &*world.theirs.clone(),
        REFLECT,
        1,
        Some(own.0.hook.add_ref()),
    );
    let sent = call.send();
    let cap = sent
        .pipeline
        .get_pointer_field(0)
        .get_pointer_field(0)
        .as_cap();
    drop(sent.promise);
    for number in 10..15 {
        assert_eq!(
            world.theirs(request(&*cap, ECHO, number, None)).unwrap().0,
            number + 1
        );
    }
    assert_eq!(*world.peer.seen.borrow(), [10, 11, 12, 13, 14]);
    assert_eq!(world.closed, None);
}

#[test]
fn the_end_of_the_stream_breaks_calls_on_both_sides() {
    let mut world = World::new();
    let boot = world.engine.bootstrap(world.conn);
    world.run();
    let promise = world.engine.promise();
    let tag = world.send(boot, CALL_BACK, 1, Some(promise));
    world.run();
    world.engine.handle_closed(world.conn, "end of stream");
    {
        let mut stream = world.stream.0.borrow_mut();
        stream.closed = true;
        if let Some(waker) = stream.waker.take() {
            waker.wake();
        }
    }
    let reason = world.result(tag).unwrap_err();
    assert_eq!(reason.kind(), ExceptionKind::Disconnected);
    assert_eq!(
        world.closed,
        Some(CloseReason::Transport("end of stream".to_owned()))
    );
    let call = request(&*world.theirs.clone(), ECHO, 1, None);
    assert_eq!(
        world.theirs(call).err().unwrap().kind,
        capnp::ErrorKind::Disconnected
    );
}
