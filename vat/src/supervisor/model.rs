//! The state machine against a second, naive implementation, and the rules one by one.
//!
//! The naive one keeps no states: it writes down every life of every child and every restart, and
//! answers each question by reading all of it again.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Action, Backoff, ChildId, ChildSpec, Event, ExitReason, GaveUp, Incarnation, Intensity,
    Outcome, RestartKind, Shutdown, Strategy as Restarts, Supervision, SupervisorSpec, Terminate,
};

/// One life of a child, as far as it is known.
struct Life {
    began: Duration,
    why: Why,
    ready: Option<Duration>,
    asked: Option<Duration>,
    killed: bool,
    too_slow: bool,
    over: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Why {
    Initial,
    Asked,
    Restart,
}

/// What a child's spacing of restarts depends on.
#[derive(PartialEq)]
enum Mark {
    Restart,
    Reset,
}

struct Kid {
    spec: ChildSpec,
    lives: Vec<Life>,
    marks: Vec<Mark>,
    due: Option<Duration>,
    dropped: bool,
}

/// Several that are restarted together.
struct Band {
    from: usize,
    /// Still to be started.
    wanted: Vec<usize>,
    due: Duration,
    /// All of them were gone at the same time.
    down: bool,
    last: Option<usize>,
}

struct Naive {
    spec: SupervisorSpec,
    kids: Vec<Kid>,
    band: Option<Band>,
    restarts: Vec<Duration>,
    begun: bool,
    first_up: Option<usize>,
    stopping: Option<Outcome>,
    killing: bool,
    finished: bool,
    out: Vec<Action>,
}

impl Naive {
    fn new(spec: SupervisorSpec, children: &[ChildSpec]) -> Self {
        let kid = |spec: &ChildSpec| Kid {
            spec: spec.clone(),
            lives: Vec::new(),
            marks: Vec::new(),
            due: None,
            dropped: false,
        };
        Self {
            spec,
            kids: children.iter().map(kid).collect(),
            band: None,
            restarts: Vec::new(),
            begun: false,
            first_up: None,
            stopping: None,
            killing: false,
            finished: false,
            out: Vec::new(),
        }
    }

