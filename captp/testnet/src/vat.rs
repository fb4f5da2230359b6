//! A vat with a host that does nothing by itself: what its engine delivers waits for the script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use captp::{
    AnswerToken, CloseReason, Config, ConnId, Content, DialId, Encoded, Engine, Exception, Host,
    Identity, Incoming, LocalCall, NodeId, ObjectKey, Output, Payload, Transmit, VatKey, WireCall,
};

use crate::content::{self, Caps, Slot};
use crate::network::Port;

/// The types that the engine is used with here.
#[derive(Debug)]
pub struct Script;

impl Host for Script {
    type Call = ScriptCall;
    type Reply = Reply;
    type Job = u64;
}

/// A call that has not left its vat. Its references are counted.
#[derive(Debug)]
pub struct ScriptCall {
    number: u64,
    caps: Caps,
    sort: CallSort,
    reply: Reply,
    /// Where counts go that are no longer needed once the call is written.
    written: Rc<RefCell<Vec<NodeId>>>,
}

/// What sort of call it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::exhaustive_enums, reason = "scripts choose")]
pub enum CallSort {
    /// An ordinary one.
    #[default]
    Plain,
    /// One of a stream.
    Streaming,
    /// For the references in its answer only.
    References,
}

/// Who waits for an answer.
#[derive(Debug)]
pub struct Reply {
    /// The call's number.
    number: u64,
    /// Promises for references inside the answer; counted.
    results: Vec<(Slot, NodeId)>,
}

impl LocalCall for ScriptCall {
    type Reply = Reply;

    fn interface(&self) -> u64 {
        0x8000_0000_0000_7e57
    }

    fn method(&self) -> u16 {
        0
    }

    fn pipeline_only(&self) -> bool {
        self.sort == CallSort::References
    }

    fn is_streaming(&self) -> bool {
        self.sort == CallSort::Streaming
    }

    fn encode(self, params: &mut Content) -> Result<Encoded<Reply>, (Reply, Exception)> {
        content::put(params, self.number, &self.caps);
        self.written.borrow_mut().extend(self.caps.iter().flatten());
        let pipelined = self.reply.results.iter();
        let pipelined = pipelined
            .map(|(slot, node)| (*node, content::path(*slot).to_vec()))
            .collect();
        Ok(Encoded {
            reply: self.reply,
            pipelined,
        })
    }
}

/// A call at its object, which has to be answered, failed or passed on.
#[derive(Debug)]
#[must_use = "every call must be answered"]
pub struct Arrived(Inner);

#[derive(Debug)]
enum Inner {
    Local(ScriptCall),
    Wire(WireCall),
}

impl Arrived {
    /// The number of the call.
    #[must_use]
    pub fn number(&self) -> u64 {
        match &self.0 {
            Inner::Local(call) => call.number,
            Inner::Wire(call) => content::number(&call.params).unwrap_or(u64::MAX),
        }
    }

    /// Its references, borrowed.
    #[must_use]
    pub fn caps(&self) -> Caps {
        match &self.0 {
            Inner::Local(call) => call.caps,
            Inner::Wire(call) => content::caps(&call.params).unwrap_or_default(),
        }
    }

    /// Whether the call came from another vat.
    #[must_use]
    pub const fn is_wire(&self) -> bool {
        matches!(self.0, Inner::Wire(_))
    }

    /// Which call this is, if it came from another vat: connection and serial number.
    #[must_use]
    pub const fn key(&self) -> Option<(ConnId, u64)> {
        match &self.0 {
            Inner::Local(_) => None,
            Inner::Wire(call) => Some(key(&call.answer)),
        }
    }
}

const fn key(token: &AnswerToken) -> (ConnId, u64) {
    (token.connection(), token.serial())
}

/// What a call was answered with: a number and counted references.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "taken apart by scripts")]
pub struct Results {
    /// Chosen by who answered.
    pub number: u64,
    /// Counted.
    pub caps: Caps,
}

/// Something that happened at a vat.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "scripts must see every one")]
pub enum Event {
    /// A call is at its object.
    Call {
        /// Which object.
        object: u64,
        /// The call.
        arrived: Arrived,
    },
    /// A call was answered, or will never be.
    Returned {
        /// The call's number.
        number: u64,
        /// With what.
        result: Result<Results, Exception>,
    },
    /// [`Engine::when_resolved`] gave this job back.
    Run(u64),
    /// The caller does not want the answer of this call any more: connection and serial number.
    Cancelled((ConnId, u64)),
    /// Nobody holds this object any more.
    Dropped(u64),
    /// A connection is closed.
    Closed(ConnId, CloseReason),
}

