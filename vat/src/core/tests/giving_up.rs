//! Promise 12: cancelling is explicit, and takes effect only in methods declared cancellable. And
//! deadlines, which callees know and callees of theirs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::link::Net;
use super::sample::{run, taken};
use crate::prelude::*;
use crate::{ErrorKind, Vat};

/// Work that takes until it is told to go on.
#[vat::interface(name = "sample::Worker")]
pub(crate) trait Worker {
    /// Notes a begin, waits, notes an end.
    #[cancellable]
    async fn stoppable(this: Near<Self>, cx: &Cx, gate: GateRef) -> Result<u64>;
    /// The same.
    async fn unstoppable(this: Near<Self>, cx: &Cx, gate: GateRef) -> Result<u64>;
    /// Waits for nobody.
    #[cancellable]
    async fn forever(this: Near<Self>, cx: &Cx) -> Result<u64>;
    /// Milliseconds that are left, here and as another worker sees it.
    async fn time_left(
        this: Near<Self>,
        cx: &Cx,
        gate: GateRef,
        other: Option<WorkerRef>,
    ) -> Result<Vec<u64>>;
    /// Notes this.
    fn note(&mut self, turn: &Turn, what: String) -> Result<()>;
    /// What it noted.
    fn notes(&self, turn: &Turn) -> Result<Vec<String>>;
    /// Calls another, and fails before that has answered.
    async fn in_vain(
        this: Near<Self>,
        cx: &Cx,
        other: WorkerRef,
        gate: GateRef,
        panic: bool,
    ) -> Result<u64>;
    /// Calls another, and cancels that call when its own is.
    #[cancellable]
    async fn in_turn(this: Near<Self>, cx: &Cx, other: WorkerRef, gate: GateRef) -> Result<u64>;
}

#[vat::interface(name = "sample::Gate")]
pub(crate) trait Gate {
    /// Answers when it opens.
    fn wait(&mut self, turn: &Turn) -> Result<Promise<u64>>;
    /// Opens it.
    fn open(&mut self, turn: &Turn) -> Result<()>;
}

#[derive(Clone, Default, vat::Object)]
struct Doing {
    notes: Vec<String>,
    forever: Option<Resolver<u64>>,
}

impl Doing {
    async fn work(this: Near<Self>, cx: &Cx, gate: GateRef) -> Result<u64> {
        let held = Noted(this.clone());
        this.with(cx, |me| me.notes.push("began".to_owned()))?;
        let number = gate.wait().await?;
        this.with(cx, |me| me.notes.push("ended".to_owned()))?;
        drop(held);
        Ok(number)
    }
}

/// Counts the bodies that were dropped.
struct Noted(Near<Doing>);

thread_local! {
    static DROPPED: RefCell<u32> = const { RefCell::new(0) };
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = &self.0;
        DROPPED.with_borrow_mut(|dropped| *dropped += 1);
    }
}

impl Worker for Doing {
    async fn stoppable(this: Near<Self>, cx: &Cx, gate: GateRef) -> Result<u64> {
        Self::work(this, cx, gate).await
    }

    async fn unstoppable(this: Near<Self>, cx: &Cx, gate: GateRef) -> Result<u64> {
        Self::work(this, cx, gate).await
    }

    async fn forever(this: Near<Self>, cx: &Cx) -> Result<u64> {
        let _held = Noted(this.clone());
        let (promise, resolver) = cx.promise::<u64>();
        this.with(cx, |me| me.forever = Some(resolver))?;
        promise.await
    }

    async fn time_left(
        _: Near<Self>,
        cx: &Cx,
        gate: GateRef,
        other: Option<WorkerRef>,
    ) -> Result<Vec<u64>> {
        let left = |cx: &Cx| {
            cx.time_left()
                .map_or(0, |left| u64::try_from(left.as_millis()).unwrap())
        };
        let mut seen = vec![left(cx)];
        gate.wait().await?;
        seen.push(left(cx));
        if let Some(other) = other {
            seen.extend(other.time_left(gate, None).await?);
        }
        Ok(seen)
    }

