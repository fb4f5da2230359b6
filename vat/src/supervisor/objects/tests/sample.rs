//! Objects that die in all ways, and a supervisor whose deeds can be read. They panic without a word to
//! the panic hook, as many of them do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::Vat;
use crate::prelude::*;
use crate::supervisor::{
    Backoff, ChildSpec, ExitReason, Intensity, ObjectSupervisor, SupervisorSpec,
};

/// Something that works, until it does not.
#[vat::interface(name = "supervised::Worker")]
pub(crate) trait Worker {
    /// Counts.
    fn add(&mut self, turn: &Turn, amount: u64) -> Result<u64>;
    /// Counts and fails.
    fn fail(&mut self, turn: &Turn) -> Result<()>;
    /// Counts and panics.
    fn panic(&mut self, turn: &Turn) -> Result<()>;
    /// Ends by itself.
    fn quit(&mut self, turn: &Turn, reason: String) -> Result<()>;
    /// Calls the inner one, which panics.
    fn panic_inside(&mut self, turn: &Turn) -> Result<()>;
    /// Answers when it is told to.
    fn later(&mut self, turn: &Turn) -> Result<Promise<u64>>;
    /// Waits for another, then counts.
    async fn wait(this: Near<Self>, cx: &Cx, other: WorkerRef) -> Result<u64>;
    /// Waits for another, then panics outside of any near call.
    async fn wait_and_panic(this: Near<Self>, cx: &Cx, other: WorkerRef) -> Result<u64>;
}

#[derive(Clone, Default, vat::Object)]
pub(crate) struct Work {
    pub(crate) count: u64,
    pub(crate) inner: Option<Near<Self>>,
    pub(crate) answers: Vec<Resolver<u64>>,
}

impl Worker for Work {
    fn add(&mut self, _: &Turn, amount: u64) -> Result<u64> {
        self.count += amount;
        Ok(self.count)
    }

    fn fail(&mut self, _: &Turn) -> Result<()> {
        self.count += 100;
        Err(Error::failed("told to fail"))
    }

    fn panic(&mut self, _: &Turn) -> Result<()> {
        self.count += 100;
        std::panic::resume_unwind(Box::new("told to panic"))
    }

    fn quit(&mut self, turn: &Turn, reason: String) -> Result<()> {
        let reason = match reason.as_str() {
            "normal" => ExitReason::Normal,
            "shutdown" => ExitReason::Shutdown,
            _ => ExitReason::Abnormal(reason),
        };
        turn.this(self).end(turn, reason);
        Ok(())
    }

    fn panic_inside(&mut self, turn: &Turn) -> Result<()> {
        self.count += 100;
        match &mut self.inner {
            Some(inner) => inner.panic(turn),
            None => Err(Error::failed("there is nobody inside")),
        }
    }

    fn later(&mut self, turn: &Turn) -> Result<Promise<u64>> {
        let (promise, resolver) = turn.promise::<u64>();
        self.answers.push(resolver);
        Ok(promise)
    }

    async fn wait(this: Near<Self>, cx: &Cx, other: WorkerRef) -> Result<u64> {
        other.add(0).await?;
        this.with(cx, |work| {
            work.count += 1;
            work.count
        })
    }

    async fn wait_and_panic(_: Near<Self>, _: &Cx, other: WorkerRef) -> Result<u64> {
        other.add(0).await?;
        std::panic::resume_unwind(Box::new("told to panic"))
    }
}

/// Never more than this many restarts are too many.
pub(crate) fn patient() -> SupervisorSpec {
    SupervisorSpec::default()
        .with_backoff(Backoff::NONE)
        .with_intensity(Intensity {
            restarts: 1_000_000,
            within: Duration::from_secs(1),
        })
}

/// A supervisor in a vat, and what was noted.
pub(crate) struct Bench {
    pub(crate) vat: Vat,
    pub(crate) supervisor: ObjectSupervisor,
    pub(crate) notes: Notes,
}

pub(crate) type Notes = Rc<RefCell<Vec<String>>>;

impl Bench {
    pub(crate) fn new(spec: SupervisorSpec) -> Self {
        let vat = Vat::new("supervised");
        let supervisor = vat.turn(|turn| Ok(turn.supervise(spec))).unwrap();
        let bench = Self {
            vat,
            supervisor,
            notes: Notes::default(),
        };
        bench.note_deaths(&bench.supervisor);
        bench
    }

    /// Notes the deaths of this supervisor's children.
    pub(crate) fn note_deaths(&self, supervisor: &ObjectSupervisor) {
        let notes = Rc::clone(&self.notes);
        supervisor.on_death(move |_, death| {
            let asked = if death.asked { " (asked)" } else { "" };
            let (name, life, reason) = (&death.name, death.life, &death.reason);
            let note = format!("{name}{life} {reason}{asked}");
            notes.borrow_mut().push(note);
            Ok(())
        });
    }

    /// Adds a child that always starts; each start is noted.
    pub(crate) fn add(&self, spec: ChildSpec) -> WorkerRef {
        let add = |turn: &Turn| {
            let constructor = starts(&spec.name, &self.notes, Rc::default());
            self.supervisor.add(turn, spec, constructor)
        };
        self.vat.turn(add).unwrap()
    }

    pub(crate) fn run(&self) {
        assert!(self.vat.run(100_000) < 100_000, "it does not come to rest");
    }

    /// Sends, runs, and takes the answer.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is a call's answer, unnamed"
    )]
    pub(crate) fn ask<T: vat::Data>(&self, promise: Promise<T>) -> Result<T> {
        self.run();
        promise.try_take().expect("a settled promise")
    }

    /// What was noted since this was last asked.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.run();
        self.notes.take()
    }

    /// Lets time pass until then.
    pub(crate) fn at(&self, ms: u64) {
        self.vat.handle_time(Duration::from_millis(ms));
        self.run();
    }

    pub(crate) fn turn<R>(&self, body: impl FnOnce(&Turn) -> Result<R>) -> R {
        let result = self.vat.turn(body).unwrap();
        self.run();
        result
    }
}

/// What a constructor is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Plan {
    #[default]
    Start,
    Fail,
    Panic,
}

/// A constructor that follows a plan.
pub(crate) fn starts(
    name: &str,
    notes: &Notes,
    plan: Rc<Cell<Plan>>,
) -> impl FnMut(&Turn) -> Result<WorkerRef> + 'static {
    let (name, notes) = (name.to_owned(), Rc::clone(notes));
    move |turn| {
        notes.borrow_mut().push(format!("start {name}"));
        match plan.get() {
            Plan::Start => Ok(WorkerRef::new(turn, Work::default())),
            Plan::Fail => Err(Error::failed("no such file")),
            Plan::Panic => std::panic::resume_unwind(Box::new("cannot be made")),
        }
    }
}

#[track_caller]
pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}
