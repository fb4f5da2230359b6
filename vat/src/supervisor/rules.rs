//! The rules of supervision one by one, readable; `model` covers their mixtures.

use std::time::Duration;

use super::{
    Action, AutoShutdown, Backoff, ChildId, ChildSpec, ChildState, Event, ExitReason, Incarnation,
    Intensity, Outcome, RestartKind, Shutdown, Strategy, Supervision, SupervisorSpec, Terminate,
};

/// A supervision of children `a`, `b`, `c`, … whose actions are read as short words.
struct Bench {
    supervision: Supervision,
    now: Duration,
}

impl Bench {
    fn new(spec: SupervisorSpec, children: impl IntoIterator<Item = ChildSpec>) -> Self {
        let mut supervision = Supervision::new(spec);
        for child in children {
            supervision.add(child).unwrap();
        }
        Self {
            supervision,
            now: Duration::ZERO,
        }
    }

    /// Children that started, in a supervision without backoff.
    fn up(children: impl IntoIterator<Item = ChildSpec>) -> Self {
        let spec = SupervisorSpec::default().with_backoff(Backoff::NONE);
        let mut bench = Self::new(spec, children);
        bench.feed(Event::Start);
        let names: Vec<String> = bench
            .supervision
            .children()
            .map(|child| child.spec.name.clone())
            .collect();
        for name in names {
            bench.ready(&name);
        }
        bench
    }

    fn feed(&mut self, event: Event) -> Vec<String> {
        self.supervision.handle(self.now, 0.5, event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.supervision.poll_action()).collect();
        actions.iter().map(|action| self.word(action)).collect()
    }

    fn word(&self, action: &Action) -> String {
        let name = |id: &ChildId| {
            let child = self.supervision.child(*id);
            child.map_or_else(|| "dropped".into(), |child| child.spec.name.clone())
        };
        match action {
            Action::Start {
                child,
                incarnation,
                attempt,
            } => {
                format!("start {}{incarnation} attempt {attempt}", name(child))
            }
            Action::Terminate {
                child,
                how: Terminate::Ask,
                ..
            } => format!("ask {}", name(child)),
            Action::Terminate {
                child,
                how: Terminate::Kill,
                ..
            } => {
                format!("kill {}", name(child))
            }
            Action::Died { child, reason, .. } => format!("died {}: {reason}", name(child)),
            Action::NotStarted { child, reason, .. } => {
                format!("not started {}: {reason}", name(child))
            }
            Action::Ready => "ready".into(),
            Action::GaveUp(gave_up) => gave_up.to_string(),
            Action::Finished(outcome) => format!("finished: {outcome}"),
        }
    }

    fn id(&self, name: &str) -> (ChildId, Incarnation) {
        let child = self.supervision.find(name).unwrap();
        (
            child,
            self.supervision.child(child).unwrap().incarnation.unwrap(),
        )
    }

    fn ready(&mut self, name: &str) -> Vec<String> {
        let (child, incarnation) = self.id(name);
        self.feed(Event::Started { child, incarnation })
    }

    fn exit(&mut self, name: &str, reason: ExitReason) -> Vec<String> {
        let (child, incarnation) = self.id(name);
        self.feed(Event::Exited {
            child,
            incarnation,
            reason,
        })
    }

    fn crash(&mut self, name: &str) -> Vec<String> {
        self.exit(name, ExitReason::Abnormal("signal 9".into()))
    }

    fn fail(&mut self, name: &str, reason: &str) -> Vec<String> {
        let (child, incarnation) = self.id(name);
        self.feed(Event::StartFailed {
            child,
            incarnation,
            reason: reason.into(),
        })
    }

    /// Lets the time pass until the timer is due.
    fn timer(&mut self) -> Vec<String> {
        self.now = self.supervision.next_timeout().unwrap();
        self.feed(Event::TimerFired)
    }

    fn state(&self, name: &str) -> ChildState {
        let id = self.supervision.find(name).unwrap();
        self.supervision.child(id).unwrap().state
    }
}

