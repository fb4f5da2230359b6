//! A vat between two hostile peers and an honest one.
//!
//! The hostile peers send what the input says: any bytes, or messages that are well-formed and may
//! be nonsense. The victim does with what it receives what an ordinary vat may do: calls, answers,
//! forwards, gives references of one peer to another, drops them. After every step the engine's
//! tables must agree with each other and be within the limits; at the end the honest peer must
//! have noticed nothing, and nothing may be left.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use capnp::any_pointer;
use captp::{
    AnswerToken, Config, ConnId, ConnOptions, DialId, Encoded, Engine, Exception, Host, Identity,
    Incoming, Limits, LocalCall, NodeId, ObjectKey, Output, Payload, Signer, Transmit, VatKey,
    WireCall,
};

use super::input::Input;
use super::wire::{Known, VICTIM, Writer, key, sign};
use crate::content::{self, Caps};

/// Runs one input.
///
/// # Errors
/// See the [module above](super).
pub fn run(bytes: &[u8]) -> Result<(), String> {
    let mut input = Input::new(bytes);
    let mut world = World::new(&mut input);
    world.settle()?;
    while !input.is_empty() {
        world.step(&mut input)?;
        world.settle()?;
    }
    world.finish()
}

struct Local;

impl Host for Local {
    type Call = Call;
    type Reply = Reply;
    type Job = u32;
}

/// The promise for the first reference of the result, counted, and the number of the call.
struct Reply {
    result: Option<NodeId>,
    number: u64,
}

struct Call {
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