    fn step(&mut self, now: Duration, roll: f64, event: &Event) -> Vec<Action> {
        match event {
            Event::Start => {
                if !self.begun && self.stopping.is_none() {
                    self.begun = true;
                    self.next_initial(now);
                }
            }
            Event::Started { child, incarnation } => {
                if let Some(k) = self.current(*child, *incarnation) {
                    let life = self.kids[k].lives.last_mut().unwrap();
                    if life.ready.is_none() && life.asked.is_none() && !life.killed {
                        life.ready = Some(now);
                        self.go_on(k, now);
                    }
                }
            }
            Event::StartFailed {
                child,
                incarnation,
                reason,
            } => {
                self.gone(
                    *child,
                    *incarnation,
                    ExitReason::Abnormal(reason.clone()),
                    now,
                    roll,
                );
            }
            Event::Exited {
                child,
                incarnation,
                reason,
            } => {
                self.gone(*child, *incarnation, reason.clone(), now, roll);
            }
            Event::TimerFired => {
                (0..self.kids.len()).for_each(|k| self.timer(k, now));
                self.band_on(now);
            }
            Event::StartChild(child) => self.start_child(index(*child), now),
            Event::StopChild(child) => self.stop_child(index(*child), now),
            Event::Stop => {
                if self.stopping.is_none() {
                    self.stop(Outcome::Stopped, now);
                }
            }
            Event::Kill => {
                if !self.killing && !self.finished {
                    self.killing = true;
                    self.stopping.get_or_insert(Outcome::Stopped);
                    self.band = None;
                    self.kids.iter_mut().for_each(|kid| kid.due = None);
                    (0..self.kids.len()).rev().for_each(|k| self.kill(k));
                    self.stop_on(now);
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    fn alive(&self, k: usize) -> bool {
        self.kids[k].lives.last().is_some_and(|life| !life.over)
    }

    fn current(&self, child: ChildId, incarnation: Incarnation) -> Option<usize> {
        let k = index(child);
        let count = self.kids.get(k)?.lives.len() as u64;
        (count == incarnation.number() && self.alive(k)).then_some(k)
    }

    fn gone(
        &mut self,
        child: ChildId,
        incarnation: Incarnation,
        reason: ExitReason,
        now: Duration,
        roll: f64,
    ) {
        let Some(k) = self.current(child, incarnation) else {
            return;
        };
        let limit = self.kids[k].spec.start_within;
        let life = self.kids[k].lives.last_mut().unwrap();
        life.over = true;
        let reason = if life.too_slow {
            ExitReason::Abnormal(format!("not ready within {:?}", limit.unwrap()))
        } else {
            reason
        };
        let (ready, why) = (life.ready, life.why);
        let asked = !life.too_slow && (life.asked.is_some() || life.killed);
        self.out.push(match ready {
            Some(since) => {
                let (reason, ran) = (reason.clone(), now - since);
                Action::Died {
                    child,
                    incarnation,
                    reason,
                    asked,
                    ran,
                }
            }
            None => Action::NotStarted {
                child,
                incarnation,
                reason: reason.to_string(),
            },
        });
        if self.stopping.is_some() {
            return self.stop_on(now);
        }
        let temporary = self.kids[k].spec.restart == RestartKind::Temporary;
        if self.band.as_ref().is_some_and(|b| !b.down && k >= b.from) {
            self.kids[k].dropped = temporary;
            return self.band_on(now);
        }
        let again = match (asked, ready.is_some(), why) {
            (true, ..) | (_, false, Why::Asked) => false,
            (_, false, Why::Restart) => true,
            (_, false, Why::Initial) => {
                let name = self.kids[k].spec.name.clone();
                return self.stop(
                    Outcome::StartFailed {
                        name,
                        reason: reason.to_string(),
                    },
                    now,
                );
            }
            (_, true, _) => match self.kids[k].spec.restart {
                RestartKind::Permanent => true,
                RestartKind::Transient => matches!(reason, ExitReason::Abnormal(_)),
                RestartKind::Temporary => false,
            },
        };
        if again {
            if ready.is_some_and(|since| now - since >= self.spec.backoff.settled) {
                self.kids[k].marks.push(Mark::Reset);
            }
            self.restart(k, reason, now, roll);
        } else {
            self.kids[k].dropped = temporary;
            self.go_on(k, now);
        }
    }

    fn go_on(&mut self, k: usize, now: Duration) {
        if self.band.is_some() {
            self.band_on(now);
        } else if self.first_up == Some(k) {
            self.next_initial(now);
        }
    }

    fn band_of(&mut self, k: usize, due: Duration, now: Duration) {
        let mut from = if self.spec.strategy == Restarts::OneForAll {
            0
        } else {
            k
        };
        if let Some(before) = &self.band
            && before.last.is_none()
        {
            from = from.min(before.from);
        }
        let initial = self.first_up.is_some();
        let wanted = |k: &usize| match &self.kids[*k] {
            kid if kid.lives.is_empty() => initial,
            kid => kid.spec.restart != RestartKind::Temporary,
        };
        let wanted = (from..self.kids.len()).filter(wanted).collect();
        self.band = Some(Band {
            from,
            wanted,
            due,
            down: false,
            last: None,
        });
        self.band_on(now);
    }

    fn band_on(&mut self, now: Duration) {
        let Some(band) = &mut self.band else { return };
        let from = band.from;
        if !band.down {
            if let Some(k) = (from..self.kids.len()).rev().find(|k| self.alive(*k)) {
                let life = self.kids[k].lives.last().unwrap();
                if life.asked.is_none() && !life.killed {
                    self.ask(k, now);
                }
                return;
            }
            self.band.as_mut().unwrap().down = true;
        }
        let band = self.band.as_ref().unwrap();
        let ready = |life: &Life| life.ready.is_some() && life.asked.is_none() && !life.killed;
        match band.last {
            None if band.due > now => return,
            Some(k) if self.alive(k) && !ready(self.kids[k].lives.last().unwrap()) => return,
            _ => {}
        }
        let wanted = &mut self.band.as_mut().unwrap().wanted;
        if wanted.is_empty() {
            self.band = None;
            if self.first_up.is_some() {
                self.next_initial(now);
            }
            return;
        }
        let k = wanted.remove(0);
        self.band.as_mut().unwrap().last = Some(k);
        let first = self.kids[k].lives.is_empty();
        self.begin(k, if first { Why::Initial } else { Why::Restart }, now);
    }

    fn restart(&mut self, k: usize, reason: ExitReason, now: Duration, roll: f64) {
        self.restarts.push(now);
        let Intensity { restarts, within } = self.spec.intensity;
        let recent = self
            .restarts
            .iter()
            .filter(|at| **at + within >= now)
            .count();
        if recent > restarts as usize {
            let gave_up = GaveUp {
                child: ChildId::new(k as u64),
                name: self.kids[k].spec.name.clone(),
                reason,
                intensity: self.spec.intensity,
            };
            self.out.push(Action::GaveUp(gave_up.clone()));
            return self.stop(Outcome::GaveUp(gave_up), now);
        }
        let delay = self.spec.backoff.delay(self.streak(k), roll);
        self.kids[k].marks.push(Mark::Restart);
        if self.spec.strategy != Restarts::OneForOne {
            return self.band_of(k, now + delay, now);
        }
        if delay == Duration::ZERO {
            self.begin(k, Why::Restart, now);
        } else {
            self.kids[k].due = Some(now + delay);
        }
    }

    fn streak(&self, k: usize) -> u32 {
        let restarts = self.kids[k]
            .marks
            .iter()
            .rev()
            .take_while(|mark| **mark == Mark::Restart);
        u32::try_from(restarts.count()).unwrap()
    }

    fn begin(&mut self, k: usize, why: Why, now: Duration) {
        let attempt = self.streak(k);
        let kid = &mut self.kids[k];
        kid.due = None;
        kid.lives.push(Life {
            began: now,
            why,
            ready: None,
            asked: None,
            killed: false,
            too_slow: false,
            over: false,
        });
        let incarnation = nth(kid.lives.len() as u64);
        self.out.push(Action::Start {
            child: ChildId::new(k as u64),
            incarnation,
            attempt,
        });
    }

    fn next_initial(&mut self, now: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.first_up = self.kids.iter().position(|kid| kid.lives.is_empty());
        match self.first_up {
            Some(k) => self.begin(k, Why::Initial, now),
            None => self.out.push(Action::Ready),
        }
    }

    fn timer(&mut self, k: usize, now: Duration) {
        if self.next_for(k).is_none_or(|at| at > now) {
            return;
        }
        if self.kids[k].due.is_some() {
            return self.begin(k, Why::Restart, now);
        }
        let life = self.kids[k].lives.last_mut().unwrap();
        if life.asked.is_none() {
            life.too_slow = true;
        }
        self.kill(k);
    }

    /// When the timer has to fire for this child.
    fn next_for(&self, k: usize) -> Option<Duration> {
        let kid = &self.kids[k];
        if kid.due.is_some() {
            return kid.due;
        }
        let life = kid.lives.last().filter(|life| !life.over && !life.killed)?;
        match (life.asked, kid.spec.shutdown) {
            (Some(at), Shutdown::Grace(grace)) => Some(at + grace),
            (Some(_), _) => None,
            (None, _) if life.ready.is_none() => Some(life.began + kid.spec.start_within?),
            (None, _) => None,
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        let band = self.band.as_ref().filter(|b| b.down && b.last.is_none());
        let kids = (0..self.kids.len()).filter_map(|k| self.next_for(k));
        kids.chain(band.map(|b| b.due)).min()
    }

    fn kill(&mut self, k: usize) {
        if !self.alive(k) || self.kids[k].lives.last().unwrap().killed {
            return;
        }
        self.kids[k].lives.last_mut().unwrap().killed = true;
        let (child, incarnation) = (ChildId::new(k as u64), nth(self.kids[k].lives.len() as u64));
        self.out.push(Action::Terminate {
            child,
            incarnation,
            how: Terminate::Kill,
        });
    }

    fn ask(&mut self, k: usize, now: Duration) {
        if self.kids[k].spec.shutdown == Shutdown::Brutal {
            return self.kill(k);
        }
        self.kids[k].lives.last_mut().unwrap().asked = Some(now);
        let (child, incarnation) = (ChildId::new(k as u64), nth(self.kids[k].lives.len() as u64));
        self.out.push(Action::Terminate {
            child,
            incarnation,
            how: Terminate::Ask,
        });
    }

    fn start_child(&mut self, k: usize, now: Duration) {
        let up = self.begun && self.stopping.is_none();
        if up && k < self.kids.len() && !self.kids[k].dropped && !self.alive(k) {
            self.kids[k].marks.push(Mark::Reset);
            if !self.band.as_ref().is_some_and(|b| b.wanted.contains(&k)) {
                self.begin(k, Why::Asked, now);
            }
        }
    }

    fn stop_child(&mut self, k: usize, now: Duration) {
        if !self.begun || self.stopping.is_some() || k >= self.kids.len() {
            return;
        }
        self.kids[k].due = None;
        if let Some(band) = &mut self.band {
            band.wanted.retain(|other| *other != k);
        }
        if self.alive(k) {
            let life = self.kids[k].lives.last_mut().unwrap();
            life.too_slow = false;
            if life.asked.is_none() && !life.killed {
                self.ask(k, now);
            }
        }
    }

    fn stop(&mut self, outcome: Outcome, now: Duration) {
        self.band = None;
        self.kids.iter_mut().for_each(|kid| kid.due = None);
        self.stopping = Some(outcome);
        self.stop_on(now);
    }

    fn stop_on(&mut self, now: Duration) {
        match (0..self.kids.len()).rev().find(|k| self.alive(*k)) {
            Some(k) => {
                let life = self.kids[k].lives.last().unwrap();
                if life.asked.is_none() && !life.killed {
                    self.ask(k, now);
                }
            }
            None => {
                self.finished = true;
                self.out
                    .push(Action::Finished(self.stopping.clone().unwrap()));
            }
        }
    }
}

fn nth(count: u64) -> Incarnation {
    (0..count).fold(Incarnation::NONE, |life, _| life.next())
}

fn index(child: ChildId) -> usize {
    (0..).position(|n| ChildId::new(n) == child).unwrap()
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    ToTimeout,
    Timer,
    Ready(usize),
    Fail(usize),
    Exit(usize, ExitReason),
    /// A report about another incarnation, so many lives away.
    Late(usize, u64),
    StartChild(usize),
    StopChild(usize),
    Stop,
    Kill,
}

/// The step that a random number stands for. Numbers shrink to idle steps of one child.
fn op(number: u32) -> Op {
    let [kind, child, low, high] = number.to_le_bytes();
    let child = usize::from(child % 5);
    let amount = u64::from(u16::from_le_bytes([low, high]));
    match kind % 80 {
        0..8 => Op::Pass(amount % 400),
        8 => Op::Pass(amount % 20_000),
        9..17 => Op::ToTimeout,
        17..19 => Op::Timer,
        19..43 => Op::Ready(child),
        43..49 => Op::Fail(child),
        49..54 => Op::Exit(child, ExitReason::Normal),
        54..58 => Op::Exit(child, ExitReason::Shutdown),
        58..66 => Op::Exit(child, ExitReason::Abnormal("signal 9".into())),
        66..70 => Op::Late(child, amount % 3),
        70..74 => Op::StartChild(child),
        74..78 => Op::StopChild(child),
        78 => Op::Stop,
        _ => Op::Kill,
    }
}

fn specs() -> impl Strategy<Value = (SupervisorSpec, Vec<ChildSpec>)> {
    let kind = prop_oneof![
        3 => Just(RestartKind::Permanent),
        2 => Just(RestartKind::Transient),
        1 => Just(RestartKind::Temporary),
    ];
    let shutdown = prop_oneof![
        1 => Just(Shutdown::Brutal),
        3 => (0u64..500).prop_map(|ms| Shutdown::Grace(Duration::from_millis(ms))),
        1 => Just(Shutdown::Infinity),
    ];
    let limit = prop::option::weighted(0.8, (1u64..1000).prop_map(Duration::from_millis));
    let child = (kind, shutdown, limit);
    let children = prop::collection::vec(child, 0..5).prop_map(|children| {
        let named = children
            .into_iter()
            .enumerate()
            .map(|(n, (restart, shutdown, limit))| {
                ChildSpec::new(format!("c{n}"))
                    .with_restart(restart)
                    .with_shutdown(shutdown)
                    .with_start_within(limit)
            });
        named.collect::<Vec<_>>()
    });
    let intensity = (0u32..6, 0u64..3000).prop_map(|(restarts, within)| Intensity {
        restarts,
        within: Duration::from_millis(within),
    });
    let backoff = prop_oneof![
        Just(Backoff::NONE),
        Just(Backoff::default()),
        Just(Backoff {
            settled: Duration::from_millis(300),
            ..Backoff::default()
        }),
    ];
    let strategy = prop_oneof![
        Just(Restarts::OneForOne),
        Just(Restarts::OneForAll),
        Just(Restarts::RestForOne),
    ];
    let spec = (strategy, intensity, backoff).prop_map(|(strategy, intensity, backoff)| {
        SupervisorSpec::default()
            .with_strategy(strategy)
            .with_intensity(intensity)
            .with_backoff(backoff)
    });
    (spec, children)
}

/// Both implementations, step by step, and what must hold for any of them.
struct Pair {
    real: Supervision,
    naive: Naive,
    ids: Vec<ChildId>,
    now: Duration,
    /// Open incarnations: started, end not announced.
    open: BTreeMap<(ChildId, Incarnation), ()>,
    finished: bool,
}

impl Pair {
    fn new(spec: SupervisorSpec, children: &[ChildSpec]) -> Self {
        let naive = Naive::new(spec.clone(), children);
        let mut real = Supervision::new(spec);
        let ids = children
            .iter()
            .map(|child| real.add(child.clone()).unwrap())
            .collect();
        let now = Duration::ZERO;
        Self {
            real,
            naive,
            ids,
            now,
            open: BTreeMap::new(),
            finished: false,
        }
    }

    fn feed(&mut self, roll: f64, event: Event) {
        let expected = self.naive.step(self.now, roll, &event);
        let text = format!("{event:?}");
        self.real.handle(self.now, roll, event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.real.poll_action()).collect();
        assert_eq!(actions, expected, "after {text}");
        assert_eq!(
            self.real.next_timeout(),
            self.naive.next_timeout(),
            "after {text}"
        );
        for action in &actions {
            self.note(action);
        }
    }

    /// The laws of one incarnation: started once, ended once, no action after its end.
    fn note(&mut self, action: &Action) {
        assert!(!self.finished, "{action:?} after the end");
        match action {
            Action::Start {
                child, incarnation, ..
            } => {
                let others = self.open.keys().filter(|(id, _)| id == child).count();
                assert_eq!(others, 0, "a second life beside the first");
                assert!(self.open.insert((*child, *incarnation), ()).is_none());
            }
            Action::Terminate {
                child, incarnation, ..
            } => {
                assert!(self.open.contains_key(&(*child, *incarnation)));
            }
            Action::Died {
                child, incarnation, ..
            }
            | Action::NotStarted {
                child, incarnation, ..
            } => {
                assert!(
                    self.open.remove(&(*child, *incarnation)).is_some(),
                    "second death"
                );
            }
            Action::Finished(_) => {
                assert!(self.open.is_empty());
                self.finished = true;
            }
            Action::Ready | Action::GaveUp(_) => {}
        }
    }

    fn apply(&mut self, op: &Op, roll: f64) {
        let at = |k: usize, pair: &Self| {
            let id = *pair.ids.get(k)?;
            let incarnation = pair.real.child(id)?.incarnation?;
            Some((id, incarnation))
        };
        let event = match op {
            Op::Pass(ms) => {
                self.now += Duration::from_millis(*ms);
                return;
            }
            Op::ToTimeout => {
                self.now = self.now.max(self.real.next_timeout().unwrap_or(self.now));
                Some(Event::TimerFired)
            }
            Op::Timer => Some(Event::TimerFired),
            Op::Ready(k) => {
                at(*k, self).map(|(child, incarnation)| Event::Started { child, incarnation })
            }
            Op::Fail(k) => at(*k, self).map(|(child, incarnation)| {
                let reason = "no such file".to_owned();
                Event::StartFailed {
                    child,
                    incarnation,
                    reason,
                }
            }),
            Op::Exit(k, reason) => at(*k, self).map(|(child, incarnation)| Event::Exited {
                child,
                incarnation,
                reason: reason.clone(),
            }),
            Op::Late(k, ago) => at(*k, self).map(|(child, incarnation)| {
                let incarnation = nth(incarnation.number() + 1 - ago);
                Event::Exited {
                    child,
                    incarnation,
                    reason: ExitReason::Normal,
                }
            }),
            Op::StartChild(k) => Some(Event::StartChild(ChildId::new(*k as u64))),
            Op::StopChild(k) => Some(Event::StopChild(ChildId::new(*k as u64))),
            Op::Stop => Some(Event::Stop),
            Op::Kill => Some(Event::Kill),
        };
        if let Some(event) = event {
            self.feed(roll, event);
        }
    }

    /// Kills what is left; everything must end.
    fn end(&mut self) {
        self.feed(0.5, Event::Kill);
        for (child, incarnation) in self.open.keys().copied().collect::<Vec<_>>() {
            let reason = ExitReason::Abnormal("killed".into());
            self.feed(
                0.5,
                Event::Exited {
                    child,
                    incarnation,
                    reason,
                },
            );
        }
        assert!(self.finished && self.open.is_empty());
        assert_eq!(self.real.next_timeout(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12_000))]

    #[test]
    fn random_histories_agree_with_the_naive_implementation(
        (spec, children) in specs(),
        steps in prop::collection::vec(any::<u32>(), 0..80),
        roll in 0.0f64..1.0,
        begin in prop::bool::weighted(0.95),
    ) {
        let mut pair = Pair::new(spec, &children);
        if begin {
            pair.feed(roll, Event::Start);
        }
        for step in steps {
            pair.apply(&op(step), roll);
        }
        pair.end();
    }
}
