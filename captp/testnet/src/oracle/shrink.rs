//! A failing run made small: operations are left out as long as it still fails.

use super::script::{Op, Script, Setup};
use super::{Failure, replay};

/// Most runs that shrinking may take.
const ATTEMPTS: usize = 20_000;

/// The smallest script found that still fails, and how it fails.
#[must_use]
pub fn shrink(script: &Script) -> (Script, Failure) {
    let mut state = Shrinking {
        best: script.clone(),
        failure: Failure::default(),
        attempts: ATTEMPTS,
    };
    state.accepts(script.clone());
    loop {
        let before = state.best.clone();
        state.leave_out_chunks();
        state.simplify();
        state.fewer_vats();
        if state.best == before || state.attempts == 0 {
            return (state.best, state.failure);
        }
    }
}

struct Shrinking {
    best: Script,
    failure: Failure,
    attempts: usize,
}

impl Shrinking {
    /// Whether a script still fails; then it is the best so far.
    fn accepts(&mut self, script: Script) -> bool {
        if self.attempts == 0 {
            return false;
        }
        self.attempts -= 1;
        let Err(failure) = replay(&script) else {
            return false;
        };
        if !self.failure.what.is_empty() && failure.class() != self.failure.class() {
            return false;
        }
        self.best = script;
        self.failure = failure;
        true
    }

    /// Leaves out stretches, the long ones first.
    fn leave_out_chunks(&mut self) {
        let mut size = self.best.ops.len().next_power_of_two();
        while size > 0 {
            // From the end: what comes later depends on what comes earlier.
            let mut end = self.best.ops.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut shorter = self.best.clone();
                shorter.ops.drain(start..end.min(shorter.ops.len()));
                self.accepts(shorter);
                end = start.min(self.best.ops.len());
            }
            size /= 2;
        }
    }

    /// Takes references out of messages, and makes links plain.
    fn simplify(&mut self) {
        let mut index = 0;
        while let Some(op) = self.best.ops.get(index) {
            for simpler in simpler(op) {
                let mut script = self.best.clone();
                if let Some(slot) = script.ops.get_mut(index) {
                    *slot = simpler;
                }
                if self.accepts(script) {
                    break;
                }
            }
            index += 1;
        }
        if self.best.setup.keys {
            let mut script = self.best.clone();
            script.setup.keys = false;
            self.accepts(script);
        }
        if self.best.setup.hello && !self.best.setup.keys {
            let mut script = self.best.clone();
            script.setup.hello = false;
            self.accepts(script);
        }
        for plainer in plainer(&self.best.setup) {
            let mut script = self.best.clone();
            script.setup = plainer;
            self.accepts(script);
        }
        for link in (0..self.best.setup.links.len()).rev() {
            let mut script = self.best.clone();
            script.setup.links.remove(link);
            self.accepts(script);
        }
    }

    /// The last vat may not be needed.
    fn fewer_vats(&mut self) {
        while self.best.setup.vats > 1 {
            let mut script = self.best.clone();
            script.setup.vats -= 1;
            let vats = script.setup.vats;
            script.setup.links.retain(|(a, b)| *a < vats && *b < vats);
            if !self.accepts(script) {
                return;
            }
        }
    }
}

/// The same with one thing less that is out of the ordinary.
fn plainer(setup: &Setup) -> Vec<Setup> {
    let mut found = Vec::new();
    if setup.descriptors {
        let descriptors = false;
        found.push(Setup {
            descriptors,
            ..setup.clone()
        });
    }
    if setup.room.is_some() {
        let room = None;
        found.push(Setup {
            room,
            ..setup.clone()
        });
    }
    if setup.gifts.is_some() {
        let gifts = None;
        found.push(Setup {
            gifts,
            ..setup.clone()
        });
    }
    if setup.scarce.is_some() {
        let scarce = None;
        found.push(Setup {
            scarce,
            ..setup.clone()
        });
    }
    if setup.fetches {
        let fetches = false;
        found.push(Setup {
            fetches,
            ..setup.clone()
        });
    }
    if setup.batches {
        let batches = false;
        found.push(Setup {
            batches,
            ..setup.clone()
        });
    }
    if setup.circles {
        let circles = false;
        found.push(Setup {
            circles,
            ..setup.clone()
        });
    }
    found
}

