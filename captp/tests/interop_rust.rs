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

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::any_pointer;
use capnp::capability::{
    Client, DispatchCallResult, FromClientHook, FromServer, Params, Promise, Request, Results,
    Server,
};
use capnp::private::capability::ClientHook;
use capnp::schema_capnp::{annotation, value};
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use captp::{
    CloseReason, Config, ConnId, ConnOptions, Content, Encoded, Engine, Exception, ExceptionKind,
    Host, Incoming, LocalCall, NodeId, NodeState, ObjectKey, Output, Payload, Transmit, WireCall,
    cap_hook, cap_index,
};
use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt as _;

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

// ---- capnp-rpc's side

#[derive(Default)]
struct Peer {
    seen: RefCell<Vec<u64>>,
}

#[derive(Clone)]
struct Dispatch(Rc<Peer>);

impl Deref for Dispatch {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

#[derive(Clone)]
struct Raw(Client);

impl FromClientHook for Raw {
    fn new(hook: Box<dyn ClientHook>) -> Self {
        Self(Client::new(hook))
    }

    fn into_client_hook(self) -> Box<dyn ClientHook> {
        self.0.hook
    }

    fn as_client_hook(&self) -> &dyn ClientHook {
        &*self.0.hook
    }
}

impl FromServer<Peer> for Raw {
    type Dispatch = Dispatch;

    fn from_server(server: Rc<Peer>) -> Dispatch {
        Dispatch(server)
    }
}

type Call = Request<any_pointer::Owned, any_pointer::Owned>;

fn request(
    hook: &dyn ClientHook,
    method: u16,
    number: u64,
    cap: Option<Box<dyn ClientHook>>,
) -> Call {
    let mut request = hook.new_call(INTERFACE, method, None);
    fill(request.get(), number, cap);
    request
}

impl Server for Dispatch {
    fn dispatch_call(
        self,
        interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        mut results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        assert_eq!(interface, INTERFACE);
        let (number, cap) = look(params.get().unwrap());
        self.seen.borrow_mut().push(number);
        let promise = match method {
            ECHO => {
                fill(results.get(), number + 1, None);
                Promise::ok(())
            }
            CALL_BACK => {
                let call = request(&*cap.unwrap(), ECHO, number, None);
                Promise::from_future(async move {
                    let answer = call.send().promise.await?;
                    fill(results.get(), look(answer.get()?).0, None);
                    Ok(())
                })
            }
            REFLECT => {
                let own: Raw = capnp_rpc::new_client(Peer::default());
                fill(results.get(), number, Some(cap.unwrap_or(own.0.hook)));
                Promise::ok(())
            }
            FAIL => Promise::err(capnp::Error::overloaded("no room at the inn".to_owned())),
            _ => Promise::err(capnp::Error::unimplemented("what is that".to_owned())),
        };
        DispatchCallResult::new(promise, false)
    }

    fn as_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }
}

/// One end of a stream in memory.
#[derive(Clone, Default)]
struct End(Rc<RefCell<Stream>>);

#[derive(Default)]
struct Stream {
    inward: VecDeque<u8>,
    outward: Vec<u8>,
    closed: bool,
    waker: Option<Waker>,
}

