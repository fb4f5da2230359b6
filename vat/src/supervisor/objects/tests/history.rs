//! Random histories of a supervisor of objects, against the naive implementation of the rules.
//!
//! The naive one is told what a world does that follows the plans: constructors start, fail or panic,
//! stop methods answer, are silent or panic. What the real one does with real objects, and when, must
//! be the same.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::sample::{Plan, WorkerRef, starts};
use crate::Vat;
use crate::prelude::*;
use crate::supervisor::model::{history::specs, naive::Naive};
use crate::supervisor::{
    Action, ChildId, ChildSpec, Event, ExitReason, Incarnation, ObjectSupervisor, SupervisorSpec,
    Terminate,
};

/// What a stop method does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    /// There is none.
    AtOnce,
    Answers,
    Silent,
    Panics,
    Fails,
}

/// One step.
#[derive(Clone, Copy, Debug)]
enum Op {
    Add(usize),
    Plan(usize, Plan),
    Panic(usize),
    PanicTwice(usize),
    End(usize, &'static str),
    Fail(usize),
    Probe(usize),
    StartChild(usize),
    StopChild(usize),
    Remove(usize),
    Pass(u64),
    Stop,
    Kill,
}

fn op(number: u32) -> Op {
    let [kind, child, low, high] = number.to_le_bytes();
    let child = usize::from(child % 6);
    let amount = u64::from(u16::from_le_bytes([low, high]));
    match kind % 80 {
        0..14 => Op::Add(child),
        14..18 => Op::Plan(child, Plan::Fail),
        18..22 => Op::Plan(child, Plan::Panic),
        22..28 => Op::Plan(child, Plan::Start),
        28..37 => Op::Panic(child),
        37..40 => Op::PanicTwice(child),
        40..44 => Op::End(child, "normal"),
        44..47 => Op::End(child, "shutdown"),
        47..50 => Op::End(child, "broken"),
        50..52 => Op::Fail(child),
        52..58 => Op::Probe(child),
        58..62 => Op::StartChild(child),
        62..66 => Op::StopChild(child),
        66..69 => Op::Remove(child),
        69..76 => Op::Pass(amount % 700),
        76..78 => Op::Pass(amount % 20_000),
        78 => Op::Stop,
        _ => Op::Kill,
    }
}

struct Kid {
    spec: ChildSpec,
    plan: Rc<Cell<Plan>>,
    stopping: Stopping,
    /// Its number among those that were added, and its stable reference.
    added: Option<(usize, WorkerRef)>,
    /// Its present life, if its end is not on its way.
    life: Option<Incarnation>,
}

struct Pair {
    vat: Vat,
    real: ObjectSupervisor,
    naive: Naive,
    kids: Vec<Kid>,
    count: usize,
    now: Duration,
    /// What the naive one did.
    expected: Vec<Action>,
    ends: VecDeque<Event>,
    /// What monitors were told.
    deaths: Rc<RefCell<Vec<(String, u64)>>>,
    silent: Rc<RefCell<Vec<Resolver<()>>>>,
}

impl Pair {
    fn new(spec: SupervisorSpec, children: Vec<ChildSpec>, stopping: &[u8]) -> Self {
        let vat = Vat::new("history");
        let real = vat.turn(|turn| Ok(turn.supervise(spec.clone()))).unwrap();
        let deaths = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&deaths);
        real.on_death(move |_, death| {
            told.borrow_mut()
                .push((death.name.clone(), death.life.number()));
            Ok(())
        });
        let kinds = [
            Stopping::AtOnce,
            Stopping::Answers,
            Stopping::Silent,
            Stopping::Panics,
            Stopping::Fails,
        ];
        let kid = |(n, spec): (usize, ChildSpec)| Kid {
            spec,
            plan: Rc::default(),
            stopping: kinds[usize::from(stopping[n]) % kinds.len()],
            added: None,
            life: None,
        };
        let mut pair = Self {
            vat,
            real,
            naive: Naive::new(spec, &[]),
            kids: children.into_iter().enumerate().map(kid).collect(),
            count: 0,
            now: Duration::ZERO,
            expected: Vec::new(),
            ends: VecDeque::new(),
            deaths,
            silent: Rc::default(),
        };
        pair.feed(Event::Start);
        pair
    }

    fn kid_of(&mut self, child: ChildId) -> &mut Kid {
        let is = |kid: &&mut Kid| {
            kid.added
                .as_ref()
                .is_some_and(|(number, _)| ChildId::new(*number as u64) == child)
        };
        self.kids.iter_mut().find(is).unwrap()
    }

