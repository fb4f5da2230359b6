//! Operations; `None`: makes no sense.

use std::rc::Rc;

use captp::{Exception, ObjectKey};

use super::{Call, Fate, Given, Held, Job, Resolver, Waits, World};
use crate::content::{Caps, SLOTS, Slot};
use crate::oracle::script::{Name, With, early, made, result};
use crate::oracle::shadow::{Fork, Shadow, State};
use crate::{CallSort, Vat, descriptor};

impl World {
    pub(super) fn object(&mut self, id: u32, vat: usize, key: u64) -> Option<()> {
        let node = self.vat(vat)?.engine.object(ObjectKey(key));
        let life = self.life(vat);
        let shadow = self.shadows.add(State::Object { vat, life, key });
        self.hold(made(id), vat, node, shadow, &[]);
        Some(())
    }

    pub(super) fn file(&mut self, id: u32, vat: usize, key: u64) -> Option<()> {
        let life = self.life(vat);
        let engine = &mut self.vat(vat)?.engine;
        let new = !engine.has_object(ObjectKey(key));
        self.object(id, vat, key)?;
        if new && let Some(descriptor) = descriptor::unique() {
            let number = descriptor::number(&descriptor)?;
            let files = self.files.entry((vat, life, key)).or_default();
            files.now = Some(number);
            files.ever.insert(number);
            let node = self.held.get(&made(id))?.node;
            self.vat(vat)?.engine.attach_fd(node, Rc::new(descriptor));
        }
        Some(())
    }

    pub(super) fn promise(&mut self, id: u32, vat: usize) -> Option<()> {
        let engine = &mut self.vat(vat)?.engine;
        let node = engine.promise();
        engine.retain(node);
        let shadow = self.shadows.add(State::Open(None));
        self.hold(made(id), vat, node, shadow, &[]);
        self.promises.insert(id, Resolver { vat, node, shadow });
        Some(())
    }