    fn encode(
        self,
        params: any_pointer::Builder<'_>,
    ) -> Result<Encoded<Reply>, (Reply, Exception)> {
        content::write(params, self.reply.number, &slots(&self.caps));
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
struct Vat {
    engine: Engine<Local>,
    /// Counted.
    held: Vec<NodeId>,
    /// Counted, unresolved unless the engine broke them.
    promises: Vec<NodeId>,
    /// What calls were to return, not counted. A vat can make a call wait for itself, by resolving
    /// its target to its result; only the vat can then break the circle.
    results: Vec<NodeId>,
    waiting: Vec<WireCall>,
    dials: Vec<DialId>,
    closed: Vec<ConnId>,
    returned: Vec<(u64, bool)>,
    written: Rc<RefCell<Vec<NodeId>>>,
    sent: u64,
    /// Answers every call at once, and refuses to dial.
    obliging: bool,
}

impl Vat {
    fn new(number: u8, obliging: bool) -> Self {
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
    fn send(&mut self, to: NodeId, caps: Vec<NodeId>, result: Option<NodeId>) -> u64 {
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

    fn collect(&mut self) {
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

    fn answer(&mut self, token: AnswerToken, caps: &[NodeId]) {
        let mut fill = |to: any_pointer::Builder<'_>| {
            content::write(to, 1, &slots(caps));
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
    fn resolve(&mut self, promise: NodeId, to: Result<NodeId, Exception>) {
        let _: Result<(), captp::ApiMisuse> = self.engine.resolve(promise, to);
    }

    fn release_all(&mut self, nodes: Vec<NodeId>) {
        for node in nodes {
            self.engine.release(node);
        }
    }

    /// One of the references that it holds.
    fn any(&self, input: &mut Input<'_>) -> Option<NodeId> {
        let index = input.below(self.held.len() + self.promises.len());
        self.held.iter().chain(&self.promises).nth(index).copied()
    }

    fn some(&self, input: &mut Input<'_>) -> Vec<NodeId> {
        let count = input.below(4);
        (0..count).filter_map(|_| self.any(input)).collect()
    }

    /// Everything is given up.
    fn let_go(&mut self) {
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
}

/// A hostile peer's connection.
struct Peer {
    conn: ConnId,
    /// What the peer has not read.
    unread: Transmit,
}

struct World {
    victim: Vat,
    honest: Vat,
    /// The connection between them, at both.
    link: [ConnId; 2],
    /// What the honest vat holds of the victim.
    greeter: NodeId,
    peers: Vec<Peer>,
    writer: Writer,
    now: Duration,
    /// Of every hostile peer.
    limits: Limits,
}

/// The object that answers by itself.
const ECHO: ObjectKey = ObjectKey(1);
/// The honest vat's number.
const HONEST: u8 = 4;
/// References that the victim keeps at most.
const HOARD: usize = 40;
/// Rounds until what is under way must have come to rest.
const ROUNDS: usize = 1_000;

/// Small, so that an input of a few hundred bytes reaches all of them. The narrow ones are reached
/// all the time; the others leave room for more to happen.
fn limits(narrow: bool) -> Limits {
    let limits = Limits::default()
        .with_message_bytes(8 << 10)
        .with_segments(8)
        .with_nesting(16)
        .with_caps_per_message(6)
        .with_fds_per_message(2)
        .with_answers_soft(6)
        .with_answers(12)
        .with_questions(12)
        .with_call_bytes_soft(2 << 10)
        .with_call_bytes(6 << 10)
        .with_kept_bytes(2 << 10)
        .with_exports(16)
        .with_imports(16)
        .with_embargoes(6)
        .with_gifts(6)
        .with_provisions(6)
        .with_accepts(4)
        .with_pipeline_depth(4)
        .with_outbound_soft(4 << 10)
        .with_outbound_bytes(24 << 10);
    if !narrow {
        return limits;
    }
    limits
        .with_answers_soft(3)
        .with_answers(6)
        .with_questions(5)
        .with_exports(4)
        .with_imports(6)
        .with_embargoes(2)
        .with_gifts(2)
        .with_provisions(2)
        .with_accepts(1)
        .with_pipeline_depth(2)
}

/// Of the honest link. Calls that are answered with each other's results go round until there are
/// no more questions: soon, here.
fn circle() -> Limits {
    Limits::default().with_questions(200)
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let mut victim = Vat::new(VICTIM, false);
        let mut honest = Vat::new(HONEST, true);
        let link = [
            connect(&mut victim, HONEST, circle(), true),
            connect(&mut honest, VICTIM, circle(), true),
        ];
        let greeter = honest.engine.bootstrap(link[1]);
        let friend = victim.engine.bootstrap(link[0]);
        victim.held.push(friend);
        let peers = Vec::new();
        let mut world = Self {
            victim,
            honest,
            link,
            greeter,
            peers,
            writer: Writer::new(),
            now: Duration::ZERO,
            limits: limits(input.one_in(2)),
        };
        world.open(2, !input.one_in(4));
        world.open(3, true);
        world
    }

    /// A hostile peer connects. With `known` it has proved its key and says hello.
    fn open(&mut self, number: u8, known: bool) {
        let conn = connect(&mut self.victim, number, self.limits.clone(), known);
        if known {
            let hello = hello();
            self.feed(conn, &hello, Vec::new());
        }
        self.feed(conn, &Writer::bootstrap(), Vec::new());
        self.peers.push(Peer {
            conn,
            unread: Transmit::new(),
        });
    }

    fn step(&mut self, input: &mut Input<'_>) -> Result<(), String> {
        match input.below(32) {
            0..14 => self.messages(input),
            14 => self.raw(input),
            15 => self.descriptor(input)?,
            16 | 17 => self.read(input),
            18 => self.pass_time(input),
            19 => self.reconnect(input),
            20 => self.give_to_honest(input),
            21 => self.dialed(input),
            _ => self.act(input),
        }
        Ok(())
    }

    /// A hostile peer sends some messages at once.
    fn messages(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.peer(input) else { return };
        let mut bytes = Vec::new();
        let mut known = self.known(conn);
        for _ in 0..=input.below(4) {
            bytes.extend(self.writer.message(input, &mut known));
        }
        self.feed(conn, &bytes, Vec::new());
    }

    fn raw(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.peer(input) else { return };
        let count = usize::from(input.byte());
        let bytes = input.take(count);
        self.feed(conn, bytes, Vec::new());
    }

    fn descriptor(&mut self, input: &mut Input<'_>) -> Result<(), String> {
        let Some(conn) = self.peer(input) else {
            return Ok(());
        };
        let count = input.below(4);
        let mut fds: Vec<OwnedFd> = Vec::new();
        for _ in 0..count {
            let (fd, _) = std::os::unix::net::UnixStream::pair().map_err(|e| e.to_string())?;
            fds.push(fd.into());
        }
        let bytes = self.writer.message(input, &mut self.known(conn));
        self.feed(conn, &bytes, fds);
        Ok(())
    }

    fn known(&self, conn: ConnId) -> Known {
        let tables = self.victim.engine.tables(conn);
        tables.as_ref().map(Known::new).unwrap_or_default()
    }

    fn feed(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        let (mut rest, mut fds) = (bytes, fds);
        while !rest.is_empty() {
            let taken = self
                .victim
                .engine
                .handle_bytes(conn, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            self.victim.collect();
        }
    }

    /// A hostile peer reads what was sent to it.
    fn read(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.peers.len());
        if let Some(peer) = self.peers.get_mut(index) {
            peer.unread.clear();
            self.victim
                .engine
                .poll_transmit(peer.conn, &mut peer.unread);
            peer.unread.clear();
        }
    }

    fn pass_time(&mut self, input: &mut Input<'_>) {
        self.now += Duration::from_secs(u64::from(input.byte() % 16));
        self.victim.engine.handle_time(self.now);
        self.honest.engine.handle_time(self.now);
    }

    /// A hostile peer's connection ends, in one way or another, and it connects again.
    fn reconnect(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.peers.len());
        if self.peers.len() > 4 || input.one_in(2) {
            let peer = self.peers.swap_remove(index);
            match input.below(3) {
                0 => self.victim.engine.handle_closed(peer.conn, "reset"),
                1 => self.victim.engine.close(peer.conn, None),
                _ => {
                    let reason = Exception::failed("enough of it");
                    self.victim.engine.close(peer.conn, Some(reason));
                }
            }
            self.victim.collect();
        }
        let number = 2 + u8::try_from(input.below(2)).unwrap_or_default();
        let known = !input.one_in(4);
        self.open(number, known);
    }

    /// The victim tells the honest peer something, with references to whatever it has.
    fn give_to_honest(&mut self, input: &mut Input<'_>) {
        let caps = self.victim.some(input);
        let friend = self.victim.engine.bootstrap(self.link[0]);
        let promise = self.victim.engine.promise();
        self.victim.send(friend, caps, Some(promise));
        self.victim.engine.release(friend);
        self.victim.held.push(promise);
    }

    fn dialed(&mut self, input: &mut Input<'_>) {
        let Some(request) = self.victim.dials.pop() else {
            return;
        };
        let result = match input.below(4) {
            0 => Err(Exception::failed("nobody is there")),
            1 => Ok(self.link[0]),
            // It need not be the one that was asked for.
            _ => self
                .peer(input)
                .ok_or_else(|| Exception::failed("nobody is there")),
        };
        self.victim.engine.dialed(request, result);
    }

    /// The victim does something.
    fn act(&mut self, input: &mut Input<'_>) {
        let vat = &mut self.victim;
        match input.below(12) {
            0 => {
                let Some(conn) = self.peer(input) else { return };
                let node = self.victim.engine.bootstrap(conn);
                self.victim.held.push(node);
            }
            1..4 => {
                let Some(to) = vat.any(input) else { return };
                let caps = vat.some(input);
                let promise = vat.engine.promise();
                vat.send(to, caps, Some(promise));
                vat.held.push(promise);
            }
            4 | 5 => vat.answer_one(input),
            6 => {
                let Some(to) = vat.any(input) else { return };
                let Some(call) = vat.waiting.pop() else {
                    return;
                };
                if input.one_in(2) {
                    let caps = call.params.caps().to_vec();
                    caps.iter().for_each(|node| vat.engine.retain(*node));
                    vat.held.extend(caps);
                }
                vat.engine.forward(to, call);
            }
            7 => {
                let promise = vat.engine.promise();
                vat.promises.push(promise);
            }
            8 => {
                let Some(to) = vat.any(input) else { return };
                let Some(promise) = vat.promises.pop() else {
                    return;
                };
                vat.resolve(promise, Ok(to));
                vat.held.push(promise);
            }
            9 => {
                let count = input.below(HOARD);
                let kept = vat.held.len().saturating_sub(count);
                let gone = vat.held.split_off(kept);
                vat.release_all(gone);
            }
            10 => {
                if let Some(node) = vat.any(input) {
                    vat.engine.cancel(node);
                }
            }
            _ => {
                if let Some(node) = vat.any(input) {
                    vat.engine.when_resolved(node, 1);
                }
                let object = vat.engine.object(ObjectKey(input.below(4) as u64));
                vat.held.push(object);
            }
        }
    }

    fn peer(&self, input: &mut Input<'_>) -> Option<ConnId> {
        let index = input.below(self.peers.len());
        self.peers.get(index).map(|peer| peer.conn)
    }

    /// The honest link carries what there is, and everything is as it should be.
    fn settle(&mut self) -> Result<(), String> {
        if self.victim.held.len() > HOARD {
            let gone = self.victim.held.drain(..HOARD / 2).collect();
            self.victim.release_all(gone);
        }
        self.victim.collect();
        self.check()?;
        self.pump()?;
        self.check()?;
        self.honest.engine.check()
    }

    fn pump(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            let there = carry(
                &mut self.victim,
                self.link[0],
                &mut self.honest,
                self.link[1],
            );
            self.honest.let_go();
            let back = carry(
                &mut self.honest,
                self.link[1],
                &mut self.victim,
                self.link[0],
            );
            if !there && !back {
                return Ok(());
            }
        }
        Err("the victim and the honest vat do not come to rest".to_owned())
    }

    fn check(&mut self) -> Result<(), String> {
        self.victim.engine.check()?;
        if self.victim.closed.contains(&self.link[0]) {
            return Err("the honest peer's connection was closed".to_owned());
        }
        if !self.honest.closed.is_empty() {
            return Err("the honest vat closed its connection to the victim".to_owned());
        }
        for conn in self.peers.iter().map(|peer| peer.conn) {
            self.check_limits(conn)?;
        }
        Ok(())
    }

    fn check_limits(&self, conn: ConnId) -> Result<(), String> {
        let Some(stats) = self.victim.engine.stats(conn) else {
            return Ok(());
        };
        let limits = &self.limits;
        for (what, is, most) in [
            ("answers", stats.answers, limits.answers),
            ("questions", stats.questions, limits.questions),
            ("exports", stats.exports, limits.exports),
            ("imports", stats.imports, limits.imports),
            ("embargoes", stats.embargoes, limits.embargoes),
            ("call bytes", stats.call_bytes, limits.call_bytes),
            ("kept bytes", stats.kept_bytes, limits.kept_bytes),
            (
                "outbound bytes",
                stats.outbound_bytes,
                limits.outbound_bytes,
            ),
        ] {
            if is > most {
                return Err(format!("{is} {what}, the limit is {most}"));
            }
        }
        Ok(())
    }

    /// The hostile peers go; the honest one is served, and then nothing is left.
    fn finish(&mut self) -> Result<(), String> {
        for peer in std::mem::take(&mut self.peers) {
            self.victim.engine.handle_closed(peer.conn, "gone");
        }
        self.victim.collect();
        for _ in 0..8 {
            self.victim.let_go();
            self.settle()?;
        }
        let number = self.honest.send(self.greeter, Vec::new(), None);
        self.settle()?;
        if self.victim.waiting.len() != 1 {
            let waiting = self.victim.waiting.len();
            return Err(format!("{waiting} calls where the honest peer's is due"));
        }
        if let Some(call) = self.victim.waiting.pop() {
            self.victim.answer(call.answer, &[]);
        }
        self.settle()?;
        if !self.honest.returned.contains(&(number, true)) {
            return Err("the honest peer gets no answer".to_owned());
        }
        self.honest.engine.release(self.greeter);
        for _ in 0..8 {
            self.victim.let_go();
            self.honest.let_go();
            self.settle()?;
        }
        // Gifts whose taker never came.
        self.now += Duration::from_secs(3_600);
        self.victim.engine.handle_time(self.now);
        self.honest.engine.handle_time(self.now);
        self.settle()?;
        for (vat, conn) in [(&self.victim, self.link[0]), (&self.honest, self.link[1])] {
            if !vat.engine.is_drained(conn) {
                let stats = vat.engine.stats(conn);
                return Err(format!("left on the honest link: {stats:?}"));
            }
        }
        self.victim.engine.handle_closed(self.link[0], "the end");
        self.honest.engine.handle_closed(self.link[1], "the end");
        for vat in [&mut self.victim, &mut self.honest] {
            vat.collect();
            vat.let_go();
            if vat.engine.live_nodes() > 0 {
                return Err(format!("left:\n{}", vat.engine.dump()));
            }
        }
        Ok(())
    }
}

impl Vat {
    fn answer_one(&mut self, input: &mut Input<'_>) {
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

fn connect(vat: &mut Vat, peer: u8, limits: Limits, known: bool) -> ConnId {
    let root = vat.engine.object(ObjectKey(u64::from(peer) % 2));
    let mut options = ConnOptions::default()
        .with_bootstrap(root)
        .with_limits(limits)
        .with_hello(known)
        .with_descriptors(known);
    if known {
        options = options.with_peer(key(peer));
    }
    let conn = vat.engine.open(options);
    vat.engine.release(root);
    conn
}

/// The hello of somebody who can do everything: taken from one who says it.
fn hello() -> Vec<u8> {
    let mut vat = Vat::new(2, true);
    let conn = connect(&mut vat, VICTIM, Limits::default(), true);
    let mut out = Transmit::new();
    vat.engine.poll_transmit(conn, &mut out);
    out.take_bytes()
}

/// Everything that one has to say to the other. Whether that was anything.
fn carry(from: &mut Vat, out: ConnId, to: &mut Vat, into: ConnId) -> bool {
    from.collect();
    let mut transmit = Transmit::new();
    from.engine.poll_transmit(out, &mut transmit);
    let mut some = false;
    while let Some((run, fds)) = transmit.head() {
        some = true;
        let mut fds: Vec<OwnedFd> = fds.iter().filter_map(|fd| fd.try_clone().ok()).collect();
        let run = run.to_vec();
        transmit.advance(run.len());
        let mut rest = &run[..];
        while !rest.is_empty() {
            let taken = to.engine.handle_bytes(into, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            to.collect();
        }
    }
    some
}
