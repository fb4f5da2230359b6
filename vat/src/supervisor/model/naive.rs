//! Supervision, written a second time, as naively as it can be.
//!
//! It keeps no states: it writes down every life of every child and every restart, and answers each
//! question by reading all of it again.

use std::time::Duration;

use crate::supervisor::{
    Action, AutoShutdown, ChildId, ChildSpec, Event, ExitReason, GaveUp, Incarnation, Intensity,
    Outcome, RestartKind, Shutdown, Strategy, SupervisorSpec, Terminate,
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

impl Kid {
    fn new(spec: &ChildSpec) -> Self {
        Self {
            spec: spec.clone(),
            lives: Vec::new(),
            marks: Vec::new(),
            due: None,
            dropped: false,
        }
    }
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

pub(in crate::supervisor) struct Naive {
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
    pub(in crate::supervisor) fn new(spec: SupervisorSpec, children: &[ChildSpec]) -> Self {
        Self {
            spec,
            kids: children.iter().map(Kid::new).collect(),
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

    /// One more child, behind all others.
    pub(in crate::supervisor) fn add(&mut self, spec: &ChildSpec) {
        self.kids.push(Kid::new(spec));
    }

    /// Takes a child away that is stopped; says whether it did.
    pub(in crate::supervisor) fn remove(&mut self, k: usize) -> bool {
        let begun = self.begun && self.first_up.is_none();
        let wanted = self.band.as_ref().is_some_and(|b| b.wanted.contains(&k));
        let Some(kid) = self.kids.get(k).filter(|kid| !kid.dropped) else {
            return false;
        };
        let removed = begun && kid.due.is_none() && !wanted && !self.alive(k);
        self.kids[k].dropped |= removed;
        removed
    }

    /// Whether this child is ready and was not asked to stop.
    pub(in crate::supervisor) fn serves(&self, k: usize) -> bool {
        let life = self.kids.get(k).and_then(|kid| kid.lives.last());
        life.is_some_and(|l| !l.over && l.ready.is_some() && l.asked.is_none() && !l.killed)
    }

    pub(in crate::supervisor) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(in crate::supervisor) fn step(
        &mut self,
        now: Duration,
        roll: f64,
        event: &Event,
    ) -> Vec<Action> {
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
            if !asked && ready.is_some() && self.kids[k].spec.significant {
                let ends = match self.spec.auto_shutdown {
                    AutoShutdown::Never => false,
                    AutoShutdown::AnySignificant => true,
                    AutoShutdown::AllSignificant => {
                        !(0..self.kids.len()).any(|k| self.is_awaited(k))
                    }
                };
                if ends {
                    let name = self.kids[k].spec.name.clone();
                    return self.stop(Outcome::AutoShutdown(name), now);
                }
            }
            self.go_on(k, now);
        }
    }

    /// Whether this significant child is there, or about to be.
    fn is_awaited(&self, k: usize) -> bool {
        let kid = &self.kids[k];
        let first = self.first_up.is_some() && kid.lives.is_empty();
        let band = self.band.as_ref().is_some_and(|b| b.wanted.contains(&k));
        kid.spec.significant
            && !kid.dropped
            && (self.alive(k) || kid.due.is_some() || first || band)
    }

    fn go_on(&mut self, k: usize, now: Duration) {
        if self.band.is_some() {
            self.band_on(now);
        } else if self.first_up == Some(k) {
            self.next_initial(now);
        }
    }

    fn band_of(&mut self, k: usize, due: Duration, now: Duration) {
        let mut from = if self.spec.strategy == Strategy::OneForAll {
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
            kid if kid.dropped => false,
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
        if self.spec.strategy != Strategy::OneForOne {
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

    pub(in crate::supervisor) fn next_timeout(&self) -> Option<Duration> {
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

fn index(child: ChildId) -> usize {
    (0..).position(|n| ChildId::new(n) == child).unwrap()
}

/// The incarnation that is a child's life number `count`.
pub(super) fn nth(count: u64) -> Incarnation {
    (0..count).fold(Incarnation::NONE, |life, _| life.next())
}
