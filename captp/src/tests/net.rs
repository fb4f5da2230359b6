//! Several vats and the links between them, under the control of a script.
//!
//! Every message is delivered by itself, and after each one all engines are checked. Parameters and
//! results are one number and references: in pointer field 0, as a list if there are several.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use capnp::{any_pointer, any_pointer_list};

use crate::captp_capnp::bootstrap;
use crate::connection::framer::Framer;
use crate::contact::{Identity, Introduction, Signer, VatKey};
use crate::message::{Envelope, ReturnBody, decode};
use crate::{
    AnswerToken, CloseReason, Config, ConnId, ConnOptions, Content, DialId, Elements, Encoded,
    Engine, Exception, Host, Incoming, Limits, LocalCall, NodeId, ObjectKey, Output, Payload, Slot,
    Transmit, cap_hook, cap_index,
};

mod keys;
mod link;

pub(crate) use keys::{Key, identity, key};
pub(super) use link::{Net, exception_in, split};

pub(super) struct Test;

impl Host for Test {
    type Call = TestCall;
    type Reply = Reply;
    type Job = u32;
}

/// Who waits: a tag for the script, and the promise for the result's reference.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) tag: u32,
    pub(super) result: Option<NodeId>,
}

/// References in it are counted.
#[derive(Debug)]
pub(super) struct TestCall {
    pub(super) number: u32,
    pub(super) caps: Vec<NodeId>,
    pub(super) reply: Reply,
    /// Refuses to be written.
    pub(super) unwritable: bool,
    /// Extra bytes.
    pub(super) blob: usize,
    /// As many stay alive with them, or more.
    pub(super) holds: usize,
    /// One of a stream.
    pub(super) streaming: bool,
    /// Wants only the references inside the answer.
    pub(super) pipeline_only: bool,
    pub(super) deadline: Option<Duration>,
    /// References to give back after it was written.
    pub(super) written: Rc<std::cell::RefCell<Vec<NodeId>>>,
}

impl LocalCall for TestCall {
    type Reply = Reply;

    fn interface(&self) -> u64 {
        0xaaaa
    }

    fn method(&self) -> u16 {
        3
    }

    fn is_streaming(&self) -> bool {
        self.streaming
    }

    fn pipeline_only(&self) -> bool {
        self.pipeline_only
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn encode(self, params: &mut Content) -> Result<Encoded<Reply>, (Reply, Exception)> {
        if self.unwritable {
            self.written.borrow_mut().extend(self.caps);
            return Err((self.reply, Exception::failed("unwritable")));
        }
        if self.blob > 0 {
            let count = 1 + u32::try_from(self.caps.len()).unwrap();
            let list = params
                .list(params.root(), Elements::Pointer, count)
                .unwrap();
            for (at, node) in (1..).zip(&self.caps) {
                params.reference(Slot::new(list, at), *node);
            }
            let blob = bytes::Bytes::from(vec![0; self.blob]);
            let slot = Slot::new(list, 0);
            let holds = self.holds.max(blob.len());
            params.shared_data(slot, &blob, holds).unwrap();
        } else {
            put(params, self.number, &self.caps);
        }
        self.written.borrow_mut().extend(self.caps);
        let pipelined = self
            .reply
            .result
            .map(|node| (node, vec![0]))
            .into_iter()
            .collect();
        Ok(Encoded {
            reply: self.reply,
            pipelined,
        })
    }
}

pub(super) fn put(to: &mut Content, number: u32, caps: &[NodeId]) {
    let written = to.build::<Exception>(8, |root| {
        write(root, number, caps);
        Ok(())
    });
    written.unwrap();
}

pub(super) fn write(to: any_pointer::Builder<'_>, number: u32, caps: &[NodeId]) {
    let mut root: bootstrap::Builder<'_> = to.init_as();
    root.set_question_id(number);
    match caps {
        [] => {}
        [one] => root
            .get_deprecated_object_id()
            .set_as_capability(cap_hook(*one)),
        many => {
            let count = u32::try_from(many.len()).unwrap();
            let mut list: any_pointer_list::Builder<'_> =
                root.get_deprecated_object_id().initn_as(count);
            for (index, cap) in (0u32..).zip(many) {
                list.reborrow().get(index).set_as_capability(cap_hook(*cap));
            }
        }
    }
}

/// Number and counted references of a payload, in the order of the content.
pub(super) fn read(mut payload: Payload) -> (u32, Vec<NodeId>) {
    let (number, order) = read_content(&payload).unwrap_or((u32::MAX, Vec::new()));
    let caps = payload.take_caps();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..caps.len()).collect::<Vec<_>>() {
        return (number, caps);
    }
    (number, order.into_iter().map(|index| caps[index]).collect())
}

