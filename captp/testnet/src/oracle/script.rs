//! What is done in a run, as a list that can be shortened: every operation names what it works on,
//! and one whose names do not exist is skipped.

use std::fmt;

use captp::testing::Fault;

use crate::content::Slot;

/// A reference held by a vat: the operation by which it came there, and which of its references.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair of numbers")]
pub struct Name(pub u32, pub u8);

/// Where the parts of a [`Name`] begin.
const PARAM: u8 = 8;
const ANSWERED: u8 = 16;
const EARLY: u8 = 24;

/// The reference that an operation made.
#[must_use]
pub const fn made(op: u32) -> Name {
    Name(op, 0)
}

/// The promise for a reference in the answer to a call.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a slot is below four")]
pub const fn result(call: u32, slot: Slot) -> Name {
    Name(call, slot as u8)
}

/// A parameter of a call (or of one that was forwarded), at its receiver.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a slot is below four")]
pub const fn param(call: u32, slot: Slot) -> Name {
    Name(call, PARAM + slot as u8)
}

/// A reference in the answer to a call, as the caller took it out of the answer.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a slot is below four")]
pub const fn answered(call: u32, slot: Slot) -> Name {
    Name(call, ANSWERED + slot as u8)
}

/// What a reference in a coming answer was said to be in advance, at the callee. It is held until the
/// call is answered.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a slot is below four")]
pub const fn early(call: u32, slot: Slot) -> Name {
    Name(call, EARLY + slot as u8)
}

impl Name {
    /// Whether this is an [`early`] one.
    pub(super) const fn is_early(self) -> bool {
        self.1 >= EARLY
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(op, part) = self;
        match part {
            EARLY.. => write!(f, "early({op}, {})", part - EARLY),
            ANSWERED.. => write!(f, "answered({op}, {})", part - ANSWERED),
            PARAM.. => write!(f, "param({op}, {})", part - PARAM),
            _ => write!(f, "result({op}, {part})"),
        }
    }
}

/// References to be put into a message, by slot.
pub type With = Vec<(Slot, Name)>;

/// One operation. `id` names what it makes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "scripts are built of them")]
#[expect(missing_docs, reason = "the fields are named for what they are")]
pub enum Op {
    /// A vat refers to an object of its own.
    Object { id: u32, vat: usize, key: u64 },
    /// The same, with a file descriptor of its own, if nobody refers to the object yet.
    File { id: u32, vat: usize, key: u64 },
    /// A vat makes a promise.
    Promise { id: u32, vat: usize },
    /// A vat asks a neighbour for its bootstrap reference.
    Bootstrap {
        id: u32,
        vat: usize,
        peer: usize,
        lane: usize,
    },
    /// A call, with promises for some references in its answer.
    Call {
        id: u32,
        on: Name,
        with: With,
        ask: Vec<Slot>,
    },
    /// A call that is one of a stream.
    Stream { id: u32, on: Name, with: With },
    /// A call that is made for the references in its answer only.
    Fetch {
        id: u32,
        on: Name,
        with: With,
        ask: Vec<Slot>,
    },
    /// A reference in the answer to a call that has arrived is said to be this, in advance.
    Early { call: u32, slot: Slot, to: Name },
    /// A call that has arrived is answered. `id` is what the answer says.
    Answer { id: u32, call: u32, with: With },
    /// A call that has arrived is answered with an exception.
    Fail { call: u32 },
    /// A call that has arrived is passed on.
    Forward { id: u32, call: u32, to: Name },
    /// A promise becomes another reference.
    Resolve { promise: u32, to: Name },
    /// A promise breaks.
    Break { promise: u32 },
    /// One more holder of a reference in the same vat.
    Clone { id: u32, of: Name },
    /// A reference is given back.
    Release { name: Name },
    /// The call whose answer this promise stands for is cancelled.
    Cancel { name: Name },
    /// A job that waits for a reference.
    When { id: u32, on: Name },
    /// A job that waits for room for streaming calls.
    Room { id: u32, on: Name },
    /// The next thing between two neighbours is delivered. Lanes count their links that still
    /// exist.
    Deliver { from: usize, to: usize, lane: usize },
    /// A link between two neighbours breaks.
    Cut {
        a: usize,
        b: usize,
        lane: usize,
        lose: bool,
    },
    /// Two vats connect.
    Connect { a: usize, b: usize },
    /// A vat is gone and comes again without memory.
    Crash { vat: usize },
    /// Everything that was said leaves; of use in runs with batches only.
    Flush,
    /// A vat gets the connection that it asked for, or not.
    Dialed { vat: usize, refuse: bool },
}

/// Before the first operation.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "scripts state it")]
pub struct Setup {
    /// How many vats.
    pub vats: usize,
    /// Which are connected.
    pub links: Vec<(usize, usize)>,
    /// Whether connections begin with a hello.
    pub hello: bool,
    /// Whether vats have keys, and hand references over to each other.
    pub keys: bool,
    /// Whether links carry file descriptors.
    pub descriptors: bool,
    /// How many calls may be under way on a connection, of the peer and to it; the defaults of the
    /// engine if `None`.
    pub room: Option<usize>,
    /// How many gifts may be open at a peer; the default of the engine if `None`.
    pub gifts: Option<usize>,
    /// Of everything that may run out without the end of a connection, this little; what fails for
    /// want of it is nobody's fault then.
    pub scarce: Option<usize>,
    /// Whether promises may depend on themselves.
    pub circles: bool,
    /// Whether what is said waits for a [`Flush`](Op::Flush).
    pub batches: bool,
    /// Whether there may be calls for the references in their answers only. Who makes them does not
    /// know how many the callee has, so that callees have room for many.
    pub fetches: bool,
    /// A deliberate mistake of all engines.
    pub fault: Option<Fault>,
}

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct Script {
    /// What there is.
    pub setup: Setup,
    /// What happens.
    pub ops: Vec<Op>,
}

