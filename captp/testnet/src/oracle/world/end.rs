//! The end of a run: everything comes to rest, and nothing is left.

use captp::{Exception, NodeState, ObjectKey};

use super::{Call, Checked, Fate, Held, Waits, World};
use crate::CallSort;
use crate::oracle::script::{Name, Op};
use crate::oracle::shadow::State;

impl World {
    /// Lets everything come to its end, and looks at what is left.
    pub(in crate::oracle) fn finish(&mut self) -> Checked {
        self.net.network.set_batches(false);
        self.settle()?;
        self.want_all();
        self.settle()?;
        self.give_up();
        self.check_fates()?;
        self.check_references()?;
        self.release_all()?;
        // What waited for its own answer comes when nobody wants it any more.
        while self.setup.circles && !self.waiting.is_empty() {
            self.settle()?;
            self.release_all()?;
        }
        // A circle through several vats holds itself.
        if !self.setup.circles && !self.knotted {
            self.net.check_drained()?;
        }
        self.close_all()
    }

    fn release_all(&mut self) -> Checked {
        for name in self.held.keys().copied().collect::<Vec<_>>() {
            self.release(name);
        }
        self.quiet()
    }

    /// Jobs that wait for what nobody will be told wait no longer.
    fn give_up(&mut self) {
        let open: Vec<u32> = self.jobs.keys().copied().collect();
        for number in open {
            let Some(job) = self.jobs.get(&number) else {
                continue;
            };
            let (vat, node) = (job.vat, job.node);
            let vague = match job.what {
                Waits::Settled => self.is_vague(job.shadow),
                Waits::Room => self.streams_in_circles(vat),
            };
            if job.done || self.life(vat) != job.life || !vague {
                continue;
            }
            if let Some(job) = self.jobs.get_mut(&number) {
                job.given_up = true;
            }
            if let Some(vat) = self.vat(vat) {
                vat.release(node);
            }
        }
    }

    /// Whether streaming calls of this vat wait for their own answers: their windows stay full.
    fn streams_in_circles(&self, vat: usize) -> bool {
        let here = |call: &&Call| (call.vat, call.life) == (vat, self.life(vat));
        let mut calls = self.calls.values().filter(here);
        self.setup.circles && calls.any(|call| call.sort == CallSort::Streaming && !call.replied)
    }

    /// Somebody waits for every reference: gifts are accepted then.
    fn want_all(&mut self) {
        let names: Vec<Name> = self.held.keys().copied().collect();
        for (id, name) in (0..u32::MAX).rev().zip(names) {
            if self.setup.keys && self.used.insert(id) {
                let _: Option<()> = self.wait(id, name, Waits::Settled);
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
                if self.has_early(call) {
                    self.answer_at_last(call);
                    self.events()?;
                } else {
                    self.apply(&Op::Fail { call })?;
                }
            }
        }
    }

    /// What was said in advance of an answer has to be true.
    fn answer_at_last(&mut self, call: u32) {
        let id = (0..u32::MAX).rev().find(|id| self.used.insert(*id));
        let _: Option<()> = id.and_then(|id| self.answer(id, call, &Vec::new()));
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
            // It may wait for its own answer.
            if !call.replied && !self.setup.circles {
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
            if !job.done && !job.given_up && self.life(job.vat) == job.life {
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
                (NodeState::Unresolved, _) => self.is_vague(held.shadow),
                // Something settled that breaks later has no message in the protocol.
                (NodeState::Far(_) | NodeState::Broken(_), _) => !self.strict(),
            };
            self.check_file(held.vat, held.node, held.shadow)?;
            let settled = matches!(state, NodeState::Far(_) | NodeState::Near(_));
            let lacks = settled && vat.engine.fd(held.node).is_none();
            if self.strict() && self.setup.descriptors && lacks && self.due_file(shadow) {
                return Err(format!(
                    "{name} in vat {} came without the descriptor of {shadow:?}",
                    held.vat
                ));
            }
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

    /// A call that waits for its own answer does so until its vat breaks the circle.
    fn break_circles(&mut self) {
        for (vat, node) in std::mem::take(&mut self.asked) {
            if let Some(vat) = self.net.vats.get_mut(vat) {
                let reason = Exception::failed("it is over");
                let _: Result<(), _> = vat.engine.resolve(node, Err(reason));
                vat.collect();
            }
        }
    }

    /// All connections end: nothing at all may be left.
    fn close_all(&mut self) -> Checked {
        self.lost = true;
        for link in self.net.network.links() {
            self.net.network.cut(&mut self.net.vats, link, false);
        }
        self.quiet()?;
        self.break_circles();
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
