//! Random operations that make sense in the world as it is.

use super::options::{Extra, Options};
use super::random::Choose;
use super::script::{Name, Op, Script, Setup, With};
use super::world::{Checked, World};
use crate::content::{SLOTS, Slot};
use crate::{End, LinkId, Vat};

/// How many times as long as others some runs are.
const LONG: usize = 5;
/// Most references that a vat collects before it gives some back.
const MANY: usize = 14;

/// How a run is inclined.
pub(super) struct Mood {
    steps: usize,
    cuts: bool,
    cancels: bool,
    /// How many of a hundred steps deliver something.
    deliveries: usize,
    /// What occurs beside ordinary calls.
    extras: Vec<Extra>,
    /// How often one of the newest references is taken.
    fresh: usize,
    blocked: Vec<End>,
    next: u32,
}

pub(super) fn setup(random: &mut impl Choose, options: &Options) -> Setup {
    let keys = options.handoff;
    let some = match keys {
        true => 3 + random.below(3),
        false => 2 + random.below(7) / 3,
    };
    let vats = options.vats.unwrap_or(some).max(2);
    let mut links = Vec::new();
    match random.below(8) {
        0..=1 => links.extend((1..vats).map(|vat| (vat - 1, vat))),
        2 => links.extend((0..vats).map(|vat| (vat, (vat + 1) % vats))),
        3 => links.extend((1..vats).map(|vat| (0, vat))),
        _ => {
            for a in 0..vats {
                links.extend((a + 1..vats).map(|b| (a, b)));
            }
        }
    }
    if random.one_in(10) {
        links.push((0, 1));
    }
    let hello = random.one_in(2) || keys;
    let room = options.narrow.then(|| 1 + random.below(3));
    // Not with the lowest number, which is what a fuzzer has when its bytes are used up.
    let mut now_and_then =
        |extra, of| options.extras.contains(&extra) && random.below(of) == of - 1;
    let (descriptors, gifts) = (now_and_then(Extra::Files, 3), now_and_then(Extra::Gifts, 4));
    let (scarce, circles) = (
        now_and_then(Extra::Scarce, 12),
        now_and_then(Extra::Circles, 12),
    );
    let batches = now_and_then(Extra::Batches, 4);
    Setup {
        vats,
        links,
        hello,
        keys,
        descriptors,
        room,
        gifts: (gifts && keys).then(|| random.below(3)),
        scarce: scarce.then(|| 1 + random.below(4)),
        circles,
        batches,
        fetches: false,
        fault: options.fault,
    }
}

impl Mood {
    pub(super) fn new(random: &mut impl Choose, options: &Options) -> Self {
        let steps = options.steps / 3 + random.below(options.steps * 2 / 3 + 1);
        let parts = [
            (Extra::Long, 12),
            (Extra::Streams, 3),
            (Extra::Fetches, 3),
            (Extra::Early, 3),
            (Extra::Files, 1),
        ];
        let mut extras = options.extras.clone();
        for (extra, part) in parts {
            if random.below(part) != part - 1 {
                extras.retain(|other| *other != extra);
            }
        }
        let long = extras.contains(&Extra::Long);
        // The others say how everything is, and not what is done.
        extras.retain(|extra| parts.iter().any(|(known, _)| known == extra));
        extras.retain(|extra| *extra != Extra::Long);
        Self {
            steps: if long { steps * LONG } else { steps },
            extras,
            cuts: options.cuts && random.below(10) < 3,
            cancels: options.cancels && random.below(10) < 3,
            deliveries: 25 + random.below(50),
            fresh: random.below(5),
            blocked: Vec::new(),
            next: 0,
        }
    }

    const fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Everybody asks neighbours for what they offer.
    pub(super) fn begin(&mut self, random: &mut impl Choose, setup: &Setup) -> Vec<Op> {
        let mut ops = Vec::new();
        let both = setup.links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        for (vat, peer) in both {
            if random.below(5) > 0 {
                let id = self.id();
                let lane = 0;
                ops.push(Op::Bootstrap {
                    id,
                    vat,
                    peer,
                    lane,
                });
            }
        }
        ops
    }

