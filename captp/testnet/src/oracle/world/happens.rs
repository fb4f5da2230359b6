//! What happens at the vats, and whether it may.

use captp::{CloseReason, Exception, NodeState, ObjectKey};

use super::{Call, Checked, Fate, Waiting, Waits, World};
use crate::oracle::script::{answered, param, result};
use crate::oracle::shadow::State;
use crate::vat::Results;
use crate::{Arrived, CallSort, Event};

impl World {
    pub(super) fn events(&mut self) -> Checked {
        for vat in 0..self.setup.vats {
            while let Some(event) = self.net.next_event(vat) {
                self.event(vat, event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, vat: usize, event: Event) -> Checked {
        let at = vat as u64;
        self.note(|| format!("    vat {vat}: {}", brief(&event)));
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
                let mut waiting = self.waiting.values().filter(|waiting| waiting.vat == vat);
                let call = waiting.find(|waiting| waiting.arrived.key() == Some((conn, serial)));
                let call = call.and_then(|waiting| self.calls.get(&waiting.call));
                // Nobody holds what it was made for.
                let fetch = call.is_some_and(|call| call.sort == CallSort::References);
                if self.strict() && !fetch {
                    return Err(format!(
                        "vat {vat}: call {serial} of {conn} was cancelled by nobody"
                    ));
                }
                Ok(())
            }
            Event::Dropped(object) => {
                self.trace.note(&[6, at, object]);
                let life = self.life(vat);
                let engine = self.net.vats.get(vat).map(|vat| &vat.engine);
                let gone = engine.is_some_and(|engine| !engine.has_object(ObjectKey(object)));
                if let Some(files) = self.files.get_mut(&(vat, life, object)).filter(|_| gone) {
                    files.now = None;
                }
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
                self.check_file(vat, node, shadow)?;
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
        let fetch = call.sort == CallSort::References;
        let results = match outcome {
            // It has left the vat.
            Err(reason) if fetch && reason.reason() == "only references were asked for" => {
                return Ok(());
            }
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
            self.check_file(vat, node, shadow)?;
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
        if job.given_up {
            return Ok(());
        }
        let (node, what) = (job.node, job.what);
        let Some(there) = self.vat(vat) else {
            return Ok(());
        };
        let early = match (what, there.engine.state(node)) {
            (_, NodeState::Broken(_)) => false,
            (Waits::Settled, state) => state == NodeState::Unresolved,
            (Waits::Room, _) => !there.engine.has_stream_room(node),
        };
        there.release(node);
        if early {
            return Err(format!("vat {vat}: job {number} runs too early: {what:?}"));
        }
        Ok(())
    }

    /// A vat without unanswered streaming calls has none in any window.
    pub(super) fn check_streams(&self, vat: usize) -> Checked {
        let Some(there) = self.net.vats.get(vat) else {
            return Ok(());
        };
        let here = |call: &&Call| (call.vat, call.life) == (vat, self.life(vat));
        let streams = |call: &&Call| call.sort == CallSort::Streaming && !call.replied;
        let open = self.calls.values().filter(here).any(|call| streams(&call));
        let held = self.held.values().filter(|held| held.vat == vat);
        for held in held {
            let bytes = there.engine.stream_bytes(held.node);
            if bytes > 0 && !open {
                return Err(format!(
                    "vat {vat}: {bytes} bytes of streaming calls, and all are answered"
                ));
            }
        }
        Ok(())
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Call { object, arrived } => format!("call {} to object {object}", arrived.number()),
        Event::Returned { number, result } => format!("answer to {number}: {result:?}"),
        other => format!("{other:?}"),
    }
}