/// One vat.
#[derive(Debug)]
pub struct Vat {
    /// Its engine, for everything that has no method here. Follow up with [`Vat::collect`].
    pub engine: Engine<Script>,
    events: VecDeque<Event>,
    /// Connections that the engine asks for.
    dials: VecDeque<(DialId, VatKey)>,
    written: Rc<RefCell<Vec<NodeId>>>,
}

impl Default for Vat {
    fn default() -> Self {
        Self::new()
    }
}

impl Vat {
    /// A vat without connections.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// A vat that has a key, and may be introduced to others. `session` numbers its lives.
    #[must_use]
    pub fn known(number: usize, session: u64) -> Self {
        let identity = Identity::new(key_of(number), session, Rc::new(Seal(number)));
        Self::with(Config::default().with_identity(identity))
    }

    fn with(config: Config) -> Self {
        Self {
            engine: Engine::new(config.with_stream_window(STREAM_WINDOW)),
            events: VecDeque::new(),
            dials: VecDeque::new(),
            written: Rc::default(),
        }
    }

    /// Whether the engine waits for a connection.
    #[must_use]
    pub fn is_dialing(&self) -> bool {
        !self.dials.is_empty()
    }

    /// The next connection that the engine asks for, to be answered with [`Engine::dialed`].
    pub fn next_dial(&mut self) -> Option<(DialId, VatKey)> {
        self.collect();
        self.dials.pop_front()
    }

    /// Sends a call. References are borrowed. `results` are promises made with
    /// [`Engine::promise`], borrowed too, that come to stand for references in the answer.
    pub fn send(&mut self, target: NodeId, number: u64, caps: &Caps, results: &[(Slot, NodeId)]) {
        self.send_as(CallSort::Plain, target, number, caps, results);
    }

    /// The same with a call of another sort.
    pub fn send_as(
        &mut self,
        sort: CallSort,
        target: NodeId,
        number: u64,
        caps: &Caps,
        results: &[(Slot, NodeId)],
    ) {
        let results_held = results.iter().map(|(_, node)| node);
        for node in caps.iter().flatten().chain(results_held) {
            self.engine.retain(*node);
        }
        let call = ScriptCall {
            number,
            caps: *caps,
            sort,
            reply: Reply {
                number,
                results: results.to_vec(),
            },
            written: Rc::clone(&self.written),
        };
        self.engine.send(target, call);
        self.collect();
    }

    /// Sends a call without references whose answer's references nobody uses.
    pub fn tell(&mut self, target: NodeId, number: u64) {
        self.send(target, number, &Caps::default(), &[]);
    }

    /// Sends a call and returns the promise for the first reference in its answer, counted.
    pub fn ask(&mut self, target: NodeId, number: u64, caps: &Caps) -> NodeId {
        let promise = self.engine.promise();
        self.send(target, number, caps, &[(0, promise)]);
        promise
    }

    /// Says in advance what a reference in the answer will be, which is borrowed.
    pub fn set_pipeline(&mut self, arrived: &Arrived, slot: Slot, to: NodeId) {
        match &arrived.0 {
            Inner::Wire(call) => {
                self.engine
                    .set_pipeline(&call.answer, content::path(slot), Ok(to));
            }
            Inner::Local(call) => {
                let asked = call.reply.results.iter();
                for (_, promise) in asked.filter(|(asked, _)| *asked == slot) {
                    // A cancelled one is broken already.
                    let _: Result<(), _> = self.engine.resolve(*promise, Ok(to));
                }
            }
        }
        self.collect();
    }

    /// Answers a call with a number and borrowed references.
    pub fn answer(&mut self, arrived: Arrived, number: u64, caps: &Caps) {
        match arrived.0 {
            Inner::Wire(mut call) => {
                let mut fill = |to: &mut Content| {
                    content::put(to, number, caps);
                    Ok(())
                };
                self.engine.answer(call.answer, Ok(&mut fill));
                self.release_all(call.params.take_caps());
            }
            Inner::Local(call) => {
                for (slot, promise) in &call.reply.results {
                    let to = match caps.get(*slot).copied().flatten() {
                        Some(node) => Ok(node),
                        None => Err(Exception::failed("the reference is null")),
                    };
                    // A cancelled one is broken already.
                    let _: Result<(), _> = self.engine.resolve(*promise, to);
                }
                for node in caps.iter().flatten() {
                    self.engine.retain(*node);
                }
                let results = Results {
                    number,
                    caps: *caps,
                };
                self.end_local(call, Ok(results));
            }
        }
        self.collect();
    }

    /// Answers a call with an exception.
    pub fn fail(&mut self, arrived: Arrived, reason: Exception) {
        match arrived.0 {
            Inner::Wire(mut call) => {
                self.engine.answer(call.answer, Err(reason));
                self.release_all(call.params.take_caps());
            }
            Inner::Local(call) => self.fail_local(call, &reason),
        }
        self.collect();
    }

