//! A vat that does what an ordinary one may do.

use std::cell::RefCell;
use std::rc::Rc;

use captp::{
    AnswerToken, Config, ConnId, Content, DialId, Encoded, Engine, Exception, Host, Identity,
    Incoming, LocalCall, NodeId, ObjectKey, Output, Payload, Signer, VatKey, WireCall,
};

use super::ECHO;
use crate::content::{self, Caps};
use crate::fuzz::input::Input;
use crate::fuzz::wire::{key, sign};

pub(super) struct Local;

impl Host for Local {
    type Call = Call;
    type Reply = Reply;
    type Job = u32;
}

/// The promise for the first reference of the result, counted, and the number of the call.
pub(super) struct Reply {
    result: Option<NodeId>,
    number: u64,
}

pub(super) struct Call {
    caps: Vec<NodeId>,
    reply: Reply,
    /// Where references go once they are written.
    written: Rc<RefCell<Vec<NodeId>>>,
}

impl LocalCall for Call {
    type Reply = Reply;

    fn interface(&self) -> u64 {
        7
    }

    fn method(&self) -> u16 {
        1
    }

    fn encode(self, params: &mut Content) -> Result<Encoded<Reply>, (Reply, Exception)> {
        content::put(params, self.reply.number, &slots(&self.caps));
        self.written.borrow_mut().extend(self.caps);
        let result = self.reply.result.iter();
        Ok(Encoded {
            pipelined: result.map(|node| (*node, vec![0])).collect(),
            reply: self.reply,
        })
    }
}

/// Reads it, as an object would: whatever comes out.
fn look(payload: &Payload) {
    drop(content::number(payload));
    drop(content::caps(payload));
    drop(payload.content().and_then(|content| content.target_size()));
}

fn slots(from: &[NodeId]) -> Caps {
    let mut caps = Caps::default();
    for (slot, node) in caps.iter_mut().zip(from) {
        *slot = Some(*node);
    }
    caps
}

struct Signs(VatKey);

impl Signer for Signs {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        sign(&self.0, message)
    }

    fn verify(&self, key: &VatKey, message: &[u8], signature: &[u8; 64]) -> bool {
        sign(key, message) == *signature
    }
}

/// An engine, and what its vat holds.
pub(super) struct Vat {
    pub(super) engine: Engine<Local>,
    /// Counted.
    pub(super) held: Vec<NodeId>,
    /// Counted, unresolved unless the engine broke them.
    pub(super) promises: Vec<NodeId>,
    /// What calls were to return, not counted. A vat can make a call wait for itself, by resolving
    /// its target to its result; only the vat can then break the circle.
    results: Vec<NodeId>,
    pub(super) waiting: Vec<WireCall>,
    pub(super) dials: Vec<DialId>,
    pub(super) closed: Vec<ConnId>,
    pub(super) returned: Vec<(u64, bool)>,
    written: Rc<RefCell<Vec<NodeId>>>,
    sent: u64,
    /// Answers every call at once, and refuses to dial.
    obliging: bool,
}

impl Vat {
    pub(super) fn new(number: u8, obliging: bool) -> Self {
        let identity = Identity::new(key(number), 1, Rc::new(Signs(key(number))));
        Self {
            engine: Engine::new(Config::default().with_identity(identity)),
            held: Vec::new(),
            promises: Vec::new(),
            results: Vec::new(),
            waiting: Vec::new(),
            dials: Vec::new(),
            closed: Vec::new(),
            returned: Vec::new(),
            written: Rc::default(),
            sent: 0,
            obliging,
        }
    }

    /// References are borrowed.
    pub(super) fn send(&mut self, to: NodeId, caps: Vec<NodeId>, result: Option<NodeId>) -> u64 {
        self.sent += 1;
        self.results.extend(result);
        for node in caps.iter().chain(&result) {
            self.engine.retain(*node);
        }
        let reply = Reply {
            result,
            number: self.sent,
        };
        let written = Rc::clone(&self.written);
        self.engine.send(
            to,
            Call {
                caps,
                reply,
                written,
            },
        );
        self.sent
    }