    pub(super) fn bootstrap(
        &mut self,
        id: u32,
        vat: usize,
        peer: usize,
        lane: usize,
    ) -> Option<()> {
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

    pub(super) fn call(
        &mut self,
        sort: CallSort,
        id: u32,
        on: Name,
        with: &With,
        ask: &[Slot],
    ) -> Option<()> {
        let target = *self.held.get(&on)?;
        let (caps, given) = self.gather(target.vat, with);
        let place = self.shadows.sent(target.stream);
        let results = [(); SLOTS].map(|()| self.shadows.add(State::Open(Some(id))));
        if sort == CallSort::References {
            self.fetched.extend(results);
        }
        let life = self.life(target.vat);
        self.calls.insert(
            id,
            Call {
                sort,
                vat: target.vat,
                life,
                given,
                results,
                fate: Fate::Sent {
                    hop: id,
                    to: target.shadow,
                    place,
                },
                hops: 0,
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
        if self.setup.circles {
            let nodes = asked.iter().map(|(_, node)| (target.vat, *node));
            self.asked.extend(nodes);
        }
        self.sent += 1;
        self.vat(target.vat)?
            .send_as(sort, target.node, u64::from(id), &caps, &asked);
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

    /// What a reference in an answer will be.
    pub(super) fn early(&mut self, call: u32, slot: Slot, to: Name) -> Option<()> {
        let waiting = self.waiting.get(&call)?;
        let (vat, number) = (waiting.vat, waiting.call);
        let shadow = *self.calls.get(&number)?.results.get(slot)?;
        let to = *self.held.get(&to).filter(|held| held.vat == vat)?;
        if self.held.contains_key(&early(call, slot)) || self.may_not(to.shadow, shadow) {
            return None;
        }
        let state = self.becomes(shadow, to.shadow, self.shadows.fork(to.stream));
        self.shadows.decide(shadow, state);
        self.vat(vat)?.engine.retain(to.node);
        self.hold(early(call, slot), vat, to.node, to.shadow, &[]);
        let there = self.net.vats.get_mut(vat)?;
        let waiting = self.waiting.get(&call)?;
        there.set_pipeline(&waiting.arrived, slot, to.node);
        Some(())
    }

    /// Whether anything was said in advance of the answer to a call that has arrived.
    pub(in crate::oracle) fn has_early(&self, call: u32) -> bool {
        (0..SLOTS).any(|slot| self.held.contains_key(&early(call, slot)))
    }

    fn let_go_early(&mut self, call: u32) {
        for slot in 0..SLOTS {
            if let Some(held) = self.let_go(early(call, slot))
                && let Some(vat) = self.vat(held.vat)
            {
                vat.release(held.node);
            }
        }
    }

    pub(super) fn answer(&mut self, id: u32, call: u32, with: &With) -> Option<()> {
        let waiting = self.waiting.get(&call)?;
        let (vat, number) = (waiting.vat, waiting.call);
        let (mut caps, mut given) = self.gather(vat, with);
        for (slot, (cap, gift)) in caps.iter_mut().zip(&mut given).enumerate() {
            if let Some(held) = self.held.get(&early(call, slot)) {
                *cap = Some(held.node);
                *gift = Some((held.shadow, self.shadows.fork(held.stream)));
            }
        }
        let results = self.calls.get(&number)?.results;
        let waiting = self.waiting.remove(&call)?;
        // One after the other: what one slot becomes may close a circle with the next.
        for ((gift, cap), shadow) in given.iter_mut().zip(&mut caps).zip(&results) {
            if gift.is_some_and(|(what, _)| self.may_not(what, *shadow)) {
                *gift = None;
                *cap = None;
            }
            let state = match gift {
                Some((to, fork)) => self.becomes(*shadow, *to, *fork),
                None => State::Broken(None),
            };
            self.shadows.decide(*shadow, state);
        }
        let open = |(what, _): &(Shadow, Fork)| {
            let state = self.shadows.state(*what);
            matches!(state, State::Open(_)) || self.is_vague(*what)
        };
        let knots = given.iter().flatten().any(open);
        let record = self.calls.get_mut(&number)?;
        record.fate = Fate::Answered(id, given);
        self.knotted |= knots && record.sort == CallSort::References;
        self.vat(vat)?.answer(waiting.arrived, u64::from(id), &caps);
        self.let_go_early(call);
        Some(())
    }

    pub(super) fn becomes(&self, shadow: Shadow, to: Shadow, fork: Fork) -> State {
        if self.shadows.target(to) == shadow {
            State::Broken(None)
        } else {
            State::Became(to, fork)
        }
    }

    pub(super) fn fail(&mut self, call: u32) -> Option<()> {
        let waiting = self.waiting.remove(&call)?;
        let reason = format!("call {} failed", waiting.call);
        let record = self.calls.get_mut(&waiting.call)?;
        record.fate = Fate::Failed(reason.clone());
        for shadow in record.results {
            self.shadows
                .decide(shadow, State::Broken(Some(reason.clone())));
        }
        // What was said in advance holds for calls that came before.
        self.cancelled |= self.has_early(call);
        self.vat(waiting.vat)?
            .fail(waiting.arrived, Exception::failed(reason));
        self.let_go_early(call);
        Some(())
    }

    pub(super) fn forward(&mut self, id: u32, call: u32, to: Name) -> Option<()> {
        let waiting = self.waiting.get(&call)?;
        let to = *self.held.get(&to).filter(|held| held.vat == waiting.vat)?;
        let record = self.calls.get_mut(&waiting.call)?;
        // Every stop reads the message, which can be read so often.
        if record.hops >= MOST_HOPS {
            return None;
        }
        let results = record.results;
        let mut results = results.iter();
        // The answer would have to be what was said of it.
        if self.has_early(call) || results.any(|shadow| self.may_not(to.shadow, *shadow)) {
            return None;
        }
        let waiting = self.waiting.remove(&call)?;
        let place = self.shadows.sent(to.stream);
        // What it carries has come here already: it does not go out with new forks, because the
        // engine passes on what the parameters are, not what somebody here holds.
        let record = self.calls.get_mut(&waiting.call)?;
        record.hops += 1;
        record.fate = Fate::Sent {
            hop: id,
            to: to.shadow,
            place,
        };
        self.vat(waiting.vat)?.forward(waiting.arrived, to.node);
        Some(())
    }

    pub(super) fn resolve(&mut self, promise: u32, to: Name) -> Option<()> {
        let resolver = *self.promises.get(&promise)?;
        let to = *self.held.get(&to).filter(|held| held.vat == resolver.vat)?;
        if self.may_not(to.shadow, resolver.shadow) {
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

    pub(super) fn break_promise(&mut self, promise: u32) -> Option<()> {
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

    pub(super) fn clone_held(&mut self, id: u32, of: Name) -> Option<()> {
        let held = *self.held.get(&of)?;
        self.vat(held.vat)?.engine.retain(held.node);
        self.hold(made(id), held.vat, held.node, held.shadow, &[]);
        Some(())
    }

    pub(super) fn release(&mut self, name: Name) -> Option<()> {
        if name.is_early() {
            return None;
        }
        let held = self.let_go(name)?;
        self.vat(held.vat)?.release(held.node);
        Some(())
    }

    pub(super) fn cancel(&mut self, name: Name) -> Option<()> {
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

    /// A job waits for something about a reference.
    pub(super) fn wait(&mut self, id: u32, on: Name, what: Waits) -> Option<()> {
        let Held {
            vat, node, shadow, ..
        } = *self.held.get(&on)?;
        if what == Waits::Settled && self.is_vague(shadow) {
            return None;
        }
        let life = self.life(vat);
        self.jobs.insert(
            id,
            Job {
                vat,
                life,
                node,
                shadow,
                what,
                done: false,
                given_up: false,
            },
        );
        let there = self.vat(vat)?;
        there.engine.retain(node);
        match what {
            Waits::Settled => there.engine.when_resolved(node, u64::from(id)),
            Waits::Room => there.engine.when_stream_room(node, u64::from(id)),
        }
        there.collect();
        Some(())
    }

    pub(super) fn cut(&mut self, a: usize, b: usize, lane: usize, lose: bool) -> Option<()> {
        let end = self.end(a, b, lane)?;
        if !self.net.network.is_open(end.link) {
            return None;
        }
        self.lost = true;
        self.net.network.cut(&mut self.net.vats, end.link, lose);
        Some(())
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> Option<()> {
        if a == b {
            return None;
        }
        self.net.link(a, b, self.setup.hello)?;
        Some(())
    }

    pub(super) fn crash(&mut self, vat: usize) -> Option<()> {
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
        self.asked.retain(|(at, _)| *at != vat);
        Some(())
    }
}

/// How often a call may be passed on.
const MOST_HOPS: u32 = 8;