    /// One operation; `None` if the dice fell on nothing.
    pub(super) fn step(&mut self, random: &mut impl Choose, world: &mut World) -> Option<Op> {
        if random.one_in(25) {
            self.toggle(random, world);
        }
        if world.has_batches() && random.one_in(8) {
            return Some(Op::Flush);
        }
        if self.cuts && random.one_in(40) {
            return Some(trouble(random, world));
        }
        if let Some(op) = dialed(random, world, 6) {
            return Some(op);
        }
        if random.below(100) < self.deliveries {
            return self.delivery(random, world);
        }
        let names: Vec<Name> = world.held.keys().copied().collect();
        let id = self.id();
        let vat = random.below(world.net.vats.len());
        if let Some(op) = self.extra(random, world, &names, id) {
            return Some(op);
        }
        match random.below(100) {
            0..36 => self.call(random, world, &names, id),
            36..40 => Some(Op::Object {
                id,
                vat,
                key: 1 + random.below(3) as u64,
            }),
            40..48 => Some(Op::Promise { id, vat }),
            48..58 => self.resolve(random, world),
            58..76 => self.answer(random, world, id),
            76..81 => self.forward(random, world, id),
            81..83 => Some(Op::Clone {
                id,
                of: *random.pick(&names)?,
            }),
            83..93 => self.release(random, world, vat),
            93..95 if self.cancels => cancel(random, &names),
            95..98 => Some(Op::When {
                id,
                on: *random.pick(&names)?,
            }),
            _ => bootstrap(random, world, id, vat),
        }
    }

    /// Something that does not occur in all runs, now and then.
    fn extra(
        &self,
        random: &mut impl Choose,
        world: &World,
        names: &[Name],
        id: u32,
    ) -> Option<Op> {
        let extra = *random.pick(&self.extras)?;
        match (extra, random.below(30)) {
            (Extra::Streams, 0..9) => {
                let (on, with, _) = self.message(random, world, names)?;
                Some(Op::Stream { id, on, with })
            }
            (Extra::Streams, 9..12) => {
                let on = *random.pick(names)?;
                Some(Op::Room { id, on })
            }
            (Extra::Fetches, 0..10) => {
                let (on, with, ask) = self.message(random, world, names)?;
                Some(Op::Fetch { id, on, with, ask })
            }
            (Extra::Early, 0..10) => {
                let waiting: Vec<u32> = world.waiting.keys().copied().collect();
                let call = *random.pick(&waiting)?;
                let vat = world.waiting.get(&call)?.vat;
                let slot = if random.below(4) > 0 {
                    0
                } else {
                    random.below(SLOTS)
                };
                let to = self.of_vat(random, world, vat)?;
                Some(Op::Early { call, slot, to })
            }
            (Extra::Files, 0..5) if world.has_descriptors() => Some(Op::File {
                id,
                vat: random.below(world.net.vats.len()),
                key: 1 + random.below(3) as u64,
            }),
            _ => None,
        }
    }

    /// One operation that brings the run nearer to its end; `None` when nothing is left to do.
    pub(super) fn wind_down(&mut self, random: &mut impl Choose, world: &mut World) -> Option<Op> {
        self.blocked.clear();
        let ready = world.ready();
        if world.has_batches() && world.net.has_unsent() && (ready.is_empty() || random.one_in(8)) {
            return Some(Op::Flush);
        }
        if !ready.is_empty() && random.below(100) < 60 {
            return world.delivery(*random.pick(&ready)?);
        }
        if let Some(op) = dialed(random, world, 1) {
            return Some(op);
        }
        let id = self.id();
        if !world.waiting.is_empty() && random.below(4) > 0 {
            return self.answer(random, world, id);
        }
        if !world.promises.is_empty() {
            return self.resolve(random, world);
        }
        if !world.waiting.is_empty() {
            return self.answer(random, world, id);
        }
        world.delivery(*random.pick(&ready)?)
    }

    fn toggle(&mut self, random: &mut impl Choose, world: &World) {
        let links: Vec<LinkId> = world.net.network.links().collect();
        let Some(link) = random.pick(&links) else {
            return;
        };
        let end = End {
            link: *link,
            side: random.below(2),
        };
        let before = self.blocked.len();
        self.blocked.retain(|blocked| *blocked != end);
        if self.blocked.len() == before {
            self.blocked.push(end);
        }
    }

