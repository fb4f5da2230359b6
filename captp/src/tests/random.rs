//! Random operations on several vats, checked against a shadow graph of plain references: which
//! object must receive each call, and in which order.

use std::collections::BTreeMap;

use super::net::{Event, Net, Respond};
use crate::{ConnOptions, Exception, Limits, NodeId};

/// A small generator (xorshift), so that a seed says everything.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// What a reference stands for, known from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shadow {
    Object(usize, u64),
    Open,
    Became(usize),
    Broken,
}

/// A reference that a vat holds. Clones made by sending get numbers of their own.
#[derive(Clone, Copy)]
struct Held {
    node: NodeId,
    shadow: usize,
    number: usize,
}

struct Sent {
    by: usize,
    reference: usize,
    order: usize,
    shadow: usize,
    caps: Vec<usize>,
    result: Option<usize>,
    arrived: bool,
}

/// How many calls may be under way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Room {
    Plenty,
    /// One to three, so that calls wait all the time.
    Narrow,
}

impl Room {
    fn options(self, seed: u64) -> ConnOptions {
        let calls = 1 + usize::try_from(seed % 3).unwrap();
        let limits = match self {
            Self::Plenty => Limits::default(),
            Self::Narrow => Limits::default().with_answers_soft(calls),
        };
        ConnOptions::default()
            .with_limits(limits)
            .with_tail_calls(seed.is_multiple_of(2))
    }
}

struct World {
    net: Net,
    random: Random,
    shadows: Vec<Shadow>,
    held: Vec<Vec<Held>>,
    promises: Vec<Vec<Held>>,
    pending: Vec<Vec<(Respond, usize)>>,
    sent: Vec<Sent>,
    next_order: BTreeMap<usize, usize>,
    last_seen: BTreeMap<usize, usize>,
    references: usize,
    tags: BTreeMap<(usize, u32), usize>,
    delivered: usize,
    /// Whether links may break, and whether one has.
    cuts: bool,
    cut: bool,
}

impl World {
    fn new(seed: u64, vats: usize, room: Room) -> Self {
        let mut world = Self {
            net: Net::new(vats),
            random: Random::new(seed),
            shadows: Vec::new(),
            held: vec![Vec::new(); vats],
            promises: vec![Vec::new(); vats],
            pending: (0..vats).map(|_| Vec::new()).collect(),
            sent: Vec::new(),
            next_order: BTreeMap::new(),
            last_seen: BTreeMap::new(),
            references: 0,
            tags: BTreeMap::new(),
            delivered: 0,
            cuts: false,
            cut: false,
        };
        for a in 0..vats {
            for b in a + 1..vats {
                let first = world.net.vats[a].object(0);
                let second = world.net.vats[b].object(0);
                let link = world.net.link(
                    (a, room.options(seed).with_bootstrap(first)),
                    (b, room.options(seed + 1).with_bootstrap(second)),
                );
                world.net.vats[a].release(first);
                world.net.vats[b].release(second);
                for (end, vat, other) in [(0, a, b), (1, b, a)] {
                    let conn = world.net.conn(link, end);
                    let node = world.net.vats[vat].engine.bootstrap(conn);
                    let shadow = world.shadow(Shadow::Object(other, 0));
                    world.hold(vat, node, shadow);
                }
            }
        }
        world
    }

    fn shadow(&mut self, shadow: Shadow) -> usize {
        self.shadows.push(shadow);
        self.shadows.len() - 1
    }

    fn hold(&mut self, vat: usize, node: NodeId, shadow: usize) {
        self.references += 1;
        self.held[vat].push(Held {
            node,
            shadow,
            number: self.references,
        });
    }

    fn target(&self, mut shadow: usize) -> usize {
        while let Shadow::Became(next) = self.shadows[shadow] {
            shadow = next;
        }
        shadow
    }

    fn came_to(&mut self, shadow: usize, to: usize) {
        let to = self.target(to);
        self.shadows[shadow] = if to == shadow {
            Shadow::Broken
        } else {
            Shadow::Became(to)
        };
    }

    /// Whether what `from` will be depends on what `on` will be: a call to a promise that becomes
    /// the call's own result waits for ever, and no engine can know better. Such circles are not
    /// made here.
    fn depends(&self, from: usize, on: usize) -> bool {
        let from = self.target(from);
        if from == on {
            return true;
        }
        let call = self
            .sent
            .iter()
            .find(|sent| sent.result == Some(from) && !sent.arrived);
        call.is_some_and(|call| self.depends(call.shadow, on))
    }

    fn pick(&mut self, vat: usize) -> Option<Held> {
        if self.held[vat].is_empty() {
            return None;
        }
        let index = self.random.below(self.held[vat].len());
        Some(self.held[vat][index])
    }

