//! The state machine against a second, naive implementation, in random histories.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::{
    Action, ChildId, ChildSpec, Event, ExitReason, Incarnation, Supervision, SupervisorSpec,
};

pub(super) mod history;
pub(super) mod naive;

use history::{Op, op, specs};
use naive::{Naive, nth};

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