fn read_content(payload: &Payload) -> capnp::Result<(u32, Vec<usize>)> {
    let content = payload.content()?;
    let root: bootstrap::Reader<'_> = content.get_as()?;
    let at = root.get_deprecated_object_id();
    let mut order = Vec::new();
    if let Ok(hook) = at.get_pipelined_cap(&[]) {
        order.extend(cap_index(&*hook));
    } else if !at.is_null() {
        let list: any_pointer_list::Reader<'_> = at.get_as()?;
        for item in list.iter().take(100) {
            order.extend(cap_index(&*item?.get_pipelined_cap(&[])?));
        }
    }
    Ok((root.get_question_id(), order))
}

/// How a delivered call is answered.
#[derive(Debug)]
pub(super) enum Respond {
    Local(Reply),
    Wire(AnswerToken),
}

#[derive(Debug)]
pub(super) enum Event {
    Call {
        object: u64,
        number: u32,
        caps: Vec<NodeId>,
        respond: Respond,
    },
    Returned {
        tag: u32,
        result: Result<(u32, Vec<NodeId>), Exception>,
    },
    Failed {
        reason: Exception,
    },
    Run(u32),
    Cancelled(AnswerToken),
    Dropped(u64),
    Dial(DialId, VatKey),
    Closed(ConnId, CloseReason),
}

pub(super) struct Vat {
    pub(super) engine: Engine<Test>,
    pub(super) events: VecDeque<Event>,
    written: Rc<std::cell::RefCell<Vec<NodeId>>>,
    next_tag: u32,
    /// Where the last one that was asked for is said to be.
    pub(super) dialed: Vec<String>,
    /// Those of the calls that came from elsewhere.
    pub(super) deadlines: Vec<Option<Duration>>,
    pub(super) introduced: Option<Introduction>,
    /// Where calls from other vats go on to, if they do.
    pub(super) forward_to: Option<NodeId>,
}