fn child(name: &str) -> ChildSpec {
    ChildSpec::new(name)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn children_start_in_order_each_when_the_one_before_is_ready() {
    let mut bench = Bench::new(SupervisorSpec::default(), [child("a"), child("b")]);
    assert_eq!(bench.feed(Event::Start), ["start a1 attempt 0"]);
    assert_eq!(bench.ready("a"), ["start b1 attempt 0"]);
    assert_eq!(bench.ready("b"), ["ready"]);
}

#[test]
fn a_failed_initial_start_stops_those_that_started_in_reverse() {
    let mut bench = Bench::new(
        SupervisorSpec::default(),
        [child("a"), child("b"), child("c")],
    );
    bench.feed(Event::Start);
    bench.ready("a");
    bench.ready("b");
    assert_eq!(
        bench.fail("c", "no such file"),
        ["not started c: no such file", "ask b"]
    );
    assert_eq!(
        bench.exit("b", ExitReason::Shutdown),
        ["died b: stopped", "ask a"]
    );
    let last = bench.exit("a", ExitReason::Shutdown);
    assert_eq!(
        last,
        ["died a: stopped", "finished: c did not start: no such file"]
    );
    let reason = bench.supervision.outcome().map(Outcome::exit_reason);
    assert!(reason.is_some_and(|reason| reason.is_abnormal()));
}

#[test]
fn only_the_child_that_ended_is_restarted() {
    let mut bench = Bench::up([child("a"), child("b")]);
    assert_eq!(bench.crash("a"), ["died a: signal 9", "start a2 attempt 1"]);
    assert!(matches!(bench.state("b"), ChildState::Running(_)));
}

#[test]
fn restart_kinds_decide_by_the_reason() {
    let reasons = [
        ExitReason::Normal,
        ExitReason::Shutdown,
        ExitReason::Abnormal("exit code 1".into()),
    ];
    let restarted = |kind, reason: &ExitReason| {
        let mut bench = Bench::up([child("a").with_restart(kind)]);
        bench.exit("a", reason.clone()).len() == 2
    };
    let row = |kind| reasons.each_ref().map(|reason| restarted(kind, reason));
    assert_eq!(row(RestartKind::Permanent), [true, true, true]);
    assert_eq!(row(RestartKind::Transient), [false, false, true]);
    assert_eq!(row(RestartKind::Temporary), [false, false, false]);
}

#[test]
fn the_spec_of_a_temporary_child_is_dropped_with_it() {
    let mut bench = Bench::up([
        child("a").with_restart(RestartKind::Temporary),
        child("b").with_restart(RestartKind::Transient),
    ]);
    bench.crash("a");
    bench.exit("b", ExitReason::Normal);
    assert_eq!(bench.supervision.find("a"), None);
    assert_eq!(bench.state("b"), ChildState::Stopped);
    assert!(bench.supervision.add(child("a")).is_ok());
    assert!(bench.supervision.add(child("b")).is_err());
}

#[test]
fn a_crash_loop_stops_after_one_death_more_than_restarts_are_allowed() {
    let mut bench = Bench::up([child("a"), child("b")]);
    for _ in 0..3 {
        assert_eq!(bench.crash("b").len(), 2);
        bench.ready("b");
    }
    let gave_up = "gave up on b: more than 3 restarts within 5s; its last end: signal 9";
    assert_eq!(bench.crash("b"), ["died b: signal 9", gave_up, "ask a"]);
    let last = bench.exit("a", ExitReason::Normal);
    assert_eq!(
        last,
        [
            "died a: ended normally",
            format!("finished: {gave_up}").as_str()
        ]
    );
    let reason = bench.supervision.outcome().map(Outcome::exit_reason);
    assert_eq!(reason, Some(ExitReason::Shutdown));
}

#[test]
fn restarts_of_all_children_count_together() {
    let mut bench = Bench::up([child("a"), child("b")]);
    for name in ["a", "b", "a"] {
        bench.crash(name);
        bench.ready(name);
    }
    assert_eq!(bench.supervision.recent_restarts(), 3);
    assert!(bench.crash("b")[1].starts_with("gave up on b"));
}

#[test]
fn a_restart_that_fails_counts_and_is_tried_again() {
    let mut bench = Bench::up([child("a").with_restart(RestartKind::Transient)]);
    bench.crash("a");
    assert_eq!(
        bench.fail("a", "x"),
        ["not started a: x", "start a3 attempt 2"]
    );
    assert_eq!(
        bench.fail("a", "x"),
        ["not started a: x", "start a4 attempt 3"]
    );
    assert!(bench.fail("a", "x")[1].starts_with("gave up on a"));
}

#[test]
fn restarts_in_a_row_are_spaced_until_the_child_has_settled() {
    let spec = SupervisorSpec::default().with_intensity(Intensity {
        restarts: 100,
        within: ms(60_000),
    });
    let mut bench = Bench::new(spec, [child("a")]);
    bench.feed(Event::Start);
    bench.ready("a");
    assert_eq!(bench.crash("a")[1], "start a2 attempt 1");
    bench.ready("a");
    assert_eq!(bench.crash("a").len(), 1);
    assert_eq!(bench.supervision.next_timeout(), Some(ms(100)));
    assert!(
        bench.feed(Event::TimerFired).is_empty(),
        "the timer was early"
    );
    assert_eq!(bench.timer(), ["start a3 attempt 2"]);
    bench.ready("a");
    bench.now += Duration::from_secs(10);
    assert_eq!(bench.crash("a")[1], "start a4 attempt 1");
}

#[test]
fn a_child_that_does_not_stop_is_killed_after_its_grace() {
    let mut bench = Bench::up([child("a").with_shutdown(Shutdown::Grace(ms(300)))]);
    assert_eq!(bench.feed(Event::Stop), ["ask a"]);
    assert_eq!(bench.supervision.next_timeout(), Some(ms(300)));
    assert_eq!(bench.timer(), ["kill a"]);
    assert_eq!(bench.supervision.next_timeout(), None);
    assert_eq!(bench.crash("a"), ["died a: signal 9", "finished: stopped"]);
}

#[test]
fn brutal_kills_at_once_and_infinity_never() {
    let mut bench = Bench::up([
        child("a").with_shutdown(Shutdown::Infinity),
        child("b").with_shutdown(Shutdown::Brutal),
    ]);
    assert_eq!(bench.feed(Event::Stop), ["kill b"]);
    assert_eq!(bench.crash("b"), ["died b: signal 9", "ask a"]);
    assert_eq!(bench.supervision.next_timeout(), None);
}

#[test]
fn a_start_that_takes_too_long_is_killed_and_has_failed() {
    let spec = SupervisorSpec::default();
    let mut bench = Bench::new(spec, [child("a").with_start_within(Some(ms(700)))]);
    bench.feed(Event::Start);
    assert_eq!(bench.timer(), ["kill a"]);
    let text = "not ready within 700ms";
    let expected = [
        format!("not started a: {text}"),
        format!("finished: a did not start: {text}"),
    ];
    assert_eq!(bench.crash("a"), expected);
}

#[test]
fn a_death_is_told_once() {
    let mut bench = Bench::up([child("a")]);
    let (child, incarnation) = bench.id("a");
    let exited = Event::Exited {
        child,
        incarnation,
        reason: ExitReason::Normal,
    };
    assert_eq!(bench.feed(exited.clone()).len(), 2);
    assert!(bench.feed(exited).is_empty());
    assert!(bench.feed(Event::Started { child, incarnation }).is_empty());
    assert!(matches!(bench.state("a"), ChildState::Starting(_)));
}

#[test]
fn a_stopped_child_stays_stopped_until_it_is_started() {
    let mut bench = Bench::up([child("a")]);
    let (id, _) = bench.id("a");
    assert_eq!(bench.feed(Event::StopChild(id)), ["ask a"]);
    assert_eq!(
        bench.exit("a", ExitReason::Normal),
        ["died a: ended normally"]
    );
    assert_eq!(bench.supervision.recent_restarts(), 0);
    assert_eq!(bench.feed(Event::StartChild(id)), ["start a2 attempt 0"]);
    assert_eq!(
        bench.fail("a", "x"),
        ["not started a: x"],
        "asked for once, tried once"
    );
}

#[test]
fn kill_ends_everything_at_once_even_while_stopping() {
    let mut bench = Bench::up([child("a"), child("b")]);
    assert_eq!(bench.feed(Event::Stop), ["ask b"]);
    assert_eq!(bench.feed(Event::Kill), ["kill b", "kill a"]);
    assert!(bench.feed(Event::Kill).is_empty());
    bench.crash("a");
    assert_eq!(bench.crash("b"), ["died b: signal 9", "finished: stopped"]);
}

#[test]
fn a_time_that_goes_back_is_taken_for_the_latest() {
    let mut bench = Bench::up([child("a")]);
    bench.now = ms(5_000);
    bench.feed(Event::TimerFired);
    bench.now = ms(1);
    let (id, _) = bench.id("a");
    bench.feed(Event::StopChild(id));
    assert_eq!(bench.supervision.next_timeout(), Some(ms(10_000)));
}

#[test]
fn a_supervisor_ends_with_its_significant_children() {
    let up = |auto| {
        let spec = SupervisorSpec::default().with_auto_shutdown(auto);
        let significant = |name, kind| child(name).with_restart(kind).with_significant(true);
        let children = [
            significant("a", RestartKind::Transient),
            significant("b", RestartKind::Temporary),
            child("c"),
        ];
        let mut bench = Bench::new(spec, children);
        bench.feed(Event::Start);
        for name in ["a", "b", "c"] {
            bench.ready(name);
        }
        bench
    };
    let mut any = up(AutoShutdown::AnySignificant);
    assert_eq!(
        any.crash("a")[1],
        "start a2 attempt 1",
        "a restart is no end"
    );
    assert_eq!(any.crash("b"), ["died dropped: signal 9", "ask c"]);
    let mut all = up(AutoShutdown::AllSignificant);
    assert_eq!(all.crash("b"), ["died dropped: signal 9"], "a is left");
    let (a, _) = all.id("a");
    all.feed(Event::StopChild(a));
    all.exit("a", ExitReason::Shutdown);
    assert!(
        !all.supervision.is_stopping(),
        "it was stopped, it did not end"
    );
    all.feed(Event::StartChild(a));
    all.ready("a");
    let ended = all.exit("a", ExitReason::Normal);
    assert_eq!(ended, ["died a: ended normally", "ask c"]);
    let last = all.exit("c", ExitReason::Shutdown);
    let finished = "finished: stopped because a has ended";
    assert_eq!(last, ["died c: stopped", finished]);
    let reason = all.supervision.outcome().map(Outcome::exit_reason);
    assert_eq!(reason, Some(ExitReason::Shutdown));
}

/// Children `a`, `b`, `c` that are up.
fn three(strategy: Strategy) -> Bench {
    let spec = SupervisorSpec::default().with_strategy(strategy);
    let mut bench = Bench::new(spec, [child("a"), child("b"), child("c")]);
    bench.feed(Event::Start);
    for name in ["a", "b", "c"] {
        bench.ready(name);
    }
    bench
}

#[test]
fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let mut bench = three(Strategy::OneForAll);
    assert_eq!(bench.crash("b"), ["died b: signal 9", "ask c"]);
    assert_eq!(
        bench.exit("c", ExitReason::Shutdown),
        ["died c: stopped", "ask a"]
    );
    assert!(matches!(bench.state("c"), ChildState::Waiting(_)));
    assert_eq!(
        bench.exit("a", ExitReason::Shutdown),
        ["died a: stopped", "start a2 attempt 0"]
    );
    assert_eq!(bench.ready("a"), ["start b2 attempt 1"]);
    assert_eq!(bench.ready("b"), ["start c2 attempt 0"]);
    assert!(bench.ready("c").is_empty());
    assert_eq!(bench.supervision.recent_restarts(), 1, "it counts once");
}