    fn note(&mut self, _: &Turn, what: String) -> Result<()> {
        self.notes.push(what);
        Ok(())
    }

    fn notes(&self, _: &Turn) -> Result<Vec<String>> {
        Ok(self.notes.clone())
    }

    async fn in_vain(
        _: Near<Self>,
        cx: &Cx,
        other: WorkerRef,
        gate: GateRef,
        panic: bool,
    ) -> Result<u64> {
        let _answer = other.stoppable(gate.clone()).cancel_on_drop();
        let (soon, resolver) = cx.promise::<u64>();
        resolver.resolve(Ok(1));
        soon.await?;
        assert!(!panic, "told to panic");
        Err(Error::failed("told to fail"))
    }

    async fn in_turn(_: Near<Self>, _: &Cx, other: WorkerRef, gate: GateRef) -> Result<u64> {
        other.stoppable(gate).cancel_on_drop().await
    }
}

#[derive(Clone, Default, vat::Object)]
struct Bar {
    open: bool,
    waiting: Vec<Resolver<u64>>,
}

impl Gate for Bar {
    fn wait(&mut self, turn: &Turn) -> Result<Promise<u64>> {
        let (promise, resolver) = turn.promise::<u64>();
        if self.open {
            resolver.resolve(Ok(7));
        } else {
            self.waiting.push(resolver);
        }
        Ok(promise)
    }

    fn open(&mut self, _: &Turn) -> Result<()> {
        self.open = true;
        self.waiting.drain(..).for_each(|one| one.resolve(Ok(7)));
        Ok(())
    }
}

fn worker(vat: &Vat) -> (Near<Doing>, WorkerRef) {
    DROPPED.set(0);
    let made = vat.turn(|turn| {
        let near = turn.spawn(Doing::default());
        Ok((near.clone(), WorkerRef::from(&near)))
    });
    made.unwrap()
}

fn gate(vat: &Vat) -> GateRef {
    vat.turn(|turn| Ok(GateRef::new(turn, Bar::default())))
        .unwrap()
}

fn notes(vat: &Vat, near: &Near<Doing>) -> Vec<String> {
    vat.turn(|turn| near.notes(turn)).unwrap()
}

fn cancel(vat: &Vat, promise: &Promise<u64>) {
    let promise = promise.clone();
    vat.turn(|_| {
        promise.cancel();
        Ok(())
    })
    .unwrap();
}

#[track_caller]
fn assert_kind(promise: &Promise<u64>, kind: ErrorKind) {
    assert_eq!(taken(promise).unwrap_err().kind(), kind);
}

fn dropped() -> u32 {
    DROPPED.with_borrow(|dropped| *dropped)
}

#[test]
fn a_cancellable_method_stops_where_it_waits() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let answer = worker.stoppable(gate.clone());
    run(&vat);
    cancel(&vat, &answer);
    run(&vat);
    assert_kind(&answer, ErrorKind::Cancelled);
    assert_eq!(dropped(), 1, "what it held is dropped");
    gate.open().detach();
    run(&vat);
    assert_eq!(notes(&vat, &near), ["began"], "its first turn stays");
    assert_eq!(vat.unheeded(), 0, "who cancels knows");
}

#[test]
fn another_method_runs_all_the_same() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let answer = worker.unstoppable(gate.clone());
    run(&vat);
    cancel(&vat, &answer);
    run(&vat);
    assert_kind(&answer, ErrorKind::Cancelled);
    gate.open().detach();
    run(&vat);
    assert_eq!(notes(&vat, &near), ["began", "ended"]);
    assert_eq!(vat.unheeded(), 0);
}

#[test]
fn a_cancellable_method_that_has_not_begun_does_not_begin() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let (answer, other) = vat
        .turn(|_| {
            let answer = worker.stoppable(gate.clone());
            let other = worker.unstoppable(gate.clone());
            answer.clone().cancel();
            other.clone().cancel();
            Ok((answer, other))
        })
        .unwrap();
    run(&vat);
    assert_kind(&answer, ErrorKind::Cancelled);
    assert_kind(&other, ErrorKind::Cancelled);
    assert_eq!(notes(&vat, &near), ["began"], "the other one");
}