    pub(super) fn collect(&mut self) {
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

    fn on_output(&mut self, output: Output<Local>) {
        match output {
            Output::Deliver { object, call } => match call {
                Incoming::Local(call) => {
                    let first = call.caps.first().copied();
                    let nothing = Exception::failed("no reference");
                    self.end(call, first.ok_or(nothing));
                }
                Incoming::Wire(call) => self.on_call(object, call),
            },
            Output::Returned { reply, result } => {
                self.returned.push((reply.number, result.is_ok()));
                if let Some(promise) = reply.result {
                    if let Err(reason) = &result {
                        self.resolve(promise, Err(reason.clone()));
                    }
                    self.engine.release(promise);
                }
                if let Ok(mut payload) = result {
                    look(&payload);
                    self.held.extend(payload.take_caps());
                }
            }
            Output::Failed { call, reason } => self.end(call, Err(reason)),
            Output::Dial { request, .. } => self.dials.push(request),
            Output::Closed { conn, .. } => self.closed.push(conn),
            Output::Run(_) | Output::Cancelled(_) | Output::Dropped(_) => {}
        }
    }

    fn on_call(&mut self, object: ObjectKey, mut call: WireCall) {
        look(&call.params);
        if self.obliging || object == ECHO {
            let caps = call.params.take_caps();
            self.answer(call.answer, &caps);
            self.release_all(caps);
        } else {
            self.waiting.push(call);
        }
    }

    pub(super) fn answer(&mut self, token: AnswerToken, caps: &[NodeId]) {
        let mut fill = |to: &mut Content| {
            content::put(to, 1, &slots(caps));
            Ok(())
        };
        self.engine.answer(token, Ok(&mut fill));
    }

    /// A call that never left this vat.
    fn end(&mut self, call: Call, result: Result<NodeId, Exception>) {
        if let Some(promise) = call.reply.result {
            self.resolve(promise, result);
            self.engine.release(promise);
        }
        self.release_all(call.caps);
    }

    /// Unless it is resolved already.
    pub(super) fn resolve(&mut self, promise: NodeId, to: Result<NodeId, Exception>) {
        let _: Result<(), captp::ApiMisuse> = self.engine.resolve(promise, to);
    }

    pub(super) fn release_all(&mut self, nodes: Vec<NodeId>) {
        for node in nodes {
            self.engine.release(node);
        }
    }

    /// One of the references that it holds.
    pub(super) fn any(&self, input: &mut Input<'_>) -> Option<NodeId> {
        let index = input.below(self.held.len() + self.promises.len());
        self.held.iter().chain(&self.promises).nth(index).copied()
    }

    pub(super) fn some(&self, input: &mut Input<'_>) -> Vec<NodeId> {
        let count = input.below(4);
        (0..count).filter_map(|_| self.any(input)).collect()
    }

    /// Everything is given up.
    pub(super) fn let_go(&mut self) {
        for call in std::mem::take(&mut self.waiting) {
            self.refuse(call);
        }
        for request in std::mem::take(&mut self.dials) {
            let reason = Exception::failed("nobody is reached");
            self.engine.dialed(request, Err(reason));
        }
        for promise in std::mem::take(&mut self.promises) {
            self.resolve(promise, Err(Exception::failed("it is over")));
            self.engine.release(promise);
        }
        for promise in std::mem::take(&mut self.results) {
            self.resolve(promise, Err(Exception::failed("it is over")));
        }
        let held = std::mem::take(&mut self.held);
        self.release_all(held);
        self.collect();
    }

    fn refuse(&mut self, mut call: WireCall) {
        let caps = call.params.take_caps();
        self.engine
            .answer(call.answer, Err(Exception::failed("no")));
        self.release_all(caps);
    }

    pub(super) fn answer_one(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.waiting.len());
        if index >= self.waiting.len() {
            return;
        }
        let mut call = self.waiting.swap_remove(index);
        if input.one_in(4) {
            return self.refuse(call);
        }
        let own = call.params.take_caps();
        let mut caps = self.some(input);
        if input.one_in(2) {
            caps.extend(&own);
        }
        self.answer(call.answer, &caps);
        self.held.extend(own);
    }
}