    fn act(&mut self) {
        if self.cuts && self.random.below(60) == 0 {
            self.cut = true;
            let link = self.random.below(self.net.links.len());
            self.net.cut(link);
            self.events();
        }
        let vat = self.random.below(self.held.len());
        match self.random.below(20) {
            0..=5 => self.call(vat),
            6 => {
                let key = 1 + self.random.below(3) as u64;
                let node = self.net.vats[vat].object(key);
                let shadow = self.shadow(Shadow::Object(vat, key));
                self.hold(vat, node, shadow);
            }
            7 => {
                let node = self.net.vats[vat].engine.promise();
                self.net.vats[vat].engine.retain(node);
                let shadow = self.shadow(Shadow::Open);
                self.hold(vat, node, shadow);
                self.promises[vat].push(Held {
                    node,
                    shadow,
                    number: 0,
                });
            }
            8 => self.resolve(vat),
            9 | 10 if !self.held[vat].is_empty() => {
                let index = self.random.below(self.held[vat].len());
                let held = self.held[vat].swap_remove(index);
                self.net.vats[vat].release(held.node);
            }
            11..=13 => self.answer(vat),
            _ => {
                let random = &mut self.random;
                self.net.step(|ready| random.below(ready));
                self.events();
            }
        }
        self.net.check();
    }

    fn call(&mut self, vat: usize) {
        let Some(target) = self.pick(vat) else { return };
        let mut caps = Vec::new();
        for _ in 0..self.random.below(3) {
            caps.extend(self.pick(vat));
        }
        let order = self.next_order.entry(target.number).or_default();
        *order += 1;
        let order = *order;
        let number = u32::try_from(self.sent.len()).unwrap();
        let nodes: Vec<NodeId> = caps.iter().map(|held| held.node).collect();
        let asks = self.random.below(3) > 0;
        let result = asks.then(|| self.shadow(Shadow::Open));
        self.sent.push(Sent {
            by: vat,
            reference: target.number,
            order,
            shadow: target.shadow,
            caps: caps.iter().map(|held| held.shadow).collect(),
            result,
            arrived: false,
        });
        if let Some(shadow) = result {
            let (tag, node) = self.net.vats[vat].ask(target.node, number, &nodes);
            self.tags.insert((vat, tag), shadow);
            self.hold(vat, node, shadow);
        } else {
            self.net.vats[vat].send(target.node, number, &nodes);
        }
        self.events();
    }

    fn resolve(&mut self, vat: usize) {
        if self.promises[vat].is_empty() {
            return;
        }
        let index = self.random.below(self.promises[vat].len());
        let promise = self.promises[vat].swap_remove(index);
        match self.pick(vat) {
            Some(to) if self.random.below(8) > 0 && !self.depends(to.shadow, promise.shadow) => {
                self.came_to(promise.shadow, to.shadow);
                self.net.vats[vat]
                    .engine
                    .resolve(promise.node, Ok(to.node))
                    .unwrap();
            }
            _ => {
                self.shadows[promise.shadow] = Shadow::Broken;
                let reason = Exception::failed("given up");
                self.net.vats[vat]
                    .engine
                    .resolve(promise.node, Err(reason))
                    .unwrap();
            }
        }
        self.net.vats[vat].release(promise.node);
        self.events();
    }

    fn answer(&mut self, vat: usize) {
        if self.pending[vat].is_empty() {
            return;
        }
        let index = self.random.below(self.pending[vat].len());
        let (respond, sent) = self.pending[vat].swap_remove(index);
        let result = self.sent[sent].result;
        match self.pick(vat) {
            Some(cap)
                if self.random.below(8) > 0
                    && result.is_none_or(|result| !self.depends(cap.shadow, result)) =>
            {
                if let Some(shadow) = result {
                    self.came_to(shadow, cap.shadow);
                }
                self.net.vats[vat].answer(respond, 0, &[cap.node]);
            }
            _ => {
                if let Some(shadow) = result {
                    self.shadows[shadow] = Shadow::Broken;
                }
                self.net.vats[vat].fail(respond, Exception::failed("no"));
            }
        }
        self.events();
    }

    fn events(&mut self) {
        for vat in 0..self.held.len() {
            while let Some(event) = self.net.vats[vat].next() {
                self.event(vat, event);
            }
        }
    }