    /// Passes a call on to another reference, which is borrowed.
    pub fn forward(&mut self, arrived: Arrived, to: NodeId) {
        match arrived.0 {
            Inner::Wire(call) => self.engine.forward(to, call),
            Inner::Local(call) => self.engine.send(to, call),
        }
        self.collect();
    }

    /// Gives a count back.
    pub fn release(&mut self, node: NodeId) {
        self.engine.release(node);
        self.collect();
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.collect();
        self.events.pop_front()
    }

    /// Takes everything that the engine has to say.
    pub fn collect(&mut self) {
        loop {
            for node in self.written.take() {
                self.engine.release(node);
            }
            let Some(output) = self.engine.poll_output() else {
                return;
            };
            self.on_output(output);
        }
    }

    fn on_output(&mut self, output: Output<Script>) {
        let event = match output {
            Output::Deliver { object, call } => Event::Call {
                object: object.0,
                arrived: Arrived(match call {
                    Incoming::Local(call) => Inner::Local(call),
                    Incoming::Wire(call) => Inner::Wire(call),
                }),
            },
            Output::Returned { reply, result } => {
                for (_, promise) in reply.results {
                    if let Err(reason) = &result {
                        // Only if the call never left.
                        let _: Result<(), _> = self.engine.resolve(promise, Err(reason.clone()));
                    }
                    self.engine.release(promise);
                }
                let number = reply.number;
                Event::Returned {
                    number,
                    result: result.map(read),
                }
            }
            Output::Failed { call, reason } => return self.fail_local(call, &reason),
            Output::Run(job) => Event::Run(job),
            Output::Cancelled(token) => Event::Cancelled(key(&token)),
            Output::Dropped(ObjectKey(key)) => Event::Dropped(key),
            Output::Dial {
                request,
                introduction,
                ..
            } => return self.dials.push_back((request, introduction.exporter())),
            Output::Closed { conn, reason } => Event::Closed(conn, reason),
        };
        self.events.push_back(event);
    }

    fn fail_local(&mut self, call: ScriptCall, reason: &Exception) {
        for (_, promise) in &call.reply.results {
            let _: Result<(), _> = self.engine.resolve(*promise, Err(reason.clone()));
        }
        self.end_local(call, Err(reason.clone()));
    }

    fn end_local(&mut self, call: ScriptCall, result: Result<Results, Exception>) {
        self.release_all(call.caps.into_iter().flatten());
        let promises = call.reply.results.into_iter().map(|(_, promise)| promise);
        self.release_all(promises);
        self.events.push_back(Event::Returned {
            number: call.number,
            result,
        });
    }

    fn release_all(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        for node in nodes {
            self.engine.release(node);
        }
    }
}

/// So little that a few small calls fill it.
const STREAM_WINDOW: usize = 512;

/// The key of a vat that has one.
#[must_use]
pub fn key_of(number: usize) -> VatKey {
    let mut key = [0; 32];
    for (to, from) in key.iter_mut().zip((number as u64 + 1).to_le_bytes()) {
        *to = from;
    }
    VatKey(key)
}

/// Signs in a way that is quick, and that anybody could forge who wanted to.
struct Seal(usize);

impl captp::Signer for Seal {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        seal(&key_of(self.0), message)
    }

    fn verify(&self, key: &VatKey, message: &[u8], signature: &[u8; 64]) -> bool {
        seal(key, message) == *signature
    }
}

/// FNV-1a of key and message, in the first bytes.
fn seal(key: &VatKey, message: &[u8]) -> [u8; 64] {
    let all = key.0.iter().chain(message);
    let hash = all.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut signature = [0; 64];
    for (to, from) in signature.iter_mut().zip(hash.to_le_bytes()) {
        *to = from;
    }
    signature
}

/// Takes a payload's references by slot. Each slot has a count of its own.
fn read(mut payload: Payload) -> Results {
    let number = content::number(&payload).unwrap_or(u64::MAX);
    let caps = content::caps(&payload).unwrap_or_default();
    drop(payload.take_caps());
    Results { number, caps }
}

impl Port for Vat {
    fn poll_transmit(&mut self, conn: ConnId, out: &mut Transmit) -> bool {
        self.collect();
        self.engine.poll_transmit(conn, out)
    }

    fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        let (mut rest, mut fds) = (bytes, fds);
        while !rest.is_empty() {
            let taken = self
                .engine
                .handle_bytes(conn, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            self.collect();
        }
    }

    fn handle_closed(&mut self, conn: ConnId, reason: &str) {
        self.engine.handle_closed(conn, reason);
        self.collect();
    }
}