#[test]
fn a_turn_that_fails_cancels_nothing() {
    let vat = Vat::new("a");
    let ((_, worker), gate) = (worker(&vat), gate(&vat));
    let answer = worker.stoppable(gate.clone());
    run(&vat);
    let failed: Result<()> = vat.turn(|_| {
        answer.clone().cancel();
        Err(Error::failed("told to"))
    });
    assert!(failed.is_err());
    gate.open().detach();
    run(&vat);
    assert_eq!(taken(&answer).unwrap(), 7);
}

#[test]
fn a_promise_that_is_settled_stays_as_it_is() {
    let vat = Vat::new("a");
    let ((_, worker), gate) = (worker(&vat), gate(&vat));
    gate.open().detach();
    let answer = worker.stoppable(gate);
    run(&vat);
    cancel(&vat, &answer);
    run(&vat);
    assert_eq!(taken(&answer).unwrap(), 7);
}

#[test]
fn a_place_that_a_task_leaves_is_not_anybodys_to_cancel() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    // The method ends with a promise of somebody else.
    #[vat::interface(name = "sample::Passing")]
    trait Passing {
        #[cancellable]
        async fn pass(
            this: Near<Self>,
            cx: &Cx,
            first: GateRef,
            then: GateRef,
        ) -> Result<Promise<u64>>;
    }
    #[derive(Clone, vat::Object)]
    struct Passer;
    impl Passing for Passer {
        async fn pass(
            _: Near<Self>,
            _: &Cx,
            first: GateRef,
            then: GateRef,
        ) -> Result<Promise<u64>> {
            first.wait().await?;
            Ok(then.wait())
        }
    }
    let passing = vat.turn(|turn| Ok(PassingRef::new(turn, Passer))).unwrap();
    let first = self::gate(&vat);
    let passed = passing.pass(first.clone(), gate.clone());
    run(&vat);
    first.open().detach();
    run(&vat);
    // This one takes the place that the other had.
    let answer = worker.stoppable(gate.clone());
    run(&vat);
    cancel(&vat, &passed);
    gate.open().detach();
    run(&vat);
    assert_kind(&passed, ErrorKind::Cancelled);
    assert_eq!(taken(&answer).unwrap(), 7);
    assert_eq!(notes(&vat, &near), ["began", "ended"]);
}

/// Two vats; the first one has a worker of the second, and a gate of its own.
fn far() -> (Net, Near<Doing>, WorkerRef, GateRef) {
    let mut net = Net::new(&["here", "there"]);
    let (near, reference) = worker(&net.vats[1]);
    let far = net.grant(0, 1, &reference);
    let gate = gate(&net.vats[0]);
    (net, near, far, gate)
}

#[test]
fn a_cancellable_method_stops_in_another_vat() {
    let (mut net, near, far, gate) = far();
    let answer = far.stoppable(gate.clone());
    let other = far.unstoppable(gate.clone());
    net.run();
    cancel(&net.vats[0], &answer);
    cancel(&net.vats[0], &other);
    assert_kind(&answer, ErrorKind::Cancelled);
    net.run();
    assert_eq!(dropped(), 1);
    gate.open().detach();
    net.run();
    assert_eq!(notes(&net.vats[1], &near), ["began", "began", "ended"]);
    drop((far, gate));
    net.run();
    assert!(net.is_drained(0) && net.is_drained(1));
}

#[test]
fn a_call_that_was_cancelled_before_it_left_does_not_leave() {
    let (mut net, near, far, gate) = far();
    let answer = net.vats[0]
        .turn(|_| {
            let answer = far.stoppable(gate.clone());
            answer.clone().cancel();
            Ok(answer)
        })
        .unwrap();
    net.run();
    assert_kind(&answer, ErrorKind::Cancelled);
    assert_eq!(notes(&net.vats[1], &near), [""; 0]);
}

