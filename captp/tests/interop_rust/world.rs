//! Both sides and what is between them; our object, and calls of ours.

use std::cell::RefCell;
use std::rc::Rc;

use capnp::private::capability::ClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use captp::{
    CloseReason, Config, ConnId, ConnOptions, Content, Encoded, Engine, Exception, Host, Incoming,
    LocalCall, NodeId, ObjectKey, Output, Payload, Transmit, WireCall, cap_hook, cap_index,
};
use futures::executor::{LocalPool, LocalSpawner};
use futures::task::LocalSpawnExt as _;

use crate::peer::{Call, Peer, Raw};
use crate::stream::End;
use crate::{ECHO, FAIL, INTERFACE, PATH, REFLECT, fill, look};

pub(crate) struct Ours;

impl Host for Ours {
    type Call = OurCall;
    type Reply = u32;
    type Job = ();
}

pub(crate) struct OurCall {
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

pub(crate) struct World {
    pool: LocalPool,
    spawner: LocalSpawner,
    pub(crate) stream: End,
    pub(crate) engine: Engine<Ours>,
    pub(crate) conn: ConnId,
    root: NodeId,
    next_tag: u32,
    returned: Vec<(u32, Result<(u64, Option<NodeId>), Exception>)>,
    /// Numbers of the calls that our objects got.
    pub(crate) seen: Vec<u64>,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) theirs: Box<dyn ClientHook>,
    pub(crate) peer: Rc<Peer>,
}

impl World {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn send(
        &mut self,
        to: NodeId,
        method: u16,
        number: u64,
        cap: Option<NodeId>,
    ) -> u32 {
        self.ask(to, method, number, cap, None)
    }

    pub(crate) fn ask(
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
    pub(crate) fn run(&mut self) {
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

    pub(crate) fn result(&mut self, tag: u32) -> Result<(u64, Option<NodeId>), Exception> {
        self.run();
        let at = self
            .returned
            .iter()
            .position(|(got, _)| *got == tag)
            .expect("no answer");
        self.returned.remove(at).1
    }

    /// Runs a call of the peer.
    pub(crate) fn theirs(
        &mut self,
        call: Call,
    ) -> Result<(u64, Option<Box<dyn ClientHook>>), capnp::Error> {
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