    /// Tells the naive one of an event and all that follows from it.
    fn feed(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front().or_else(|| self.ends.pop_front()) {
            for action in self.naive.step(self.now, 0.5, &event) {
                events.extend(self.react(&action));
                self.expected.push(action);
            }
        }
    }

    /// What the world does at once; what it does later becomes an end.
    fn react(&mut self, action: &Action) -> Option<Event> {
        match *action {
            Action::Start {
                child, incarnation, ..
            } => {
                let kid = self.kid_of(child);
                // The first life was made by `add`.
                let first = incarnation.number() == 1;
                let reason = match kid.plan.get() {
                    Plan::Fail if !first => "no such file".to_owned(),
                    Plan::Panic if !first => "cannot be made".to_owned(),
                    _ => {
                        kid.life = Some(incarnation);
                        return Some(Event::Started { child, incarnation });
                    }
                };
                Some(Event::StartFailed {
                    child,
                    incarnation,
                    reason,
                })
            }
            Action::Terminate { child, how, .. } => {
                let reason = match (how, self.kid_of(child).stopping) {
                    (Terminate::Kill, _) => ExitReason::Abnormal("killed".into()),
                    (Terminate::Ask, Stopping::AtOnce | Stopping::Answers) => ExitReason::Shutdown,
                    (Terminate::Ask, Stopping::Silent) => return None,
                    (Terminate::Ask, Stopping::Panics) => {
                        ExitReason::Abnormal("told to panic".into())
                    }
                    (Terminate::Ask, Stopping::Fails) => {
                        ExitReason::Abnormal("stopping it failed: told to fail".into())
                    }
                };
                self.end(child, reason);
                None
            }
            _ => None,
        }
    }

    /// The present life of this child ends, if there is one whose end is not on its way.
    fn end(&mut self, child: ChildId, reason: ExitReason) {
        if let Some(incarnation) = self.kid_of(child).life.take() {
            self.ends.push_back(Event::Exited {
                child,
                incarnation,
                reason,
            });
        }
    }

    fn add(&mut self, k: usize) {
        let Some(kid) = self.kids.get(k).filter(|kid| kid.added.is_none()) else {
            return;
        };
        let made = starts(&kid.spec.name, &Rc::default(), Rc::clone(&kid.plan));
        let (stopping, silent) = (kid.stopping, Rc::clone(&self.silent));
        let stop = move |turn: &Turn, worker: WorkerRef| match stopping {
            Stopping::Panics => worker.panic(),
            Stopping::Fails => worker.fail(),
            Stopping::Answers | Stopping::Silent | Stopping::AtOnce => {
                let (promise, resolver) = turn.promise::<()>();
                match stopping {
                    Stopping::Silent => silent.borrow_mut().push(resolver),
                    _ => resolver.resolve(Ok(())),
                }
                promise
            }
        };
        let (spec, real) = (kid.spec.clone(), &self.real);
        let added = self.vat.turn(|turn| match stopping {
            Stopping::AtOnce => real.add(turn, spec, made),
            _ => real.add_with_stop(turn, spec, made, stop),
        });
        let refused = kid.plan.get() != Plan::Start || self.naive.is_stopping();
        assert_eq!(added.is_err(), refused, "{added:?}");
        if let Ok(reference) = added {
            self.naive.add(&self.kids[k].spec);
            self.kids[k].added = Some((self.count, reference));
            self.count += 1;
            self.feed(Event::StartChild(ChildId::new(self.count as u64 - 1)));
        }
    }

    fn apply(&mut self, op: Op) {
        let added = |pair: &Self, k: usize| {
            let kid = pair.kids.get(k)?;
            let (number, reference) = kid.added.clone()?;
            Some((number, reference, kid.spec.name.clone()))
        };
        match op {
            Op::Add(k) => self.add(k),
            Op::Plan(k, plan) => {
                if let Some(kid) = self.kids.get(k) {
                    kid.plan.set(plan);
                }
            }
            Op::Panic(k) | Op::PanicTwice(k) | Op::End(k, _) | Op::Fail(k) | Op::Probe(k) => {
                if let Some((number, reference, _)) = added(self, k)
                    && self.naive.serves(number)
                {
                    self.call(op, number, &reference);
                }
            }
            Op::StartChild(k) | Op::StopChild(k) | Op::Remove(k) => {
                if let Some((number, _, name)) = added(self, k) {
                    self.control(op, k, number, &name);
                }
            }
            Op::Pass(ms) => self.pass(Duration::from_millis(ms)),
            Op::Stop => self.whole(Event::Stop, ObjectSupervisor::stop),
            Op::Kill => self.whole(Event::Kill, ObjectSupervisor::kill),
        }
        self.compare(op);
    }