#[test]
fn a_cancellable_method_stops_when_its_caller_is_gone() {
    let (mut net, _, far, _) = far();
    let answer = far.forever();
    net.run();
    assert_eq!(dropped(), 0);
    net.cut(0);
    net.run();
    assert_eq!(dropped(), 1);
    assert_kind(&answer, ErrorKind::Disconnected);
}

#[test]
fn a_method_that_is_cancelled_cancels_what_it_is_to() {
    let (mut net, near, far, gate) = far();
    let (_, mine) = worker(&net.vats[0]);
    let answer = mine.in_turn(far, gate.clone());
    net.run();
    cancel(&net.vats[0], &answer);
    net.run();
    assert_eq!(dropped(), 1, "that of the other vat");
    gate.open().detach();
    net.run();
    assert_eq!(notes(&net.vats[1], &near), ["began"]);
}

#[test]
fn a_method_that_fails_cancels_what_it_is_to() {
    for panic in [false, true] {
        let vat = Vat::new("a");
        let ((near, worker), gate) = (worker(&vat), gate(&vat));
        let answer = worker.in_vain(worker.clone(), gate.clone(), panic);
        run(&vat);
        let kind = if panic {
            ErrorKind::Panicked
        } else {
            ErrorKind::Failed
        };
        assert_kind(&answer, kind);
        assert_eq!(dropped(), 1, "the other stopped");
        assert_eq!(notes(&vat, &near), ["began"]);
        assert_eq!(vat.unheeded(), 0);
    }
}

#[test]
fn a_call_whose_caller_is_gone_does_not_begin() {
    let mut net = Net::new(&["here", "there"]);
    let (near, worker) = worker(&net.vats[1]);
    let (promised, resolver) = net.vats[1]
        .turn(|turn| Ok(turn.promise::<WorkerRef>()))
        .unwrap();
    let far: WorkerRef = net.grant(0, 1, &promised);
    let gate = gate(&net.vats[0]);
    far.stoppable(gate.clone()).detach();
    far.unstoppable(gate).detach();
    net.run();
    net.cut(0);
    net.run();
    net.vats[1]
        .turn(|_| {
            resolver.resolve(Ok(worker));
            Ok(())
        })
        .unwrap();
    net.run();
    assert_eq!(notes(&net.vats[1], &near), ["began"], "the other one");
}

#[test]
fn what_failed_turns_said_of_a_call_is_taken_back_and_nothing_else() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let failed = |act: &dyn Fn()| {
        let failed: Result<()> = vat.turn(|_| {
            act();
            Err(Error::failed("told to"))
        });
        assert!(failed.is_err());
    };
    // It is still in the queue.
    let answer = worker.stoppable(gate.clone());
    cancel(&vat, &answer);
    failed(&|| {
        answer.clone().cancel();
        answer.clone().cancel();
    });
    run(&vat);
    assert_kind(&answer, ErrorKind::Cancelled);
    assert_eq!(notes(&vat, &near), [""; 0]);
    let answer = worker.stoppable(gate.clone());
    failed(&|| {
        answer.clone().cancel();
        answer.clone().cancel();
    });
    gate.open().detach();
    run(&vat);
    assert_eq!(taken(&answer).unwrap(), 7);
}

#[test]
fn a_deadline_that_a_failed_turn_set_is_taken_back() {
    let vat = Vat::new("a");
    let ((_, worker), gate) = (worker(&vat), gate(&vat));
    let held: RefCell<Option<Promise<u64>>> = RefCell::new(Some(worker.stoppable(gate)));
    run(&vat);
    let limit = |limit: Duration, fail: bool| {
        let limited: Result<()> = vat.turn(|_| {
            let answer = held.take().unwrap();
            held.replace(Some(answer.within(limit)));
            if fail {
                Err(Error::failed("told to"))
            } else {
                Ok(())
            }
        });
        assert_eq!(limited.is_err(), fail);
    };
    limit(LIMIT, true);
    limit(3 * LIMIT, false);
    vat.handle_time(2 * LIMIT);
    run(&vat);
    assert!(held.borrow().as_ref().unwrap().try_take().is_none());
    vat.handle_time(3 * LIMIT);
    run(&vat);
    assert_kind(held.borrow().as_ref().unwrap(), ErrorKind::TimedOut);
}