impl Setup {
    /// Vats and links, with plain connections.
    #[must_use]
    pub fn new(vats: usize, links: &[(usize, usize)]) -> Self {
        Self {
            vats,
            links: links.to_vec(),
            hello: false,
            keys: false,
            descriptors: false,
            room: None,
            gifts: None,
            scarce: None,
            circles: false,
            batches: false,
            fetches: false,
            fault: None,
        }
    }

    /// With hellos.
    #[must_use]
    pub const fn with_hello(mut self) -> Self {
        self.hello = true;
        self
    }

    /// With keys, which needs hellos.
    #[must_use]
    pub const fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// With room for few calls.
    #[must_use]
    pub const fn with_room(mut self, calls: usize) -> Self {
        self.room = Some(calls);
        self
    }

    /// With links that carry file descriptors.
    #[must_use]
    pub const fn with_descriptors(mut self) -> Self {
        self.descriptors = true;
        self
    }

    /// With room for few gifts.
    #[must_use]
    pub const fn with_gifts(mut self, gifts: usize) -> Self {
        self.gifts = Some(gifts);
        self
    }

    /// With little of everything.
    #[must_use]
    pub const fn with_scarce(mut self, much: usize) -> Self {
        self.scarce = Some(much);
        self
    }

    /// With promises that depend on themselves.
    #[must_use]
    pub const fn with_circles(mut self) -> Self {
        self.circles = true;
        self
    }

    /// What is said waits for a [`Flush`](Op::Flush).
    #[must_use]
    pub const fn with_batches(mut self) -> Self {
        self.batches = true;
        self
    }

    /// With calls for the references in their answers only.
    #[must_use]
    pub const fn with_fetches(mut self) -> Self {
        self.fetches = true;
        self
    }

    /// With faulty engines.
    #[must_use]
    pub const fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

impl Setup {
    /// What is not in [`new`](Self::new), as Rust.
    fn fmt_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is, with) in [
            (self.hello, ".with_hello()"),
            (self.keys, ".with_keys()"),
            (self.descriptors, ".with_descriptors()"),
            (self.circles, ".with_circles()"),
            (self.batches, ".with_batches()"),
            (self.fetches, ".with_fetches()"),
        ] {
            if is {
                f.write_str(with)?;
            }
        }
        for (number, with) in [
            (self.room, "with_room"),
            (self.gifts, "with_gifts"),
            (self.scarce, "with_scarce"),
        ] {
            if let Some(number) = number {
                write!(f, ".{with}({number})")?;
            }
        }
        match self.fault {
            Some(fault) => write!(f, ".with_fault(Fault::{fault:?})"),
            None => Ok(()),
        }
    }
}

struct Slots<'a>(&'a With);

impl fmt::Display for Slots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vec![")?;
        for (index, (slot, name)) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}({slot}, {name})")?;
        }
        f.write_str("]")
    }
}

/// As Rust, to be pasted between the brackets of [`holds`](super::holds).
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { id, on, with, ask } => {
                let with = Slots(with);
                write!(
                    f,
                    "Op::Call {{ id: {id}, on: {on}, with: {with}, ask: vec!{ask:?} }}"
                )
            }
            Self::Stream { id, on, with } => {
                let with = Slots(with);
                write!(f, "Op::Stream {{ id: {id}, on: {on}, with: {with} }}")
            }
            Self::Fetch { id, on, with, ask } => {
                let with = Slots(with);
                write!(
                    f,
                    "Op::Fetch {{ id: {id}, on: {on}, with: {with}, ask: vec!{ask:?} }}"
                )
            }
            Self::Early { call, slot, to } => {
                write!(f, "Op::Early {{ call: {call}, slot: {slot}, to: {to} }}")
            }
            Self::Answer { id, call, with } => {
                let with = Slots(with);
                write!(f, "Op::Answer {{ id: {id}, call: {call}, with: {with} }}")
            }
            Self::Forward { id, call, to } => {
                write!(f, "Op::Forward {{ id: {id}, call: {call}, to: {to} }}")
            }
            Self::Resolve { promise, to } => {
                write!(f, "Op::Resolve {{ promise: {promise}, to: {to} }}")
            }
            Self::Clone { id, of } => write!(f, "Op::Clone {{ id: {id}, of: {of} }}"),
            Self::Release { name } => write!(f, "Op::Release {{ name: {name} }}"),
            Self::Cancel { name } => write!(f, "Op::Cancel {{ name: {name} }}"),
            Self::When { id, on } => write!(f, "Op::When {{ id: {id}, on: {on} }}"),
            Self::Room { id, on } => write!(f, "Op::Room {{ id: {id}, on: {on} }}"),
            Self::Object { .. }
            | Self::File { .. }
            | Self::Promise { .. }
            | Self::Bootstrap { .. }
            | Self::Fail { .. }
            | Self::Break { .. }
            | Self::Deliver { .. }
            | Self::Cut { .. }
            | Self::Connect { .. }
            | Self::Dialed { .. }
            | Self::Flush
            | Self::Crash { .. } => write!(f, "Op::{self:?}"),
        }
    }
}

/// As a unit test in Rust.
impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { vats, links, .. } = &self.setup;
        writeln!(f, "#[test]\nfn found_by_a_seed() {{")?;
        write!(f, "    holds(\n        Setup::new({vats}, &{links:?})")?;
        self.setup.fmt_rest(f)?;
        writeln!(f, ",\n        &[")?;
        for op in &self.ops {
            writeln!(f, "            {op},")?;
        }
        writeln!(f, "        ],\n    );\n}}")
    }
}