    fn event(&mut self, vat: usize, event: Event) {
        match event {
            Event::Call {
                object,
                number,
                caps,
                respond,
            } => {
                let sent = number as usize;
                let Sent {
                    by,
                    reference,
                    order,
                    shadow,
                    ..
                } = self.sent[sent];
                let expected = self.shadows[self.target(shadow)];
                assert_eq!(
                    expected,
                    Shadow::Object(vat, object),
                    "call {number} of vat {by} arrived at object {object} of vat {vat}"
                );
                let last = self.last_seen.entry(reference).or_default();
                assert!(
                    *last < order,
                    "call {number} of vat {by}: order {order} on reference {reference} after {last}"
                );
                // Nothing may be lost on the way either.
                assert!(
                    self.cut || *last + 1 == order,
                    "a call before {number} is missing"
                );
                *last = order;
                self.delivered += 1;
                self.sent[sent].arrived = true;
                let shadows = self.sent[sent].caps.clone();
                assert_eq!(shadows.len(), caps.len());
                for (node, shadow) in caps.into_iter().zip(shadows) {
                    self.hold(vat, node, shadow);
                }
                self.pending[vat].push((respond, sent));
            }
            Event::Returned {
                tag,
                result: Ok((_, caps)),
            } => {
                let shadow = self.tags.get(&(vat, tag)).copied();
                for node in caps {
                    match shadow {
                        Some(shadow) => self.hold(vat, node, shadow),
                        None => self.net.vats[vat].release(node),
                    }
                }
            }
            Event::Returned { result: Err(_), .. }
            | Event::Failed { .. }
            | Event::Dropped(_)
            | Event::Run(_)
            | Event::Cancelled(_)
            | Event::Dial(..) => {}
            Event::Closed(conn, reason) => assert!(self.cut, "{conn} closed: {reason}"),
        }
    }

    /// Lets everything come to its end, and looks at what is left.
    fn finish(mut self) -> (usize, usize) {
        for _ in 0..100 {
            self.net.run();
            self.events();
            for vat in 0..self.held.len() {
                while !self.promises[vat].is_empty() {
                    self.resolve(vat);
                }
                while !self.pending[vat].is_empty() {
                    self.answer(vat);
                }
            }
        }
        self.net.run();
        self.events();
        if self.cut {
            for link in 0..self.net.links.len() {
                self.net.cut(link);
            }
            self.events();
        }
        for vat in 0..self.held.len() {
            while !self.pending[vat].is_empty() {
                self.answer(vat);
            }
        }
        for vat in 0..self.held.len() {
            for held in std::mem::take(&mut self.held[vat]) {
                self.net.vats[vat].release(held.node);
            }
        }
        self.net.run();
        self.events();
        if self.cut {
            let none = vec![0; self.held.len()];
            self.net.assert_drained(&none);
        }
        if !self.cut {
            // Each vat's object 0 is still offered.
            let kept = vec![1; self.held.len()];
            self.net.assert_drained(&kept);
        }
        (self.sent.len(), self.delivered)
    }
}

fn run(seed: u64, vats: usize, steps: usize, cuts: bool, room: Room) -> (usize, usize) {
    let mut world = World::new(seed, vats, room);
    world.cuts = cuts;
    for _ in 0..steps {
        world.act();
    }
    world.finish()
}

fn run_all(seeds: std::ops::Range<u64>, vats: usize, steps: usize, cuts: bool, room: Room) {
    let (mut sent, mut delivered) = (0, 0);
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed, vats, steps, cuts, room));
        match result {
            Ok((some, arrived)) => {
                sent += some;
                delivered += arrived;
            }
            Err(_) => panic!("seed {seed} failed with {vats} vats and {steps} steps"),
        }
    }
    assert!(
        delivered * 3 > sent,
        "{delivered} of {sent} calls arrived: too few to mean anything"
    );
}

#[test]
fn calls_reach_the_right_object_in_order_between_two_vats() {
    run_all(0..60, 2, 120, false, Room::Plenty);
}

#[test]
fn calls_reach_the_right_object_in_order_among_three_vats() {
    run_all(0..25, 3, 150, false, Room::Plenty);
}

#[test]
fn calls_that_wait_for_room_reach_the_right_object_in_order() {
    run_all(0..60, 2, 120, false, Room::Narrow);
    run_all(0..25, 3, 150, false, Room::Narrow);
}

#[test]
fn lost_links_break_what_went_through_them_and_leave_nothing_behind() {
    run_all(0..40, 3, 120, true, Room::Plenty);
    run_all(0..40, 3, 120, true, Room::Narrow);
}

#[test]
#[ignore = "takes minutes; for a machine that is idle"]
fn many_more_seeds() {
    for round in 0..40u32 {
        let (vats, steps) = (2 + round % 3, 80 + 20 * (round % 10));
        let first = u64::from(round) * 100;
        run_all(
            first..first + 100,
            vats as usize,
            steps as usize,
            round % 4 == 3,
            match round % 2 {
                0 => Room::Plenty,
                _ => Room::Narrow,
            },
        );
    }
}