/// The same operation with less in it.
fn simpler(op: &Op) -> Vec<Op> {
    let mut found = Vec::new();
    match op {
        Op::Call { id, on, with, ask } => {
            for left_out in 0..with.len() {
                let mut with = with.clone();
                with.remove(left_out);
                let (id, on, ask) = (*id, *on, ask.clone());
                found.push(Op::Call { id, on, with, ask });
            }
            for left_out in 0..ask.len() {
                let mut ask = ask.clone();
                ask.remove(left_out);
                let (id, on, with) = (*id, *on, with.clone());
                found.push(Op::Call { id, on, with, ask });
            }
        }
        Op::Answer { id, call, with } => {
            for left_out in 0..with.len() {
                let mut with = with.clone();
                with.remove(left_out);
                let (id, call) = (*id, *call);
                found.push(Op::Answer { id, call, with });
            }
        }
        Op::Stream { id, on, with } => found.push(Op::Call {
            id: *id,
            on: *on,
            with: with.clone(),
            ask: Vec::new(),
        }),
        Op::Fetch { id, on, with, ask } => found.push(Op::Call {
            id: *id,
            on: *on,
            with: with.clone(),
            ask: ask.clone(),
        }),
        Op::File { id, vat, key } => found.push(Op::Object {
            id: *id,
            vat: *vat,
            key: *key,
        }),
        Op::Forward { id, call, .. } => found.push(Op::Answer {
            id: *id,
            call: *call,
            with: Vec::new(),
        }),
        Op::Cut {
            a,
            b,
            lane,
            lose: true,
        } => found.push(Op::Cut {
            a: *a,
            b: *b,
            lane: *lane,
            lose: false,
        }),
        Op::Cut { lose: false, .. }
        | Op::Object { .. }
        | Op::Promise { .. }
        | Op::Bootstrap { .. }
        | Op::Early { .. }
        | Op::Room { .. }
        | Op::Fail { .. }
        | Op::Resolve { .. }
        | Op::Break { .. }
        | Op::Clone { .. }
        | Op::Release { .. }
        | Op::Cancel { .. }
        | Op::When { .. }
        | Op::Deliver { .. }
        | Op::Connect { .. }
        | Op::Dialed { .. }
        | Op::Flush
        | Op::Crash { .. } => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use captp::testing::Fault;

    use super::*;
    use crate::oracle::script::{answered, param, result};
    use crate::oracle::{Options, run_seed};

    /// A run in which two vats disagree.
    fn failing() -> (Script, Failure) {
        let options = Options::default().with_fault(Fault::ReleaseDropped);
        let mut failed = (0..100).filter_map(|seed| run_seed(seed, &options).err());
        let long = failed.find(|failed| failed.0.ops.len() > 50);
        *long.expect("a long run that fails")
    }

    #[test]
    fn a_failing_script_becomes_small_and_fails_the_same_way() {
        let (script, failure) = failing();
        let (small, after) = shrink(&script);
        assert!(small.ops.len() <= 5, "{small}");
        assert!(
            small.setup.links.len() <= 1 && small.setup.vats <= 2,
            "{small}"
        );
        assert_eq!(replay(&small), Err(after.clone()));
        assert_eq!(after.class(), failure.class());
        // What is left is needed.
        for left_out in 0..small.ops.len() {
            let mut less = small.clone();
            less.ops.remove(left_out);
            let class = replay(&less).err().map(|failure| failure.class());
            assert_ne!(class, Some(after.class()), "{less}");
        }
    }

    /// A shorter script may fail in another way, which is not what was found.
    #[test]
    fn a_script_that_becomes_small_shows_the_same_fault() {
        for fault in [
            Fault::QueueSwapped,
            Fault::FinishMistaken,
            Fault::PinForgotten,
        ] {
            let options = Options::default().with_fault(fault);
            let mut failed = (0..400).filter_map(|seed| run_seed(seed, &options).err());
            let (script, failure) = *failed.next().expect("one that fails");
            assert_eq!(shrink(&script).1.class(), failure.class(), "{script}");
        }
    }

    /// A script, and the Rust in which it is written.
    macro_rules! written {
        ($setup:expr, [$($op:expr,)*]) => {
            (
                Script { setup: $setup, ops: vec![$($op),*] },
                vec![stringify!($setup), $(stringify!($op)),*],
            )
        };
    }

    fn without_space(text: &str) -> String {
        text.split_whitespace().collect()
    }

    #[test]
    fn a_script_is_printed_as_the_rust_that_makes_it() {
        let (script, parts) = written!(
            Setup::new(3, &[(0, 1), (1, 2)])
                .with_hello()
                .with_keys()
                .with_room(2)
                .with_fault(Fault::ReleaseDropped),
            [
                Op::Bootstrap {
                    id: 1,
                    vat: 0,
                    peer: 1,
                    lane: 0
                },
                Op::Promise { id: 2, vat: 0 },
                Op::Call {
                    id: 3,
                    on: result(1, 0),
                    with: vec![(0, result(2, 0))],
                    ask: vec![0, 3]
                },
                Op::Stream {
                    id: 4,
                    on: result(3, 0),
                    with: vec![]
                },
                Op::Deliver {
                    from: 0,
                    to: 1,
                    lane: 0
                },
                Op::Answer {
                    id: 5,
                    call: 3,
                    with: vec![(3, param(3, 0)), (0, result(1, 0))]
                },
                Op::Resolve {
                    promise: 2,
                    to: answered(3, 3)
                },
                Op::Cut {
                    a: 0,
                    b: 1,
                    lane: 0,
                    lose: true
                },
            ]
        );
        let printed = without_space(&script.to_string());
        let mut rest = &printed[..];
        for part in parts.into_iter().map(without_space) {
            let (_, after) = rest
                .split_once(&part)
                .unwrap_or_else(|| panic!("{part}: {rest}"));
            rest = after;
        }
        assert_eq!(rest, ",],);}");
        assert!(
            printed.starts_with("#[test]fnfound_by_a_seed(){holds(Setup"),
            "{printed}"
        );
    }
}