#[test]
fn what_a_cancelled_method_sends_when_it_is_dropped_comes_behind_what_was_sent_before() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    #[vat::interface(name = "sample::Telling")]
    trait Telling {
        #[cancellable]
        async fn tell(this: Near<Self>, cx: &Cx, gate: GateRef, to: WorkerRef) -> Result<u64>;
    }
    #[derive(Clone, vat::Object)]
    struct Teller;
    struct Last(WorkerRef);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.note("last".to_owned()).detach();
        }
    }
    impl Telling for Teller {
        async fn tell(_: Near<Self>, _: &Cx, gate: GateRef, to: WorkerRef) -> Result<u64> {
            let _last = Last(to);
            gate.wait().await
        }
    }
    let telling = vat.turn(|turn| Ok(TellingRef::new(turn, Teller))).unwrap();
    let answer = telling.tell(gate, worker.clone());
    run(&vat);
    vat.turn(|_| {
        answer.cancel();
        worker.note("first".to_owned()).detach();
        Ok(())
    })
    .unwrap();
    run(&vat);
    assert_eq!(notes(&vat, &near), ["first", "last"]);
}

#[test]
fn a_call_can_be_made_without_the_deadline_of_its_caller() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    #[vat::interface(name = "sample::Tidying")]
    trait Tidying {
        fn tidy_late(&mut self, turn: &Turn, to: WorkerRef, gate: GateRef) -> Result<Promise<u64>>;
    }
    #[derive(Clone, vat::Object)]
    struct Tidier;
    impl Tidying for Tidier {
        fn tidy_late(&mut self, _: &Turn, to: WorkerRef, gate: GateRef) -> Result<Promise<u64>> {
            Ok(gate.wait().then(move |turn, result| {
                to.note("lost".to_owned()).detach();
                turn.without_deadline(|| to.note("kept".to_owned()).detach());
                assert!(turn.time_left().is_some());
                result.or_else(|_| Ok(0))
            }))
        }
    }
    let tidier = vat.turn(|turn| Ok(TidyingRef::new(turn, Tidier))).unwrap();
    let answer = vat
        .turn(|_| Ok(tidier.tidy_late(worker, gate.clone()).within(LIMIT)))
        .unwrap();
    run(&vat);
    vat.handle_time(LIMIT);
    run(&vat);
    assert_kind(&answer, ErrorKind::TimedOut);
    assert_eq!(notes(&vat, &near), ["kept"]);
    drop(gate);
}

// ---- deadlines

const LIMIT: Duration = Duration::from_millis(100);

#[test]
fn a_call_whose_time_is_up_is_cancelled_if_it_may_be() {
    let (mut net, near, far, gate) = far();
    let (answer, other) = net.vats[0]
        .turn(|_| {
            let answer = far.stoppable(gate.clone()).within(LIMIT);
            Ok((answer, far.unstoppable(gate.clone()).within(LIMIT)))
        })
        .unwrap();
    net.run();
    net.vats[0].handle_time(LIMIT);
    net.run();
    assert_kind(&answer, ErrorKind::TimedOut);
    assert_kind(&other, ErrorKind::TimedOut);
    assert_eq!(dropped(), 1);
    gate.open().detach();
    net.run();
    assert_eq!(notes(&net.vats[1], &near), ["began", "began", "ended"]);
}

#[test]
fn the_callee_gives_up_by_its_own_clock_as_well() {
    let (mut net, _, far, _) = far();
    net.vats[1].handle_time(10 * LIMIT);
    let answer = net.vats[0]
        .turn(|_| Ok(far.forever().within(LIMIT)))
        .unwrap();
    net.run();
    net.vats[1].handle_time(11 * LIMIT);
    net.run();
    assert_eq!(dropped(), 1);
    assert_kind(&answer, ErrorKind::TimedOut);
    assert_eq!(net.vats[1].deadline(), None, "no timer is left");
}

