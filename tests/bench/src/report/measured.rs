//! What came of the rounds: figures with their ranges, and what was counted of one call.

use std::collections::HashMap;

use crate::load::Cost;
use crate::measure::{Case, How, Run, Scratch, run};

/// All rounds of every case.
#[derive(Default)]
pub(super) struct Measured(HashMap<Case, Vec<Run>>);

/// A figure with its range over the rounds.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Figure {
    /// One that does not vary.
    pub(super) const fn exact(value: f64) -> Self {
        Self {
            median: value,
            min: value,
            max: value,
        }
    }

    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            median: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

impl Run {
    /// Calls for each second of processor time of all sides.
    pub(super) fn rate(&self) -> f64 {
        let cost = &self.outcome.cost;
        cost.calls as f64 * 1e9 / cost.all() as f64
    }

    /// Microseconds of all sides for each call.
    pub(super) fn each(&self) -> f64 {
        self.per_call(self.outcome.cost.all())
    }

    /// Microseconds of the client for each call.
    pub(super) fn client(&self) -> f64 {
        self.per_call(self.outcome.cost.client)
    }

    /// Microseconds of the server for each call.
    pub(super) fn server(&self) -> f64 {
        self.per_call(self.outcome.cost.server)
    }

    fn per_call(&self, nanoseconds: u64) -> f64 {
        nanoseconds as f64 / 1e3 / self.outcome.cost.calls as f64
    }
}

impl Measured {
    pub(super) fn add(&mut self, case: Case, run: Run) {
        self.0.entry(case).or_default().push(run);
    }

    pub(super) fn figure(&self, case: Case, of: impl Fn(&Run) -> f64) -> Option<Figure> {
        Some(Figure::of(self.0.get(&case)?.iter().map(of).collect()))
    }

    /// One thing in proportion to another, round by round.
    pub(super) fn ratio(
        &self,
        (one, of_one): (Case, fn(&Run) -> f64),
        (other, of_other): (Case, fn(&Run) -> f64),
    ) -> Option<Figure> {
        let rounds = self.0.get(&one)?.iter().zip(self.0.get(&other)?);
        let ratio = |(one, other)| of_one(one) / of_other(other);
        Some(Figure::of(rounds.map(ratio).collect()))
    }

    pub(super) fn rate(&self, case: Case) -> Option<Figure> {
        self.figure(case, Run::rate)
    }

    /// Microseconds of all sides for each call.
    pub(super) fn each(&self, case: Case) -> Option<Figure> {
        self.figure(case, Run::each)
    }

    /// Microseconds by the clock for each call.
    pub(super) fn clock(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| {
            let cost = &run.outcome.cost;
            cost.wall as f64 * case.outstanding as f64 / 1e3 / cost.calls as f64
        })
    }

    /// How much of the core's time the two processes got.
    pub(super) fn share(&self) -> f64 {
        // An introduction's clock stands still between introductions.
        let timed = || {
            self.0
                .iter()
                .filter(|(case, _)| !case.work.starts_with("introduce"))
        };
        let costs = || timed().flat_map(|(_, runs)| runs.iter().map(|run| &run.outcome.cost));
        let used: u64 = costs().map(Cost::all).sum();
        let wall: u64 = costs().map(|cost| cost.wall).sum();
        100.0 * used as f64 / wall.max(1) as f64
    }

    /// Microseconds of processor time per call: the client's, the server's.
    pub(super) fn cpu(&self, case: Case) -> Option<[Figure; 2]> {
        Some([
            self.figure(case, Run::client)?,
            self.figure(case, Run::server)?,
        ])
    }

    pub(super) fn bytes(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| run.outcome.bytes_each.unwrap_or(0) as f64)
    }
}

/// What one call costs in things that can be counted: client and server.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) instructions: [f64; 2],
    pub(super) allocations: [f64; 2],
    pub(super) syscalls: [f64; 2],
    pub(super) writes: [f64; 2],
}

/// The difference of two run lengths, so that start and end do not count.
pub(super) fn count(scratch: &Scratch, case: Case) -> Counts {
    let (short, long) = (4_096, 12_288);
    let each = |a: u64, b: u64| b.saturating_sub(a) as f64 / (long - short) as f64;
    let both = |how: fn(u64) -> How| {
        (
            run(scratch, case, how(short)),
            run(scratch, case, how(long)),
        )
    };
    let (a, b) = both(How::Calls);
    let allocations = [
        each(a.outcome.allocations, b.outcome.allocations),
        each(a.server_allocations, b.server_allocations),
    ];
    let (a, b) = both(How::Callgrind);
    let instructions = [0, 1].map(|side| each(a.counted[side], b.counted[side]));
    let (a, b) = both(How::Strace);
    Counts {
        instructions,
        allocations,
        syscalls: [0, 1].map(|side| each(a.counted[side], b.counted[side])),
        writes: [0, 1].map(|side| each(a.writes[side], b.writes[side])),
    }
}