#[test]
fn rest_for_one_leaves_those_before_alone() {
    let mut bench = three(Strategy::RestForOne);
    assert_eq!(bench.crash("b"), ["died b: signal 9", "ask c"]);
    assert_eq!(
        bench.exit("c", ExitReason::Shutdown),
        ["died c: stopped", "start b2 attempt 1"]
    );
    assert_eq!(bench.ready("b"), ["start c2 attempt 0"]);
    bench.ready("c");
    assert_eq!(bench.crash("c"), ["died c: signal 9", "start c3 attempt 1"]);
    assert_eq!(bench.id("a").1.number(), 1);
}

#[test]
fn a_death_before_the_rest_begins_the_restart_there() {
    let mut bench = three(Strategy::RestForOne);
    bench.crash("b");
    assert_eq!(bench.crash("a"), ["died a: signal 9"], "c is asked already");
    assert_eq!(
        bench.crash("c"),
        ["died c: signal 9", "start a2 attempt 1"],
        "what is to be stopped anyway counts as stopped"
    );
    assert_eq!(bench.supervision.recent_restarts(), 2);
    assert_eq!(bench.ready("a"), ["start b2 attempt 1"]);
    assert_eq!(
        bench.crash("a"),
        ["died a: signal 9", "ask b"],
        "it dies again before the rest is up"
    );
}