#[test]
fn a_call_whose_time_is_up_does_not_begin() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let answer = vat
        .turn(|_| Ok(worker.unstoppable(gate).within(LIMIT)))
        .unwrap();
    vat.handle_time(LIMIT);
    run(&vat);
    assert_kind(&answer, ErrorKind::TimedOut);
    assert_eq!(notes(&vat, &near), [""; 0]);
}

#[test]
fn deadlines_shrink_from_call_to_call() {
    let mut net = Net::new(&["here", "there", "yonder"]);
    let (_, middle) = worker(&net.vats[1]);
    let (_, last) = worker(&net.vats[2]);
    let middle: WorkerRef = net.grant(0, 1, &middle);
    let last: WorkerRef = net.grant(0, 2, &last);
    let gate = gate(&net.vats[0]);
    let seen = net.vats[0]
        .turn(|_| {
            Ok(middle
                .time_left(gate.clone(), Some(last))
                .within(10 * LIMIT))
        })
        .unwrap();
    net.run();
    for vat in &net.vats {
        vat.handle_time(3 * LIMIT);
    }
    gate.open().detach();
    net.run();
    assert_eq!(taken(&seen).unwrap(), [1_000, 700, 700, 700]);
}

#[test]
fn what_is_called_meanwhile_breaks_when_the_callers_time_is_up() {
    let vat = Vat::new("a");
    let ((_, worker), gate) = (worker(&vat), gate(&vat));
    let told: Rc<RefCell<Option<ErrorKind>>> = Rc::default();
    let heard = Rc::clone(&told);
    #[vat::interface(name = "sample::Asking")]
    trait Asking {
        fn ask(&mut self, turn: &Turn, worker: WorkerRef, gate: GateRef) -> Result<Promise<u64>>;
    }
    #[derive(vat::Object)]
    #[object(external)]
    struct Asker(Rc<RefCell<Option<ErrorKind>>>);
    impl Asking for Asker {
        fn ask(&mut self, _: &Turn, worker: WorkerRef, gate: GateRef) -> Result<Promise<u64>> {
            let told = Rc::clone(&self.0);
            let answer = worker.unstoppable(gate);
            Ok(answer.then(move |turn, result| {
                let left = turn.time_left();
                assert_eq!(left, Some(Duration::ZERO), "callbacks go on with the call");
                *told.borrow_mut() = Some(result.as_ref().unwrap_err().kind());
                result
            }))
        }
    }
    let asking = vat
        .turn(|turn| Ok(AskingRef::new(turn, Asker(heard))))
        .unwrap();
    let answer = vat
        .turn(|_| Ok(asking.ask(worker, gate).within(LIMIT)))
        .unwrap();
    run(&vat);
    assert!(told.borrow().is_none());
    vat.handle_time(LIMIT);
    run(&vat);
    assert_kind(&answer, ErrorKind::TimedOut);
    assert_eq!(*told.borrow(), Some(ErrorKind::TimedOut));
    assert_eq!(vat.deadline(), None);
}

#[test]
fn a_clone_that_is_limited_leaves_the_call_alone() {
    let vat = Vat::new("a");
    let ((near, worker), gate) = (worker(&vat), gate(&vat));
    let (answer, limited) = vat
        .turn(|_| {
            let answer = worker.stoppable(gate.clone());
            Ok((answer.clone(), answer.within(LIMIT)))
        })
        .unwrap();
    run(&vat);
    vat.handle_time(LIMIT);
    run(&vat);
    assert_kind(&limited, ErrorKind::TimedOut);
    gate.open().detach();
    run(&vat);
    assert_eq!(taken(&answer).unwrap(), 7);
    assert_eq!(notes(&vat, &near), ["began", "ended"]);
}
