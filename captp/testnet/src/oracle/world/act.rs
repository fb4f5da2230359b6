//! Operations; `None`: makes no sense.

use captp::{Exception, ObjectKey};

use super::{Call, Fate, Given, Held, Job, Resolver, World};
use crate::Vat;
use crate::content::{Caps, SLOTS, Slot};
use crate::oracle::script::{Name, With, made, result};
use crate::oracle::shadow::{Fork, Shadow, State};

impl World {
    pub(super) fn object(&mut self, id: u32, vat: usize, key: u64) -> Option<()> {
        let node = self.vat(vat)?.engine.object(ObjectKey(key));
        let life = self.life(vat);
        let shadow = self.shadows.add(State::Object { vat, life, key });
        self.hold(made(id), vat, node, shadow, &[]);
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

    pub(super) fn call(&mut self, id: u32, on: Name, with: &With, ask: &[Slot]) -> Option<()> {
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

    pub(super) fn answer(&mut self, id: u32, call: u32, with: &With) -> Option<()> {
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
        self.vat(waiting.vat)?
            .fail(waiting.arrived, Exception::failed(reason));
        Some(())
    }

    pub(super) fn forward(&mut self, id: u32, call: u32, to: Name) -> Option<()> {
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

    pub(super) fn resolve(&mut self, promise: u32, to: Name) -> Option<()> {
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

    pub(super) fn when(&mut self, id: u32, on: Name) -> Option<()> {
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
        Some(())
    }
}