#[test]
fn a_group_waits_for_its_backoff_and_a_stop_ends_it() {
    let mut bench = three(Strategy::RestForOne);
    bench.crash("c");
    bench.ready("c");
    assert_eq!(bench.crash("c"), ["died c: signal 9"]);
    assert_eq!(bench.state("c"), ChildState::Waiting(ms(100)));
    assert!(bench.feed(Event::TimerFired).is_empty(), "too early");
    assert_eq!(bench.timer(), ["start c3 attempt 2"]);
    bench.crash("b");
    assert_eq!(
        bench.crash("c"),
        ["not started c: signal 9", "start b2 attempt 1"]
    );
    assert_eq!(bench.feed(Event::Stop), ["ask b"]);
    bench.exit("b", ExitReason::Shutdown);
    assert_eq!(
        bench.exit("a", ExitReason::Shutdown)[1],
        "finished: stopped"
    );
}

#[test]
fn a_group_takes_ended_children_along_but_not_temporary_ones() {
    let spec = SupervisorSpec::default().with_strategy(Strategy::OneForAll);
    let kinds = [
        child("a"),
        child("b").with_restart(RestartKind::Transient),
        child("c").with_restart(RestartKind::Temporary),
    ];
    let mut bench = Bench::new(spec, kinds);
    bench.feed(Event::Start);
    for name in ["a", "b", "c"] {
        bench.ready(name);
    }
    assert_eq!(
        bench.exit("b", ExitReason::Normal),
        ["died b: ended normally"]
    );
    assert_eq!(bench.crash("a"), ["died a: signal 9", "ask c"]);
    bench.crash("c");
    assert_eq!(bench.supervision.find("c"), None);
    assert_eq!(bench.ready("a"), ["start b2 attempt 0"]);
}

#[test]
fn a_supervision_is_idle_when_all_have_ended_for_good() {
    let once = |name| child(name).with_restart(RestartKind::Transient);
    let mut bench = Bench::up([once("a"), once("b")]);
    bench.exit("a", ExitReason::Normal);
    assert!(!bench.supervision.is_idle());
    bench.exit("b", ExitReason::Normal);
    assert!(bench.supervision.is_idle());
}