    /// Calls a child that serves.
    fn call(&mut self, op: Op, number: usize, reference: &WorkerRef) {
        let child = ChildId::new(number as u64);
        let reason = match op {
            Op::Panic(_) => {
                reference.panic().detach();
                ExitReason::Abnormal("told to panic".into())
            }
            Op::PanicTwice(_) => {
                reference.panic().detach();
                reference.panic().detach();
                ExitReason::Abnormal("told to panic".into())
            }
            Op::End(_, reason) => {
                reference.quit(reason).detach();
                match reason {
                    "normal" => ExitReason::Normal,
                    "shutdown" => ExitReason::Shutdown,
                    other => ExitReason::Abnormal(other.into()),
                }
            }
            Op::Fail(_) => return reference.fail().detach(),
            _ => {
                let answer = reference.add(1);
                self.vat.run(10_000);
                answer.try_take().unwrap().unwrap();
                return;
            }
        };
        let life = self.kid_of(child).life.take().unwrap();
        self.feed(Event::Exited {
            child,
            incarnation: life,
            reason,
        });
    }

    fn control(&mut self, op: Op, k: usize, number: usize, name: &str) {
        let child = ChildId::new(number as u64);
        let real = &self.real;
        let known = self.vat.turn(|turn| match op {
            Op::StartChild(_) => real.start_child(turn, name),
            Op::StopChild(_) => real.stop_child(turn, name),
            _ => real.remove_child(turn, name),
        });
        match op {
            Op::StartChild(_) => self.feed(Event::StartChild(child)),
            Op::StopChild(_) => self.feed(Event::StopChild(child)),
            _ if self.naive.remove(number) => self.kids[k].added = None,
            _ => {}
        }
        if known.is_err() {
            self.kids[k].added = None; // a temporary child that had ended: it can be added anew
        }
    }

    fn whole(&mut self, event: Event, act: fn(&ObjectSupervisor, &Turn)) {
        self.vat
            .turn(|turn| {
                act(&self.real, turn);
                Ok(())
            })
            .unwrap();
        self.feed(event);
    }

    /// Time passes from one timer to the next.
    fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(due) = self.naive.next_timeout().filter(|due| *due <= end) {
            self.compare(Op::Pass(0));
            self.now = self.now.max(due);
            self.vat.handle_time(self.now);
            self.feed(Event::TimerFired);
        }
        self.vat.run(10_000);
        self.now = end;
        self.vat.handle_time(end);
    }

    #[track_caller]
    fn compare(&mut self, op: Op) {
        assert!(self.vat.run(10_000) < 10_000, "no rest after {op:?}");
        let done = self.real.0.trace.take();
        assert_eq!(done, std::mem::take(&mut self.expected), "after {op:?}");
        let machine = self.real.0.machine.borrow();
        assert_eq!(machine.next_timeout(), self.naive.next_timeout(), "{op:?}");
        drop(machine);
        let died = done.iter().filter_map(|action| match action {
            Action::Died {
                child, incarnation, ..
            } => Some((*child, incarnation.number())),
            _ => None,
        });
        let died: Vec<u64> = died.map(|(_, life)| life).collect();
        let told: Vec<u64> = self.deaths.take().iter().map(|(_, life)| *life).collect();
        assert_eq!(told, died, "each death is told once");
    }

    /// Kills what is left; nothing must remain.
    fn end_all(mut self) {
        self.apply(Op::Kill);
        assert!(
            self.real
                .children()
                .iter()
                .all(|child| { child.state == crate::supervisor::ChildState::Stopped })
        );
        self.kids.clear();
        // Stop methods that never answered keep what they were to end.
        self.silent.take();
        assert_eq!(self.vat.next_timer(), None, "a timer is left");
        drop(self.real);
        self.vat.run(10_000);
        assert_eq!(self.vat.objects(), 0, "an object is left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_histories_of_objects_agree_with_the_naive_implementation(
        (mut spec, children) in specs(),
        stopping in prop::collection::vec(any::<u8>(), 5),
        steps in prop::collection::vec(any::<u32>(), 0..60),
    ) {
        // Both have to choose the same delays.
        spec.backoff.jitter = 0.0;
        let mut pair = Pair::new(spec, children, &stopping);
        for k in 0..pair.kids.len() {
            pair.apply(Op::Add(k));
        }
        for step in steps {
            pair.apply(op(step));
        }
        pair.end_all();
    }
}