    fn delivery(&self, random: &mut impl Choose, world: &mut World) -> Option<Op> {
        let ready = world.ready();
        let open: Vec<End> = ready
            .into_iter()
            .filter(|end| !self.blocked.contains(end))
            .collect();
        if open.is_empty() && world.has_batches() {
            return Some(Op::Flush);
        }
        world.delivery(*random.pick(&open)?)
    }

    /// One of a vat's references, rather a new one.
    fn of_vat(&self, random: &mut impl Choose, world: &World, vat: usize) -> Option<Name> {
        let names: Vec<Name> = world
            .held
            .iter()
            .filter(|(_, held)| held.vat == vat)
            .map(|(name, _)| *name)
            .collect();
        self.one_of(random, &names)
    }

    fn one_of(&self, random: &mut impl Choose, names: &[Name]) -> Option<Name> {
        if random.below(6) < self.fresh {
            let newest = names.get(names.len().saturating_sub(5)..)?;
            return random.pick(newest).copied();
        }
        random.pick(names).copied()
    }

    fn with(&self, random: &mut impl Choose, world: &World, vat: usize, many: usize) -> With {
        let mut with = With::new();
        for _ in 0..many {
            let slot = random.below(SLOTS);
            if let Some(name) = self.of_vat(random, world, vat) {
                with.retain(|(taken, _)| *taken != slot);
                with.push((slot, name));
            }
        }
        with
    }

    fn call(&self, random: &mut impl Choose, world: &World, names: &[Name], id: u32) -> Option<Op> {
        let (on, with, ask) = self.message(random, world, names)?;
        Some(Op::Call { id, on, with, ask })
    }

    /// To what, with which references, and what is wanted of the answer.
    fn message(
        &self,
        random: &mut impl Choose,
        world: &World,
        names: &[Name],
    ) -> Option<(Name, With, Vec<Slot>)> {
        let on = self.one_of(random, names)?;
        let vat = world.held.get(&on)?.vat;
        let many = random.below(3);
        let with = self.with(random, world, vat, many);
        let ask: Vec<Slot> = match random.below(6) {
            0 => Vec::new(),
            1 => vec![random.below(SLOTS)],
            2 => vec![0, 1 + random.below(SLOTS - 1)],
            _ => vec![0],
        };
        Some((on, with, ask))
    }

    fn answer(&self, random: &mut impl Choose, world: &World, id: u32) -> Option<Op> {
        let waiting: Vec<u32> = world.waiting.keys().copied().collect();
        let call = *random.pick(&waiting)?;
        if random.one_in(12) && (self.cancels || !world.has_early(call)) {
            return Some(Op::Fail { call });
        }
        let vat = world.waiting.get(&call)?.vat;
        let mut with = self.with(random, world, vat, 1);
        // Most promises are for the first slot.
        if let Some((slot, _)) = with.first_mut()
            && random.below(4) > 0
        {
            *slot = 0;
        }
        if random.one_in(4) {
            let slot = 1 + random.below(SLOTS - 1);
            if let Some(name) = self.of_vat(random, world, vat) {
                with.retain(|(taken, _)| *taken != slot);
                with.push((slot, name));
            }
        }
        Some(Op::Answer { id, call, with })
    }

    fn forward(&self, random: &mut impl Choose, world: &World, id: u32) -> Option<Op> {
        let waiting: Vec<u32> = world.waiting.keys().copied().collect();
        let call = *random.pick(&waiting)?;
        let vat = world.waiting.get(&call)?.vat;
        let to = self.of_vat(random, world, vat)?;
        Some(Op::Forward { id, call, to })
    }

    fn resolve(&self, random: &mut impl Choose, world: &World) -> Option<Op> {
        let promises: Vec<u32> = world.promises.keys().copied().collect();
        let promise = *random.pick(&promises)?;
        let vat = world.promises.get(&promise)?.vat;
        let to = self.of_vat(random, world, vat);
        match to {
            Some(to) if random.below(10) > 0 => Some(Op::Resolve { promise, to }),
            _ => Some(Op::Break { promise }),
        }
    }