impl futures::io::AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut stream = self.0.borrow_mut();
        if stream.inward.is_empty() && !stream.closed {
            stream.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(stream.inward.len());
        for (to, from) in into.iter_mut().zip(stream.inward.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl futures::io::AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.borrow_mut().outward.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// ---- our side

struct Ours;

impl Host for Ours {
    type Call = OurCall;
    type Reply = u32;
    type Job = ();
}

struct OurCall {
    method: u16,
    number: u64,
    cap: Option<NodeId>,
    tag: u32,
    result: Option<NodeId>,
}

impl LocalCall for OurCall {
    type Reply = u32;

    fn interface(&self) -> u64 {
        INTERFACE
    }

    fn method(&self) -> u16 {
        self.method
    }

    fn encode(self, to: &mut Content) -> Result<Encoded<u32>, (u32, Exception)> {
        let written = to.build::<Exception>(8, |root| {
            fill(root, self.number, self.cap.map(cap_hook));
            Ok(())
        });
        written.unwrap();
        let pipelined = self
            .result
            .map(|node| (node, PATH.to_vec()))
            .into_iter()
            .collect();
        Ok(Encoded {
            reply: self.tag,
            pipelined,
        })
    }
}

struct World {
    pool: LocalPool,
    spawner: LocalSpawner,
    stream: End,
    engine: Engine<Ours>,
    conn: ConnId,
    root: NodeId,
    next_tag: u32,
    returned: Vec<(u32, Result<(u64, Option<NodeId>), Exception>)>,
    /// Numbers of the calls that our objects got.
    seen: Vec<u64>,
    closed: Option<CloseReason>,
    theirs: Box<dyn ClientHook>,
    peer: Rc<Peer>,
}

impl World {
    fn new() -> Self {
        let pool = LocalPool::new();
        let spawner = pool.spawner();
        let stream = End::default();
        let network = twoparty::VatNetwork::new(
            stream.clone(),
            stream.clone(),
            Side::Server,
            capnp::message::ReaderOptions::default(),
        );
        let peer = Rc::new(Peer::default());
        let offered: Raw = capnp_rpc::new_client_from_rc(Rc::clone(&peer));
        let mut system = RpcSystem::new(Box::new(network), Some(offered.0));
        let theirs: Raw = system.bootstrap(Side::Client);
        spawner
            .spawn_local(async move {
                let _ended = system.await;
            })
            .unwrap();
        let mut engine = Engine::new(Config::default());
        let root = engine.object(ObjectKey(1));
        let conn = engine.open(ConnOptions::default().with_bootstrap(root));
        Self {
            pool,
            spawner,
            stream,
            engine,
            conn,
            root,
            next_tag: 0,
            returned: Vec::new(),
            seen: Vec::new(),
            closed: None,
            theirs: theirs.0.hook,
            peer,
        }
    }

    fn send(&mut self, to: NodeId, method: u16, number: u64, cap: Option<NodeId>) -> u32 {
        self.ask(to, method, number, cap, None)
    }

    fn ask(
        &mut self,
        to: NodeId,
        method: u16,
        number: u64,
        cap: Option<NodeId>,
        result: Option<NodeId>,
    ) -> u32 {
        self.next_tag += 1;
        let tag = self.next_tag;
        self.engine.send(
            to,
            OurCall {
                method,
                number,
                cap,
                tag,
                result,
            },
        );
        tag
    }

    /// Lets both sides run until neither has anything to do.
    fn run(&mut self) {
        loop {
            self.pool.run_until_stalled();
            self.outputs();
            let bytes = std::mem::take(&mut self.stream.0.borrow_mut().outward);
            // In pieces of odd sizes.
            for piece in bytes.chunks(37) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let taken = self.engine.handle_bytes(self.conn, piece, Vec::new());
                    piece = &piece[taken..];
                    self.engine.check().unwrap();
                    self.outputs();
                }
            }
            self.outputs();
            let mut out = Transmit::new();
            let some = self.engine.poll_transmit(self.conn, &mut out);
            let mut stream = self.stream.0.borrow_mut();
            stream.inward.extend(out.take_bytes());
            if let Some(waker) = stream.waker.take() {
                waker.wake();
            }
            if bytes.is_empty() && !some {
                return;
            }
        }
    }

    fn outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Deliver {
                    call: Incoming::Wire(call),
                    ..
                } => self.serve(call),
                Output::Deliver {
                    call: Incoming::Local(call),
                    ..
                } => {
                    self.seen.push(call.number);
                    self.returned.push((call.tag, Ok((call.number + 1, None))));
                }
                Output::Returned { reply, result } => {
                    let result = result.map(taken);
                    self.returned.push((reply, result));
                }
                Output::Failed { call, reason } => self.returned.push((call.tag, Err(reason))),
                Output::Closed { reason, .. } => self.closed = Some(reason),
                Output::Run(())
                | Output::Cancelled(_)
                | Output::Dropped(_)
                | Output::Dial { .. } => {}
            }
        }
    }

    /// What our object does, as the peer's does it.
    fn serve(&mut self, call: WireCall) {
        assert_eq!(call.interface, INTERFACE);
        let (number, cap) = taken(call.params);
        self.seen.push(number);
        let answer = match call.method {
            ECHO => Ok((number + 1, None)),
            REFLECT => Ok((number, Some(cap.unwrap_or(self.root)))),
            FAIL => Err(Exception::overloaded("no room at the inn")),
            _ => Err(Exception::unimplemented("what is that")),
        };
        match answer {
            Ok((number, back)) => {
                let mut write = |to: &mut Content| {
                    to.build(8, |root| {
                        fill(root, number, back.map(cap_hook));
                        Ok(())
                    })
                };
                self.engine.answer(call.answer, Ok(&mut write));
            }
            Err(reason) => self.engine.answer(call.answer, Err(reason)),
        }
        if let Some(cap) = cap {
            self.engine.release(cap);
        }
    }

    fn result(&mut self, tag: u32) -> Result<(u64, Option<NodeId>), Exception> {
        self.run();
        let at = self
            .returned
            .iter()
            .position(|(got, _)| *got == tag)
            .expect("no answer");
        self.returned.remove(at).1
    }

    /// Runs a call of the peer.
    fn theirs(&mut self, call: Call) -> Result<(u64, Option<Box<dyn ClientHook>>), capnp::Error> {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.spawner
            .spawn_local(async move {
                let answer = call.send().promise.await;
                *slot.borrow_mut() = Some(answer.and_then(|answer| Ok(look(answer.get()?))));
            })
            .unwrap();
        self.run();
        result.take().expect("no answer")
    }
}

fn taken(mut payload: Payload) -> (u64, Option<NodeId>) {
    let (number, hook) = look(payload.content().unwrap());
    let caps = payload.take_caps();
    (number, hook.map(|hook| caps[cap_index(&*hook).unwrap()]))
}

// ---- tests

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