/// Takes an event apart that must be of the given form.
macro_rules! take {
    ($vat:expr, $pattern:pat => $value:expr) => {{
        let event = $vat.next();
        match event {
            Some($pattern) => $value,
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    }};
}
pub(super) use take;

impl Vat {
    /// A vat that has a key.
    pub(super) fn known(identity: Identity) -> Self {
        Self::with(Config::default().with_identity(identity))
    }

    fn with(config: Config) -> Self {
        Self {
            engine: Engine::new(config),
            events: VecDeque::new(),
            written: Rc::default(),
            next_tag: 0,
            dialed: Vec::new(),
            deadlines: Vec::new(),
            introduced: None,
            forward_to: None,
        }
    }

    /// A call without waiting for anything in particular; returns the tag.
    pub(super) fn send(&mut self, target: NodeId, number: u32, caps: &[NodeId]) -> u32 {
        self.send_with(target, number, caps, None)
    }

    /// A call and the promise for the reference in its result.
    pub(super) fn ask(&mut self, target: NodeId, number: u32, caps: &[NodeId]) -> (u32, NodeId) {
        let result = self.engine.promise();
        (self.send_with(target, number, caps, Some(result)), result)
    }

    fn send_with(
        &mut self,
        target: NodeId,
        number: u32,
        caps: &[NodeId],
        result: Option<NodeId>,
    ) -> u32 {
        let call = self.call(number, caps, result);
        let tag = call.reply.tag;
        self.engine.send(target, call);
        self.collect();
        tag
    }

    pub(super) fn call(
        &mut self,
        number: u32,
        caps: &[NodeId],
        result: Option<NodeId>,
    ) -> TestCall {
        self.next_tag += 1;
        for cap in caps {
            self.engine.retain(*cap);
        }
        if let Some(result) = result {
            self.engine.retain(result);
        }
        TestCall {
            number,
            caps: caps.to_vec(),
            reply: Reply {
                tag: self.next_tag,
                result,
            },
            unwritable: false,
            blob: 0,
            holds: 0,
            streaming: false,
            pipeline_only: false,
            deadline: None,
            written: Rc::clone(&self.written),
        }
    }

    /// Answers with a number and borrowed references.
    pub(super) fn answer(&mut self, respond: Respond, number: u32, caps: &[NodeId]) {
        match respond {
            Respond::Wire(token) => {
                let mut fill = |to: &mut Content| {
                    put(to, number, caps);
                    Ok(())
                };
                self.engine.answer(token, Ok(&mut fill));
            }
            Respond::Local(Reply { tag, result }) => {
                if let Some(result) = result {
                    match caps.first() {
                        Some(cap) => self.engine.resolve(result, Ok(*cap)).unwrap(),
                        None => self
                            .engine
                            .resolve(result, Err(Exception::failed("no reference")))
                            .unwrap(),
                    }
                    self.engine.release(result);
                }
                for cap in caps {
                    self.engine.retain(*cap);
                }
                let result = Ok((number, caps.to_vec()));
                self.events.push_back(Event::Returned { tag, result });
            }
        }
        self.collect();
    }

    pub(super) fn fail(&mut self, respond: Respond, reason: Exception) {
        match respond {
            Respond::Wire(token) => self.engine.answer(token, Err(reason)),
            Respond::Local(Reply { result, .. }) => {
                if let Some(result) = result {
                    self.engine.resolve(result, Err(reason.clone())).unwrap();
                    self.engine.release(result);
                }
                self.events.push_back(Event::Failed { reason });
            }
        }
        self.collect();
    }

    /// Takes everything the engine has for us.
    pub(super) fn collect(&mut self) {
        loop {
            for node in self.written.take() {
                self.engine.release(node);
            }
            let Some(output) = self.engine.poll_output() else {
                break;
            };
            let output = match (output, self.forward_to) {
                (
                    Output::Deliver {
                        call: Incoming::Wire(call),
                        ..
                    },
                    Some(to),
                ) => {
                    self.engine.forward(to, call);
                    continue;
                }
                (output, _) => output,
            };
            let event = self.event(output);
            self.events.push_back(event);
        }
    }

    /// Lets the engine take all of these bytes.
    pub(super) fn feed(&mut self, conn: ConnId, bytes: &[u8], mut fds: Vec<OwnedFd>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self
                .engine
                .handle_bytes(conn, rest, std::mem::take(&mut fds));
            assert!(taken > 0, "no progress");
            rest = &rest[taken..];
            self.collect();
        }
    }

    fn event(&mut self, output: Output<Test>) -> Event {
        match output {
            Output::Deliver {
                object: ObjectKey(object),
                call: Incoming::Local(call),
            } => Event::Call {
                object,
                number: call.number,
                caps: call.caps,
                respond: Respond::Local(call.reply),
            },
            Output::Deliver {
                object: ObjectKey(object),
                call: Incoming::Wire(call),
            } => {
                assert_eq!((call.interface, call.method), (0xaaaa, 3));
                self.deadlines.push(call.deadline);
                let (number, caps) = read(call.params);
                Event::Call {
                    object,
                    number,
                    caps,
                    respond: Respond::Wire(call.answer),
                }
            }
            Output::Returned { reply, result } => {
                if let Some(node) = reply.result {
                    if let Err(reason) = &result {
                        let _ = self.engine.resolve(node, Err(reason.clone()));
                    }
                    self.engine.release(node);
                }
                Event::Returned {
                    tag: reply.tag,
                    result: result.map(read),
                }
            }
            Output::Failed { call, reason } => {
                for cap in call.caps {
                    self.engine.release(cap);
                }
                if let Some(node) = call.reply.result {
                    self.engine.resolve(node, Err(reason.clone())).unwrap();
                    self.engine.release(node);
                }
                Event::Failed { reason }
            }
            Output::Run(job) => Event::Run(job),
            Output::Cancelled(token) => Event::Cancelled(token),
            Output::Dropped(ObjectKey(object)) => Event::Dropped(object),
            Output::Dial {
                request,
                introduction,
                addresses,
            } => {
                let vat = introduction.exporter();
                self.dialed = addresses;
                self.introduced = Some(introduction);
                Event::Dial(request, vat)
            }
            Output::Closed { conn, reason } => Event::Closed(conn, reason),
        }
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.collect();
        self.events.pop_front()
    }

    /// The number of the next call, which must be without references; it is answered.
    pub(super) fn take_number(&mut self) -> u32 {
        take!(self, Event::Call { number, respond, .. } => {
            self.answer(respond, number, &[]);
            number
        })
    }

    pub(super) fn object(&mut self, key: u64) -> NodeId {
        self.engine.object(ObjectKey(key))
    }

    pub(super) fn release(&mut self, node: NodeId) {
        self.engine.release(node);
        self.collect();
    }
}

/// Two vats; vat 1 offers object 0, which both know.
pub(super) fn pair() -> (Net, NodeId) {
    let mut net = Net::new(2);
    let root = net.vats[1].object(0);
    net.link(
        (0, ConnOptions::default()),
        (1, ConnOptions::default().with_bootstrap(root)),
    );
    net.vats[1].release(root);
    let conn = net.conn(0, 0);
    let boot = net.vats[0].engine.bootstrap(conn);
    net.run();
    (net, boot)
}
