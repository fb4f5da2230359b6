//! A run: vats, what they hold, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};

use captp::{CloseReason, Exception, NodeId, NodeState, ObjectKey};

use super::script::{Name, Op, Setup, With, answered, made, param, result};
use super::shadow::{Fork, Place, Shadow, Shadows, State, Stream};
use super::trace::Trace;
use crate::content::{Caps, SLOTS, Slot};
use crate::network::Delivered;
use crate::vat::Results;
use crate::{Arrived, End, Event, Flying, LinkId, Net, Vat};

pub(super) type Checked<T = ()> = Result<T, String>;

/// A reference that a vat holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) vat: usize,
    pub(super) node: NodeId,
    pub(super) shadow: Shadow,
    stream: Stream,
}

/// A promise that a vat can resolve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    pub(super) vat: usize,
    node: NodeId,
    pub(super) shadow: Shadow,
}

/// A call at its object.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) vat: usize,
    /// The call's number.
    pub(super) call: u32,
    arrived: Arrived,
}

/// What a message gave away, by slot.
type Given = [Option<(Shadow, Fork)>; SLOTS];

/// What became of a call.
#[derive(Clone, PartialEq, Debug)]
enum Fate {
    /// On its way, since it was sent or forwarded by this operation, to what this stands for.
    Sent { hop: u32, to: Shadow, place: Place },
    /// At its object.
    Arrived,
    /// Answered by an operation with references.
    Answered(u32, Given),
    /// Answered with an exception.
    Failed(String),
}

#[derive(Debug)]
struct Call {
    vat: usize,
    life: u32,
    given: Given,
    results: [Shadow; SLOTS],
    fate: Fate,
    replied: bool,
    cancelled: bool,
}

#[derive(Debug)]
struct Job {
    vat: usize,
    life: u32,
    node: NodeId,
    done: bool,
}

