//! The lives of an ensemble's child, one after the other, as its supervisor decides.
//!
//! [`Supervision`] decides and knows no processes; here its actions are carried out, and what
//! becomes of the processes is told to it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::broker::log::{Level, LogSource};
use super::child::{Child, Life, Surroundings};
use crate::power::ChildState;
use crate::supervisor::{
    Action, ChildId, ChildSpec, Event, Incarnation, Outcome, RestartKind, Supervision,
    SupervisorSpec,
};

/// How often held connections and refused ones are looked through.
const TICK: Duration = Duration::from_secs(1);

/// A child and its supervisor.
pub(super) struct Lives {
    child: Rc<Child>,
    spec: ChildSpec,
    supervisor: SupervisorSpec,
    around: Surroundings,
    /// What is said of the child, in its name. It has another budget than what the program prints,
    /// which cannot silence it.
    notes: LogSource,
    events: mpsc::UnboundedSender<Event>,
    inbox: RefCell<Option<mpsc::UnboundedReceiver<Event>>>,
    gone: Notify,
    outcome: RefCell<Option<Outcome>>,
}

impl Lives {
    pub(super) fn new(
        child: Rc<Child>,
        spec: ChildSpec,
        supervisor: SupervisorSpec,
        around: Surroundings,
        notes: LogSource,
    ) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        Self {
            child,
            spec,
            supervisor,
            around,
            notes,
            events,
            inbox: RefCell::new(Some(inbox)),
            gone: Notify::new(),
            outcome: RefCell::default(),
        }
    }

    /// Begins an ordered stop, or, with [`Event::Kill`], ends the child now.
    pub(super) fn tell(&self, event: Event) {
        drop(self.events.send(event)); // nobody listens: it has ended already
    }

    /// Waits until the child is gone and will not be started again.
    pub(super) async fn ended(&self) -> Outcome {
        loop {
            let gone = self.gone.notified();
            if let Some(outcome) = self.outcome.borrow().clone() {
                return outcome;
            }
            gone.await;
        }
    }

    /// Starts the child, restarts it, stops it when told. `tick` is called now and then.
    ///
    /// # Panics
    /// When it is called twice.
    pub(super) async fn run(self: &Rc<Self>, started: Instant, tick: impl Fn()) -> Outcome {
        #[expect(clippy::expect_used, reason = "documented under Panics")]
        let mut inbox = self.inbox.take().expect("a child is supervised once");
        let (mut supervision, id) = self.supervision();
        supervision.handle(Duration::ZERO, 0.0, Event::Start);
        loop {
            while let Some(action) = supervision.poll_action() {
                self.perform(&action, id);
                if let Action::Finished(outcome) = action {
                    self.outcome.replace(Some(outcome.clone()));
                    self.gone.notify_waiters();
                    return outcome;
                }
            }
            let event = tokio::select! {
                event = inbox.recv() => event.unwrap_or(Event::Stop),
                () = sleep_until(started, supervision.next_timeout()) => Event::TimerFired,
                () = tokio::time::sleep(TICK) => { self.tick(); tick(); continue; }
            };
            supervision.handle(started.elapsed(), roll(), event);
        }
    }

    fn tick(&self) {
        self.child.drop_stale();
        if let Some(report) = self.child.take_report() {
            self.notes.log(Level::Warn, &report, [("by", "launcher")]);
        }
    }

    fn note(&self, what: &str) {
        self.notes.log(Level::Info, what, [("by", "launcher")]);
    }

    fn supervision(&self) -> (Supervision, ChildId) {
        // Whether it is ready in time is looked after where its process is.
        let child = self.spec.clone().with_start_within(None);
        let mut supervision = Supervision::new(self.supervisor.clone());
        #[expect(clippy::expect_used, reason = "it is the only one")]
        let id = supervision
            .add(child)
            .expect("no other child has this name");
        (supervision, id)
    }

    fn perform(self: &Rc<Self>, action: &Action, id: ChildId) {
        match action {
            Action::Start {
                incarnation,
                attempt,
                ..
            } => {
                self.note(&format!("starts (attempt {attempt})"));
                tokio::task::spawn_local(self.clone().life(id, *incarnation));
            }
            Action::Terminate { how, .. } => self.child.terminate(*how),
            Action::Died { reason, .. } => self.note(&reason.to_string()),
            Action::NotStarted { reason, .. } => {
                self.note(&format!("did not start: {reason}"));
            }
            Action::GaveUp(gave_up) => {
                self.child.set_state(ChildState::GaveUp);
                self.note(&gave_up.to_string());
            }
            Action::Finished(_) if self.child.state() != ChildState::GaveUp => {
                self.child.set_state(ChildState::Ended);
            }
            _ => {}
        }
    }

    /// One life of the child, reported to the supervision.
    ///
    /// A process that runs counts as started; that it is not ready in time ends it. So a program
    /// that crashes at once uses up the restart intensity, as a child that dies later does.
    async fn life(self: Rc<Self>, child: ChildId, incarnation: Incarnation) {
        let spawned = || self.tell(Event::Started { child, incarnation });
        let event = match self.child.live(&self.around, spawned).await {
            Life::NotStarted(error) => Event::StartFailed {
                child,
                incarnation,
                reason: error,
            },
            Life::Ended(reason) => Event::Exited {
                child,
                incarnation,
                reason,
            },
        };
        let over = self.is_over(&event);
        self.tell(event);
        if over {
            // A supervisor whose only child is not started again would wait for ever.
            self.tell(Event::Stop);
        }
    }

    /// Whether the program will not be started again after this end.
    fn is_over(&self, event: &Event) -> bool {
        let abnormal = match event {
            Event::Exited { reason, .. } => reason.is_abnormal(),
            _ => true,
        };
        match self.spec.restart {
            RestartKind::Permanent => false,
            RestartKind::Transient => !abnormal,
            RestartKind::Temporary => true,
        }
    }
}

async fn sleep_until(start: Instant, due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep_until((start + due).into()).await,
        None => std::future::pending().await,
    }
}

/// A random number from 0 to 1, for the jitter of restarts.
fn roll() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness there is no jitter; nothing depends on it.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
