//! A run: vats, what they hold, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet};

use captp::{Limits, NodeId};

use super::script::{Name, Op, Setup};
use super::shadow::{Fork, Place, Shadow, Shadows, Stream};
use super::trace::Trace;
use crate::content::SLOTS;
use crate::{Arrived, CallSort, Net, Vat};

mod act;
mod end;
mod happens;
mod holding;
mod links;

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
    sort: CallSort,
    vat: usize,
    life: u32,
    given: Given,
    results: [Shadow; SLOTS],
    fate: Fate,
    /// How often it was passed on.
    hops: u32,
    replied: bool,
    cancelled: bool,
}

#[derive(Debug)]
struct Job {
    vat: usize,
    life: u32,
    node: NodeId,
    shadow: Shadow,
    what: Waits,
    done: bool,
    /// It waits for what nobody will be told.
    given_up: bool,
}

/// What a job waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    /// That the reference is settled.
    Settled,
    /// That its window has room.
    Room,
}

/// The descriptors of an object.
#[derive(Default, Debug)]
struct Files {
    /// The one that it has, if all references to it must have come with it.
    now: Option<u64>,
    /// All that it ever had.
    ever: BTreeSet<u64>,
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
    /// Of objects, by vat, life and key.
    files: BTreeMap<(usize, u32, u64), Files>,
    /// References in answers that never come: nobody is told what they are.
    fetched: BTreeSet<Shadow>,
    /// An answer that never comes may hold a reference in another one: if that is mutual, both are
    /// kept as long as the connection is.
    knotted: bool,
    /// Of runs with circles: promises for references in answers. Not counted.
    asked: Vec<(usize, NodeId)>,
    /// The vat that did something last.
    touched: usize,
    /// A connection was lost or a call cancelled: calls may be missing.
    lost: bool,
    cancelled: bool,
    pub(super) sent: usize,
    pub(super) delivered: usize,
    /// What happened, in words, if somebody wants to know.
    pub(super) story: Option<String>,
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
        net.set_limits(limits(setup));
        net.set_descriptors(setup.descriptors);
        for (a, b) in &setup.links {
            net.link(*a, *b, setup.hello);
        }
        net.network.set_batches(setup.batches);
        // The hellos have left before the first operation, also if that is a crash.
        net.network.pump(&mut net.vats);
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
            files: BTreeMap::new(),
            fetched: BTreeSet::new(),
            knotted: false,
            asked: Vec::new(),
            touched: 0,
            lost: false,
            cancelled: false,
            sent: 0,
            delivered: 0,
            story: None,
        }
    }

    /// Whether nothing may fail that nobody made fail.
    const fn strict(&self) -> bool {
        let plenty = self.setup.scarce.is_none() && !self.setup.circles;
        !self.lost && !self.cancelled && plenty
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
            Op::File { id, vat, key } => self.file(*id, *vat, *key),
            Op::Promise { id, vat } => self.promise(*id, *vat),
            Op::Bootstrap {
                id,
                vat,
                peer,
                lane,
            } => self.bootstrap(*id, *vat, *peer, *lane),
            Op::Call { id, on, with, ask } => self.call(CallSort::Plain, *id, *on, with, ask),
            Op::Stream { id, on, with } => self.call(CallSort::Streaming, *id, *on, with, &[]),
            Op::Fetch { id, on, with, ask } => self.call(CallSort::References, *id, *on, with, ask),
            Op::Early { call, slot, to } => self.early(*call, *slot, *to),
            Op::Answer { id, call, with } => self.answer(*id, *call, with),
            Op::Fail { call } => self.fail(*call),
            Op::Forward { id, call, to } => self.forward(*id, *call, *to),
            Op::Resolve { promise, to } => self.resolve(*promise, *to),
            Op::Break { promise } => self.break_promise(*promise),
            Op::Clone { id, of } => self.clone_held(*id, *of),
            Op::Release { name } => self.release(*name),
            Op::Cancel { name } => self.cancel(*name),
            Op::When { id, on } => self.wait(*id, *on, Waits::Settled),
            Op::Room { id, on } => self.wait(*id, *on, Waits::Room),
            Op::Deliver { from, to, lane } => {
                let Some(end) = self.end(*from, *to, *lane) else {
                    return Ok(false);
                };
                return Ok(self.deliver(end)?.is_some());
            }
            Op::Cut { a, b, lane, lose } => self.cut(*a, *b, *lane, *lose),
            Op::Connect { a, b } => self.connect(*a, *b),
            Op::Crash { vat } => self.crash(*vat),
            Op::Flush => {
                self.net.network.flush(&mut self.net.vats);
                return Ok(self.setup.batches);
            }
            Op::Dialed { vat, refuse } => self.net.dialed(*vat, *refuse),
        };
        if done.is_some() {
            self.net.check_vat(self.touched)?;
            self.check_streams(self.touched)?;
        }
        Ok(done.is_some())
    }

    /// One line of the story.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            *story += &line();
            story.push('\n');
        }
    }

    fn vat(&mut self, vat: usize) -> Option<&mut Vat> {
        self.touched = vat;
        self.net.vats.get_mut(vat)
    }

    fn life(&self, vat: usize) -> u32 {
        self.lives.get(vat).copied().unwrap_or_default()
    }
}

/// What a peer may use.
fn limits(setup: &Setup) -> Limits {
    let mut limits = Limits::default();
    if let Some(much) = setup.scarce {
        limits = limits
            .with_questions(6 * much)
            .with_waiting_calls(6 * much)
            .with_exports(4 * much)
            .with_embargoes(much)
            .with_gifts(much)
            .with_provisions(much)
            .with_accepts(much)
            .with_pipeline_depth(2 * much)
            .with_pipelined_calls(4 * much);
        if !setup.fetches {
            limits = limits.with_answers(6 * much);
        }
    }
    if let Some(calls) = setup.room {
        limits = limits.with_answers_soft(calls).with_questions_soft(calls);
    }
    if let Some(gifts) = setup.gifts {
        limits = limits.with_gifts(gifts);
    }
    if setup.circles {
        // What goes round ends soon.
        let questions = limits.questions.min(60);
        limits = limits.with_questions(questions);
    }
    limits
}

/// What an operation names.
const fn new_id(op: &Op) -> Option<u32> {
    match op {
        Op::Object { id, .. }
        | Op::File { id, .. }
        | Op::Stream { id, .. }
        | Op::Fetch { id, .. }
        | Op::Room { id, .. }
        | Op::Promise { id, .. }
        | Op::Bootstrap { id, .. }
        | Op::Call { id, .. }
        | Op::Answer { id, .. }
        | Op::Forward { id, .. }
        | Op::Clone { id, .. }
        | Op::When { id, .. } => Some(*id),
        Op::Early { .. }
        | Op::Fail { .. }
        | Op::Resolve { .. }
        | Op::Break { .. }
        | Op::Release { .. }
        | Op::Cancel { .. }
        | Op::Deliver { .. }
        | Op::Cut { .. }
        | Op::Connect { .. }
        | Op::Dialed { .. }
        | Op::Flush
        | Op::Crash { .. } => None,
    }
}