/// The world of one run.
#[derive(Debug)]
pub(super) struct World {
    setup: Setup,
    pub(super) net: Net,
    pub(super) trace: Trace,
    pub(super) shadows: Shadows,
    pub(super) held: BTreeMap<Name, Held>,
    pub(super) promises: BTreeMap<u32, Resolver>,
    pub(super) waiting: BTreeMap<u32, Waiting>,
    calls: BTreeMap<u32, Call>,
    jobs: BTreeMap<u32, Job>,
    lives: Vec<u32>,
    /// The stream of each node that a vat holds, and how often it is held.
    streams: BTreeMap<(usize, NodeId), (Stream, u32)>,
    used: BTreeSet<u32>,
    /// The vat that did something last.
    touched: usize,
    /// A connection was lost or a call cancelled: calls may be missing.
    lost: bool,
    cancelled: bool,
    pub(super) sent: usize,
    pub(super) delivered: usize,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut net = match setup.keys {
            true => Net::known(setup.vats),
            false => Net::new(setup.vats),
        };
        for vat in &mut net.vats {
            vat.engine.set_fault(setup.fault);
        }
        net.set_room(setup.room);
        for (a, b) in &setup.links {
            net.link(*a, *b, setup.hello);
        }
        Self {
            setup: setup.clone(),
            net,
            trace: Trace::default(),
            shadows: Shadows::default(),
            held: BTreeMap::new(),
            promises: BTreeMap::new(),
            waiting: BTreeMap::new(),
            calls: BTreeMap::new(),
            jobs: BTreeMap::new(),
            lives: vec![0; setup.vats],
            streams: BTreeMap::new(),
            used: BTreeSet::new(),
            touched: 0,
            lost: false,
            cancelled: false,
            sent: 0,
            delivered: 0,
        }
    }

    const fn strict(&self) -> bool {
        !self.lost && !self.cancelled
    }

    /// Does one operation, if it makes sense, and looks at what comes of it. Returns whether it
    /// made sense.
    pub(super) fn apply(&mut self, op: &Op) -> Checked<bool> {
        let done = self.try_apply(op)?;
        if done {
            self.events()?;
            // At once, so that a script gives the same run as what it was recorded from.
            self.net.network.pump(&mut self.net.vats);
        }
        Ok(done)
    }

    fn try_apply(&mut self, op: &Op) -> Checked<bool> {
        if let Some(id) = new_id(op)
            && !self.used.insert(id)
        {
            return Ok(false);
        }
        let done = match op {
            Op::Object { id, vat, key } => self.object(*id, *vat, *key),
            Op::Promise { id, vat } => self.promise(*id, *vat),
            Op::Bootstrap {
                id,
                vat,
                peer,
                lane,
            } => self.bootstrap(*id, *vat, *peer, *lane),
            Op::Call { id, on, with, ask } => self.call(*id, *on, with, ask),
            Op::Answer { id, call, with } => self.answer(*id, *call, with),
            Op::Fail { call } => self.fail(*call),
            Op::Forward { id, call, to } => self.forward(*id, *call, *to),
            Op::Resolve { promise, to } => self.resolve(*promise, *to),
            Op::Break { promise } => self.break_promise(*promise),
            Op::Clone { id, of } => self.clone_held(*id, *of),
            Op::Release { name } => self.release(*name),
            Op::Cancel { name } => self.cancel(*name),
            Op::When { id, on } => self.when(*id, *on),
            Op::Deliver { from, to, lane } => {
                let Some(end) = self.end(*from, *to, *lane) else {
                    return Ok(false);
                };
                return Ok(self.deliver(end)?.is_some());
            }
            Op::Cut { a, b, lane, lose } => self.cut(*a, *b, *lane, *lose),
            Op::Connect { a, b } => self.connect(*a, *b),
            Op::Crash { vat } => self.crash(*vat),
            Op::Dialed { vat, refuse } => self.net.dialed(*vat, *refuse),
        };
        if done.is_some() {
            self.net.check_vat(self.touched)?;
        }
        Ok(done.is_some())
    }

    // ---- operations; None: makes no sense

    fn vat(&mut self, vat: usize) -> Option<&mut Vat> {
        self.touched = vat;
        self.net.vats.get_mut(vat)
    }

    fn life(&self, vat: usize) -> u32 {
        self.lives.get(vat).copied().unwrap_or_default()
    }

    fn object(&mut self, id: u32, vat: usize, key: u64) -> Option<()> {
        let node = self.vat(vat)?.engine.object(ObjectKey(key));
        let life = self.life(vat);
        let shadow = self.shadows.add(State::Object { vat, life, key });
        self.hold(made(id), vat, node, shadow, &[]);
        Some(())
    }

    fn promise(&mut self, id: u32, vat: usize) -> Option<()> {
        let engine = &mut self.vat(vat)?.engine;
        let node = engine.promise();
        engine.retain(node);
        let shadow = self.shadows.add(State::Open(None));
        self.hold(made(id), vat, node, shadow, &[]);
        self.promises.insert(id, Resolver { vat, node, shadow });
        Some(())
    }

    fn bootstrap(&mut self, id: u32, vat: usize, peer: usize, lane: usize) -> Option<()> {
        let end = self.end(peer, vat, lane)?;
        if !self.net.network.is_open(end.link) {
            return None;
        }
        let node = self.net.bootstrap(end)?;
        let life = self.life(peer);
        let state = State::Object {
            vat: peer,
            life,
            key: 0,
        };
        let shadow = self.shadows.add(state);
        self.hold(made(id), vat, node, shadow, &[]);
        Some(())
    }

    fn call(&mut self, id: u32, on: Name, with: &With, ask: &[Slot]) -> Option<()> {
        let target = *self.held.get(&on)?;
        let (caps, given) = self.gather(target.vat, with);
        let place = self.shadows.sent(target.stream);
        let results = [(); SLOTS].map(|()| self.shadows.add(State::Open(Some(id))));
        let life = self.life(target.vat);
        self.calls.insert(
            id,
            Call {
                vat: target.vat,
                life,
                given,
                results,
                fate: Fate::Sent {
                    hop: id,
                    to: target.shadow,
                    place,
                },
                replied: false,
                cancelled: false,
            },
        );
        let mut asked = Vec::new();
        for slot in ask {
            let node = self.vat(target.vat)?.engine.promise();
            let shadow = *results.get(*slot)?;
            self.hold(result(id, *slot), target.vat, node, shadow, &[]);
            asked.push((*slot, node));
        }
        self.sent += 1;
        self.vat(target.vat)?
            .send(target.node, u64::from(id), &caps, &asked);
        Some(())
    }

    /// References to be put into a message. Those that the vat does not hold stay null.
    fn gather(&self, vat: usize, with: &With) -> (Caps, Given) {
        let mut caps = Caps::default();
        let mut given = Given::default();
        for (slot, name) in with {
            let held = self.held.get(name).filter(|held| held.vat == vat);
            if let (Some(held), Some(cap), Some(gift)) =
                (held, caps.get_mut(*slot), given.get_mut(*slot))
            {
                *cap = Some(held.node);
                *gift = Some((held.shadow, self.shadows.fork(held.stream)));
            }
        }
        (caps, given)
    }

    fn answer(&mut self, id: u32, call: u32, with: &With) -> Option<()> {
        let waiting = self.waiting.get(&call)?;
        let (vat, number) = (waiting.vat, waiting.call);
        let (mut caps, mut given) = self.gather(vat, with);
        let results = self.calls.get(&number)?.results;
        let waiting = self.waiting.remove(&call)?;
        // One after the other: what one slot becomes may close a circle with the next.
        for ((gift, cap), shadow) in given.iter_mut().zip(&mut caps).zip(&results) {
            if gift.is_some_and(|(what, _)| self.depends(what, *shadow)) {
                *gift = None;
                *cap = None;
            }
            let state = match gift {
                Some((to, fork)) => self.becomes(*shadow, *to, *fork),
                None => State::Broken(None),
            };
            self.shadows.decide(*shadow, state);
        }
        self.calls.get_mut(&number)?.fate = Fate::Answered(id, given);
        self.vat(vat)?.answer(waiting.arrived, u64::from(id), &caps);
        Some(())
    }

    fn becomes(&self, shadow: Shadow, to: Shadow, fork: Fork) -> State {
        if self.shadows.target(to) == shadow {
            State::Broken(None)
        } else {
            State::Became(to, fork)
        }
    }

    fn fail(&mut self, call: u32) -> Option<()> {
        let waiting = self.waiting.remove(&call)?;
        let reason = format!("call {} failed", waiting.call);
        let record = self.calls.get_mut(&waiting.call)?;
        record.fate = Fate::Failed(reason.clone());
        for shadow in record.results {
            self.shadows
                .decide(shadow, State::Broken(Some(reason.clone())));
        }
        self.vat(waiting.vat)?
            .fail(waiting.arrived, Exception::failed(reason));
        Some(())
    }

    fn forward(&mut self, id: u32, call: u32, to: Name) -> Option<()> {
        let waiting = self.waiting.get(&call)?;
        let to = *self.held.get(&to).filter(|held| held.vat == waiting.vat)?;
        let results = self.calls.get(&waiting.call)?.results;
        if results
            .iter()
            .any(|shadow| self.depends(to.shadow, *shadow))
        {
            return None;
        }
        let waiting = self.waiting.remove(&call)?;
        let place = self.shadows.sent(to.stream);
        // What it carries has come here already: it does not go out with new forks, because the
        // engine passes on what the parameters are, not what somebody here holds.
        self.calls.get_mut(&waiting.call)?.fate = Fate::Sent {
            hop: id,
            to: to.shadow,
            place,
        };
        self.vat(waiting.vat)?.forward(waiting.arrived, to.node);
        Some(())
    }

    fn resolve(&mut self, promise: u32, to: Name) -> Option<()> {
        let resolver = *self.promises.get(&promise)?;
        let to = *self.held.get(&to).filter(|held| held.vat == resolver.vat)?;
        if self.depends(to.shadow, resolver.shadow) {
            return None;
        }
        self.promises.remove(&promise);
        let fork = self.shadows.fork(to.stream);
        let state = self.becomes(resolver.shadow, to.shadow, fork);
        self.shadows.decide(resolver.shadow, state);
        // Whoever here used the promise so far, and uses what it became from now on, keeps order.
        if let Some((stream, _)) = self.streams.get(&(resolver.vat, resolver.node)) {
            let fork = self.shadows.fork(*stream);
            self.shadows.join(to.stream, fork);
        }
        let vat = self.vat(resolver.vat)?;
        let _: Result<(), _> = vat.engine.resolve(resolver.node, Ok(to.node));
        vat.release(resolver.node);
        Some(())
    }

    fn break_promise(&mut self, promise: u32) -> Option<()> {
        let resolver = self.promises.remove(&promise)?;
        let reason = format!("promise {promise} is broken");
        self.shadows
            .decide(resolver.shadow, State::Broken(Some(reason.clone())));
        let vat = self.vat(resolver.vat)?;
        let _: Result<(), _> = vat
            .engine
            .resolve(resolver.node, Err(Exception::failed(reason)));
        vat.release(resolver.node);
        Some(())
    }

    fn clone_held(&mut self, id: u32, of: Name) -> Option<()> {
        let held = *self.held.get(&of)?;
        self.vat(held.vat)?.engine.retain(held.node);
        self.hold(made(id), held.vat, held.node, held.shadow, &[]);
        Some(())
    }

    fn release(&mut self, name: Name) -> Option<()> {
        let held = self.let_go(name)?;
        self.vat(held.vat)?.release(held.node);
        Some(())
    }

    fn cancel(&mut self, name: Name) -> Option<()> {
        let Name(call, part) = name;
        let held = *self.held.get(&name)?;
        if usize::from(part) >= SLOTS || !self.calls.contains_key(&call) {
            return None;
        }
        let vat = self.vat(held.vat)?;
        let done = vat.engine.cancel(held.node);
        vat.collect();
        if !done {
            return None;
        }
        self.cancelled = true;
        self.calls.get_mut(&call)?.cancelled = true;
        Some(())
    }

    fn when(&mut self, id: u32, on: Name) -> Option<()> {
        let Held { vat, node, .. } = *self.held.get(&on)?;
        let life = self.life(vat);
        self.jobs.insert(
            id,
            Job {
                vat,
                life,
                node,
                done: false,
            },
        );
        let there = self.vat(vat)?;
        there.engine.retain(node);
        there.engine.when_resolved(node, u64::from(id));
        there.collect();
        Some(())
    }

    fn cut(&mut self, a: usize, b: usize, lane: usize, lose: bool) -> Option<()> {
        let end = self.end(a, b, lane)?;
        if !self.net.network.is_open(end.link) {
            return None;
        }
        self.lost = true;
        self.net.network.cut(&mut self.net.vats, end.link, lose);
        Some(())
    }

    fn connect(&mut self, a: usize, b: usize) -> Option<()> {
        if a == b {
            return None;
        }
        self.net.link(a, b, self.setup.hello)?;
        Some(())
    }

    fn crash(&mut self, vat: usize) -> Option<()> {
        let (fault, keys) = (self.setup.fault, self.setup.keys);
        let session = u64::from(self.life(vat)) + 1;
        let new = self.net.vats.get_mut(vat)?;
        self.lost = true;
        self.net.network.crash(vat);
        *new = match keys {
            true => Vat::known(vat, session),
            false => Vat::new(),
        };
        new.engine.set_fault(fault);
        *self.lives.get_mut(vat)? += 1;
        self.held.retain(|_, held| held.vat != vat);
        self.promises.retain(|_, resolver| resolver.vat != vat);
        self.waiting.retain(|_, waiting| waiting.vat != vat);
        self.streams.retain(|(at, _), _| *at != vat);
        Some(())
    }

    // ---- links

    /// The end at which `to` receives what `from` sends.
    fn end(&self, from: usize, to: usize, lane: usize) -> Option<End> {
        let network = &self.net.network;
        let links = network.links().filter(|link| !network.is_over(*link));
        let ends = links.filter_map(|link| self.end_between(link, from, to));
        ends.into_iter().nth(lane)
    }

    fn end_between(&self, link: LinkId, from: usize, to: usize) -> Option<End> {
        let vat = |side| Some(self.net.network.at(End { link, side })?.0);
        match (vat(0)?, vat(1)?) {
            (a, b) if (a, b) == (from, to) => Some(End { link, side: 1 }),
            (a, b) if (b, a) == (from, to) => Some(End { link, side: 0 }),
            _ => None,
        }
    }

    /// The operation that delivers to this end.
    pub(super) fn delivery(&self, end: End) -> Option<Op> {
        let network = &self.net.network;
        let (to, _) = network.at(end)?;
        let other = End {
            side: 1 - end.side,
            ..end
        };
        let (from, _) = network.at(other)?;
        let links = network.links().filter(|link| !network.is_over(*link));
        let lane = links
            .filter(|link| self.end_between(*link, from, to).is_some())
            .position(|link| link == end.link)?;
        Some(Op::Deliver { from, to, lane })
    }

    /// Ends at which something waits.
    pub(super) fn ready(&mut self) -> Vec<End> {
        self.net.network.pump(&mut self.net.vats);
        self.net.network.ready().collect()
    }

    fn deliver(&mut self, end: End) -> Checked<Option<Delivered>> {
        self.net.network.pump_link(&mut self.net.vats, end.link);
        if let Some(Flying::Message { bytes, .. }) = self.net.network.flying(end).next() {
            self.trace.bytes(bytes);
        }
        let delivered = self.net.deliver(end)?;
        if let Some(Delivered { vat, kind, .. }) = delivered {
            self.trace.note(&[1, vat as u64, kind as u64]);
            self.net.network.pump_link(&mut self.net.vats, end.link);
            self.net.check_link(end.link)?;
        }
        Ok(delivered)
    }

    // ---- who holds what

    fn hold(&mut self, name: Name, vat: usize, node: NodeId, shadow: Shadow, from: &[Fork]) {
        let (stream, count) = match self.streams.get(&(vat, node)) {
            Some((stream, count)) => (*stream, *count),
            None => (self.shadows.stream(), 0),
        };
        self.streams.insert((vat, node), (stream, count + 1));
        for fork in from {
            self.shadows.join(stream, *fork);
        }
        let held = Held {
            vat,
            node,
            shadow,
            stream,
        };
        self.held.insert(name, held);
    }

    fn let_go(&mut self, name: Name) -> Option<Held> {
        let held = self.held.remove(&name)?;
        let key = (held.vat, held.node);
        if let Some((_, count)) = self.streams.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(&key);
            }
        }
        Some(held)
    }

    /// Whether what `from` will be depends on what `on` will be: a call to a promise that becomes
    /// the call's own result waits for ever, and no engine can know better. Such circles are not
    /// made here.
    fn depends(&self, from: Shadow, on: Shadow) -> bool {
        let mut from = self.shadows.target(from);
        loop {
            if from == on {
                return true;
            }
            match self.waits_for(from) {
                Some(next) => from = self.shadows.target(next),
                None => return false,
            }
        }
    }

    /// What must be decided before this reference inside an answer can be.
    fn waits_for(&self, shadow: Shadow) -> Option<Shadow> {
        let State::Open(Some(call)) = self.shadows.state(shadow) else {
            return None;
        };
        match self.calls.get(call)?.fate {
            Fate::Sent { to, .. } => Some(to),
            Fate::Arrived | Fate::Answered(..) | Fate::Failed(_) => None,
        }
    }

    /// What a reference stands for. What is inside the answer to a call that can never arrive is as
    /// broken as the call's target.
    fn state(&self, shadow: Shadow) -> &State {
        let mut at = shadow;
        while let Some(next) = self.waits_for(at) {
            at = next;
        }
        match self.shadows.state(at) {
            broken @ State::Broken(_) => broken,
            _ => self.shadows.state(shadow),
        }
    }

    // ---- what happens

    fn events(&mut self) -> Checked {
        for vat in 0..self.setup.vats {
            while let Some(event) = self.net.next_event(vat) {
                self.event(vat, event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, vat: usize, event: Event) -> Checked {
        let at = vat as u64;
        match event {
            Event::Call { object, arrived } => {
                self.trace.note(&[2, at, object, arrived.number()]);
                self.on_call(vat, object, arrived)
            }
            Event::Returned { number, result } => {
                self.trace.note(&[3, at, number, u64::from(result.is_ok())]);
                self.on_returned(vat, number, result)
            }
            Event::Run(job) => {
                self.trace.note(&[4, at, job]);
                self.on_run(vat, job)
            }
            Event::Cancelled((conn, serial)) => {
                self.trace.note(&[5, at, serial]);
                if self.strict() {
                    return Err(format!(
                        "vat {vat}: call {serial} of {conn} was cancelled by nobody"
                    ));
                }
                Ok(())
            }
            Event::Dropped(object) => {
                self.trace.note(&[6, at, object]);
                Ok(())
            }
            Event::Closed(conn, reason) => {
                self.trace.note(&[7, at]);
                match reason {
                    CloseReason::Transport(_) if self.lost => Ok(()),
                    reason => Err(format!("vat {vat} closed {conn}: {reason}")),
                }
            }
        }
    }

    fn on_call(&mut self, vat: usize, object: u64, arrived: Arrived) -> Checked {
        let strict = self.strict();
        let life = self.life(vat);
        let number = u32::try_from(arrived.number()).unwrap_or(u32::MAX);
        let Some(call) = self.calls.get_mut(&number) else {
            return Err(format!("vat {vat}: call {number} was never made"));
        };
        let Fate::Sent { hop, to, place } = call.fate else {
            return Err(format!("call {number} arrives twice, now at vat {vat}"));
        };
        call.fate = Fate::Arrived;
        let expected = self.shadows.state(to);
        let here = State::Object {
            vat,
            life,
            key: object,
        };
        if *expected != here {
            return Err(format!(
                "call {number} arrives at {here:?}, not at {expected:?}"
            ));
        }
        let ordered = self.shadows.arrived(place, to, strict);
        ordered.map_err(|fault| format!("call {number} at vat {vat}: {fault}"))?;
        let given = call.given;
        let caps = arrived.caps();
        if caps.map(|cap| cap.is_some()) != given.map(|gift| gift.is_some()) {
            return Err(format!("call {number} arrives with {caps:?}"));
        }
        for (slot, (cap, gift)) in caps.into_iter().zip(given).enumerate() {
            if let (Some(node), Some((shadow, fork))) = (cap, gift) {
                if let Some(there) = self.vat(vat) {
                    there.engine.retain(node);
                }
                self.hold(param(hop, slot), vat, node, shadow, &[fork]);
            }
        }
        self.delivered += 1;
        let waiting = Waiting {
            vat,
            call: number,
            arrived,
        };
        self.waiting.insert(hop, waiting);
        Ok(())
    }

    fn on_returned(
        &mut self,
        vat: usize,
        number: u64,
        outcome: Result<Results, Exception>,
    ) -> Checked {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let life = self.life(vat);
        let Some(call) = self.calls.get_mut(&number) else {
            return Err(format!("vat {vat}: an answer to no call {number}"));
        };
        if (call.vat, call.life) != (vat, life) || call.replied {
            return Err(format!(
                "vat {vat}: an answer to call {number}, which waits for none"
            ));
        }
        call.replied = true;
        let results = match outcome {
            Ok(results) => results,
            Err(reason) => return self.check_failure(number, &reason),
        };
        let Fate::Answered(by, given) = call.fate else {
            let fate = &call.fate;
            return Err(format!("call {number} was answered, but is {fate:?}"));
        };
        let caps = results.caps;
        if u64::from(by) != results.number
            || caps.map(|cap| cap.is_some()) != given.map(|gift| gift.is_some())
        {
            return Err(format!(
                "call {number} was answered by {by} with {results:?}"
            ));
        }
        for (slot, (cap, gift)) in caps.into_iter().zip(given).enumerate() {
            let (Some(node), Some((shadow, fork))) = (cap, gift) else {
                continue;
            };
            let mut forks = vec![fork];
            // What was sent to the promise comes before what is sent to the reference in the answer.
            if let Some(promise) = self.held.get(&result(number, slot)) {
                forks.push(self.shadows.fork(promise.stream));
            }
            self.hold(answered(number, slot), vat, node, shadow, &forks);
        }
        Ok(())
    }

    /// A call got an exception. Was it due?
    fn check_failure(&self, number: u32, reason: &Exception) -> Checked {
        let Some(call) = self.calls.get(&number) else {
            return Ok(());
        };
        if !self.strict() {
            return Ok(());
        }
        let due = match &call.fate {
            Fate::Failed(due) => Some(Some(due)),
            Fate::Sent { to, .. } => match self.state(*to) {
                State::Broken(due) => Some(due.as_ref()),
                State::Object { .. } | State::Open(_) | State::Became(..) => None,
            },
            Fate::Arrived | Fate::Answered(..) => None,
        };
        match due {
            Some(Some(due)) if due != reason.reason() => Err(format!(
                "call {number} failed with {reason}, not with {due}"
            )),
            Some(_) => Ok(()),
            None => Err(format!("call {number} failed: {reason}")),
        }
    }

    fn on_run(&mut self, vat: usize, job: u64) -> Checked {
        let life = self.life(vat);
        let number = u32::try_from(job).unwrap_or(u32::MAX);
        let Some(job) = self.jobs.get_mut(&number) else {
            return Err(format!("vat {vat}: job {number} was never given"));
        };
        if (job.vat, job.life, job.done) != (vat, life, false) {
            return Err(format!("vat {vat}: job {number} runs again"));
        }
        job.done = true;
        let node = job.node;
        let Some(there) = self.vat(vat) else {
            return Ok(());
        };
        let early = there.engine.state(node) == NodeState::Unresolved;
        there.release(node);
        if early {
            return Err(format!(
                "vat {vat}: job {number} runs before its reference is settled"
            ));
        }
        Ok(())
    }

    // ---- the end

    /// Lets everything come to its end, and looks at what is left.
    pub(super) fn finish(&mut self) -> Checked {
        self.settle()?;
        self.want_all();
        self.settle()?;
        self.check_fates()?;
        self.check_references()?;
        for name in self.held.keys().copied().collect::<Vec<_>>() {
            self.release(name);
        }
        self.quiet()?;
        self.net.check_drained()?;
        self.close_all()
    }

    /// Somebody waits for every reference: gifts are accepted then.
    fn want_all(&mut self) {
        let names: Vec<Name> = self.held.keys().copied().collect();
        for (id, name) in (0..u32::MAX).rev().zip(names) {
            if self.setup.keys && self.used.insert(id) {
                let _: Option<()> = self.when(id, name);
            }
        }
    }

    /// Delivers, breaks and answers until nothing is left to do.
    fn settle(&mut self) -> Checked {
        loop {
            self.quiet()?;
            let promises: Vec<u32> = self.promises.keys().copied().collect();
            let waiting: Vec<u32> = self.waiting.keys().copied().collect();
            if promises.is_empty() && waiting.is_empty() {
                return Ok(());
            }
            for promise in promises {
                self.apply(&Op::Break { promise })?;
            }
            for call in waiting {
                self.apply(&Op::Fail { call })?;
            }
        }
    }

    /// Delivers everything.
    fn quiet(&mut self) -> Checked {
        for _ in 0..LAST_DELIVERIES {
            self.events()?;
            if let Some(end) = self.ready().first().copied() {
                self.deliver(end)?;
                continue;
            }
            let dialed = (0..self.setup.vats).find_map(|vat| self.net.dialed(vat, false));
            if dialed.is_none() && !self.net.let_time_pass() {
                return self.net.check_links();
            }
        }
        Err(format!("{LAST_DELIVERIES} messages and no end of it"))
    }

    /// No call and no job is lost.
    fn check_fates(&self) -> Checked {
        for (number, call) in &self.calls {
            if self.life(call.vat) != call.life {
                continue;
            }
            if !call.replied {
                return Err(format!(
                    "call {number} never gets an answer: {:?}",
                    call.fate
                ));
            }
            if self.strict()
                && let Fate::Sent { to, .. } = call.fate
                && let State::Object { .. } = self.shadows.state(to)
            {
                return Err(format!("call {number} never arrives"));
            }
        }
        for (number, job) in &self.jobs {
            if !job.done && self.life(job.vat) == job.life {
                return Err(format!("job {number} never runs"));
            }
        }
        Ok(())
    }

    /// Every reference is known for what it is.
    fn check_references(&self) -> Checked {
        for (name, held) in &self.held {
            let Some(vat) = self.net.vats.get(held.vat) else {
                continue;
            };
            let state = vat.engine.state(held.node);
            let shadow = self.state(held.shadow);
            let fits = match (state, shadow) {
                (NodeState::Near(ObjectKey(near)), State::Object { vat, life, key }) => {
                    (*vat, *life, *key) == (held.vat, self.life(held.vat), near)
                }
                (NodeState::Near(_), _) => false,
                (NodeState::Far(_), State::Object { .. }) => true,
                (NodeState::Broken(_), State::Broken(_)) => true,
                (NodeState::Unresolved, _) => false,
                // Something settled that breaks later has no message in the protocol.
                (NodeState::Far(_) | NodeState::Broken(_), _) => !self.strict(),
            };
            if !fits {
                return Err(format!(
                    "{name} in vat {} is {state:?}, but stands for {shadow:?}",
                    held.vat
                ));
            }
        }
        for (one, first) in &self.held {
            for (other, second) in self.held.range(one..) {
                if first.vat == second.vat {
                    self.check_sameness(*one, first, *other, second)?;
                }
            }
        }
        Ok(())
    }

    fn check_sameness(&self, one: Name, first: &Held, other: Name, second: &Held) -> Checked {
        let Some(vat) = self.net.vats.get(first.vat) else {
            return Ok(());
        };
        let same = vat.engine.same(first.node, second.node);
        let (a, b) = (self.state(first.shadow), self.state(second.shadow));
        let objects = matches!((a, b), (State::Object { .. }, State::Object { .. }));
        match same {
            Some(same) if objects && same != (a == b) && self.strict() => Err(format!(
                "{one} and {other} in vat {} are said to be the same: {same}",
                first.vat
            )),
            _ => Ok(()),
        }
    }

    /// All connections end: nothing at all may be left.
    fn close_all(&mut self) -> Checked {
        self.lost = true;
        for link in self.net.network.links() {
            self.net.network.cut(&mut self.net.vats, link, false);
        }
        self.quiet()?;
        self.net.check_drained()?;
        for (vat, there) in self.net.vats.iter().enumerate() {
            let left = there.engine.live_nodes();
            if left > 0 {
                return Err(format!("vat {vat}: {left} references left after the end"));
            }
        }
        Ok(())
    }
}

/// Most messages after the last operation.
const LAST_DELIVERIES: usize = 20_000;

/// What an operation names.
const fn new_id(op: &Op) -> Option<u32> {
    match op {
        Op::Object { id, .. }
        | Op::Promise { id, .. }
        | Op::Bootstrap { id, .. }
        | Op::Call { id, .. }
        | Op::Answer { id, .. }
        | Op::Forward { id, .. }
        | Op::Clone { id, .. }
        | Op::When { id, .. } => Some(*id),
        Op::Fail { .. }
        | Op::Resolve { .. }
        | Op::Break { .. }
        | Op::Release { .. }
        | Op::Cancel { .. }
        | Op::Deliver { .. }
        | Op::Cut { .. }
        | Op::Connect { .. }
        | Op::Dialed { .. }
        | Op::Crash { .. } => None,
    }
}