    fn release(&self, random: &mut impl Choose, world: &World, vat: usize) -> Option<Op> {
        let held = world.held.iter().filter(|(_, held)| held.vat == vat);
        let names: Vec<Name> = held.map(|(name, _)| *name).collect();
        if names.len() < MANY && random.one_in(2) {
            return None;
        }
        let name = *random.pick(&names)?;
        Some(Op::Release { name })
    }
}

fn cancel(random: &mut impl Choose, names: &[Name]) -> Option<Op> {
    let results: Vec<Name> = names
        .iter()
        .copied()
        .filter(|Name(_, part)| usize::from(*part) < SLOTS)
        .collect();
    let name = *random.pick(&results)?;
    Some(Op::Cancel { name })
}

/// A vat that waits for a connection gets it or not, one time in so many.
fn dialed(random: &mut impl Choose, world: &World, one_in: usize) -> Option<Op> {
    let waits = |vat: &usize| world.net.vats.get(*vat).is_some_and(Vat::is_dialing);
    let dialing: Vec<usize> = (0..world.net.vats.len()).filter(waits).collect();
    if dialing.is_empty() || !random.one_in(one_in) {
        return None;
    }
    Some(Op::Dialed {
        vat: *random.pick(&dialing)?,
        refuse: random.one_in(4),
    })
}

fn bootstrap(random: &mut impl Choose, world: &World, id: u32, vat: usize) -> Option<Op> {
    let peer = random.below(world.net.vats.len());
    Some(Op::Bootstrap {
        id,
        vat,
        peer,
        lane: random.below(2),
    })
}

/// A link breaks, or comes back, or a vat crashes.
fn trouble(random: &mut impl Choose, world: &World) -> Op {
    let vats = world.net.vats.len();
    let a = random.below(vats);
    let b = random.below(vats);
    match random.below(10) {
        0..5 => Op::Cut {
            a,
            b,
            lane: 0,
            lose: random.one_in(2),
        },
        5..9 => Op::Connect { a, b },
        _ => Op::Crash { vat: a },
    }
}

/// A run: what is done goes into `script` as it is done.
pub(super) fn run(
    random: &mut impl Choose,
    options: &Options,
    script: &mut Script,
) -> Checked<World> {
    script.setup = setup(random, options);
    let mut mood = Mood::new(random, options);
    script.setup.fetches = mood.extras.contains(&Extra::Fetches);
    let Script { setup, ops } = script;
    let mut world = World::new(setup);
    for op in mood.begin(random, setup) {
        record(&mut world, op, ops)?;
    }
    for _ in 0..mood.steps {
        if let Some(op) = mood.step(random, &mut world) {
            record(&mut world, op, ops)?;
        }
    }
    for _ in 0..20 * options.steps {
        match mood.wind_down(random, &mut world) {
            Some(op) => record(&mut world, op, ops)?,
            None => break,
        }
    }
    world.finish()?;
    Ok(world)
}

/// Operations that made no sense are not remembered.
fn record(world: &mut World, op: Op, ops: &mut Vec<Op>) -> Checked {
    ops.push(op);
    let Some(op) = ops.last() else { return Ok(()) };
    if !world.apply(op)? {
        ops.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Random;

    fn generated(seed: u64, options: &Options) -> (Script, u64) {
        let mut script = Script {
            setup: Setup::new(0, &[]),
            ops: Vec::new(),
        };
        let world = run(&mut Random::new(seed), options, &mut script).unwrap();
        let trace = world.trace.value();
        (script, trace)
    }

    #[test]
    fn a_seed_makes_the_same_script_each_time_and_others_make_others() {
        for handoff in [false, true] {
            let options = Options::default().with_handoff(handoff);
            let mut before = None;
            for seed in 0..20 {
                let first = generated(seed, &options);
                assert_eq!(generated(seed, &options), first, "seed {seed}");
                assert_ne!(Some(&first.0), before.as_ref(), "seed {seed}");
                before = Some(first.0);
            }
        }
    }
}
