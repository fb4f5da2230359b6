//! The lives of an ensemble's children, one after the other, as their supervisor decides.
//!
//! [`Supervision`] decides and knows no processes; here its actions are carried out, and what
//! becomes of the processes is told to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::broker::log::{Level, LogSource};
use super::child::{Child, Life, Orders};
use super::confine::Spawner;
use crate::power::ChildState;
use crate::supervisor::{
    Action, ChildId, ChildSpec, ChildState as Decided, Event, Incarnation, Outcome, Supervision,
    SupervisorSpec,
};

/// How often held connections and refused ones are looked through.
const TICK: Duration = Duration::from_secs(1);

/// Where each child of the supervision is among the charges.
type Ids = BTreeMap<ChildId, usize>;

/// A child as its supervisor has it.
pub(super) struct Charge {
    child: Rc<Child>,
    spec: ChildSpec,
    /// What is said of the child, in its name. It has another budget than what the program prints,
    /// which cannot silence it.
    notes: LogSource,
}

/// Children and their supervisor.
pub(super) struct Lives {
    /// In start order.
    charges: Vec<Charge>,
    supervisor: SupervisorSpec,
    spawner: Spawner,
    events: mpsc::UnboundedSender<Event>,
    inbox: RefCell<Option<mpsc::UnboundedReceiver<Event>>>,
    gone: Notify,
    outcome: RefCell<Option<Outcome>>,
}

impl Charge {
    pub(super) fn new(child: Rc<Child>, spec: ChildSpec, notes: LogSource) -> Self {
        Self { child, spec, notes }
    }

    fn note(&self, what: &str) {
        self.notes.log(Level::Info, what, [("by", "launcher")]);
    }

    fn tick(&self) {
        self.child.drop_stale();
        if let Some(report) = self.child.take_report() {
            self.notes.log(Level::Warn, &report, [("by", "launcher")]);
        }
    }

    /// Says what only the supervisor knows of a child without a process: whether it comes again.
    fn show(&self, decided: Option<Decided>) {
        let state = self.child.state();
        let shown = match decided {
            _ if state == ChildState::GaveUp => return,
            Some(Decided::Waiting(_)) => ChildState::Waiting,
            // Before its first start, a child is shown as starting.
            Some(Decided::Stopped) if !self.child.has_lived() => return,
            // A temporary one is forgotten with its end.
            Some(Decided::Stopped) | None => ChildState::Ended,
            Some(_) => return,
        };
        if shown != state {
            self.child.set_state(shown);
        }
    }
}

impl Lives {
    pub(super) fn new(charges: Vec<Charge>, supervisor: SupervisorSpec, spawner: Spawner) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        Self {
            charges,
            supervisor,
            spawner,
            events,
            inbox: RefCell::new(Some(inbox)),
            gone: Notify::new(),
            outcome: RefCell::default(),
        }
    }

    /// Begins an ordered stop, or, with [`Event::Kill`], ends the children now.
    pub(super) fn tell(&self, event: Event) {
        drop(self.events.send(event)); // nobody listens: it has ended already
    }

    /// Waits until no child is there and none will be started again.
    pub(super) async fn ended(&self) -> Outcome {
        loop {
            let gone = self.gone.notified();
            if let Some(outcome) = self.outcome.borrow().clone() {
                return outcome;
            }
            gone.await;
        }
    }

    /// Starts the children, restarts them, stops them when told. `tick` is called now and then.
    ///
    /// # Panics
    /// When it is called twice.
    pub(super) async fn run(self: &Rc<Self>, started: Instant, tick: impl Fn()) -> Outcome {
        #[expect(clippy::expect_used, reason = "documented under Panics")]
        let mut inbox = self.inbox.take().expect("children are supervised once");
        let (mut supervision, ids) = self.supervision();
        supervision.handle(Duration::ZERO, 0.0, Event::Start);
        loop {
            if let Some(outcome) = self.carry_out(&mut supervision, &ids) {
                self.outcome.replace(Some(outcome.clone()));
                self.gone.notify_waiters();
                return outcome;
            }
            if supervision.is_idle() {
                // A supervisor none of whose children is started again would wait for ever.
                supervision.handle(started.elapsed(), 0.0, Event::Stop);
                continue;
            }
            let event = tokio::select! {
                event = inbox.recv() => event.unwrap_or(Event::Stop),
                () = sleep_until(started, supervision.next_timeout()) => Event::TimerFired,
                () = tokio::time::sleep(TICK) => {
                    self.charges.iter().for_each(Charge::tick);
                    tick();
                    continue;
                }
            };
            supervision.handle(started.elapsed(), roll(), event);
        }
    }

    fn supervision(&self) -> (Supervision, Ids) {
        let mut supervision = Supervision::new(self.supervisor.clone());
        let mut ids = Ids::new();
        for (index, charge) in self.charges.iter().enumerate() {
            // Whether it is ready in time is looked after where its process is.
            let spec = charge.spec.clone().with_start_within(None);
            #[expect(clippy::expect_used, reason = "the manifest has each name once")]
            let id = supervision.add(spec).expect("paths are unique");
            ids.insert(id, index);
        }
        (supervision, ids)
    }

    /// Does what the supervision has decided, until it has ended or there is nothing more to do.
    fn carry_out(self: &Rc<Self>, supervision: &mut Supervision, ids: &Ids) -> Option<Outcome> {
        let mut finished = None;
        while let Some(action) = supervision.poll_action() {
            if let Action::Finished(outcome) = action {
                finished = Some(outcome);
                continue;
            }
            self.perform(&action, supervision, ids);
        }
        for (id, index) in ids {
            let Some(charge) = self.charges.get(*index) else {
                continue;
            };
            let decided = supervision.child(*id).map(|child| child.state);
            charge.show(decided.filter(|_| finished.is_none()));
            if supervision.is_stopping() {
                // Whose turn to be stopped comes later need not wait until then.
                charge.child.stop_waiting();
            }
        }
        finished
    }

    fn perform(self: &Rc<Self>, action: &Action, supervision: &Supervision, ids: &Ids) {
        let of = |id: &ChildId| ids.get(id).and_then(|index| self.charges.get(*index));
        match action {
            Action::Start {
                child,
                incarnation,
                attempt,
            } => {
                let (Some(charge), Some(index)) = (of(child), ids.get(child)) else {
                    return;
                };
                charge.note(&format!("starts (attempt {attempt})"));
                // At once: what is decided next may be that it ends.
                let orders = charge.child.begin();
                let life = self.clone().life(*child, *incarnation, *index, orders);
                tokio::task::spawn_local(life);
            }
            Action::Terminate { child, how, .. } => {
                if let Some(charge) = of(child) {
                    let returns = supervision.will_restart(*child);
                    charge.child.terminate(*how, returns);
                }
            }
            Action::Died { child, reason, .. } => {
                if let Some(charge) = of(child) {
                    charge.note(&reason.to_string());
                }
            }
            Action::NotStarted { child, reason, .. } => {
                if let Some(charge) = of(child) {
                    charge.note(&format!("did not start: {reason}"));
                }
            }
            Action::GaveUp(gave_up) => {
                if let Some(charge) = of(&gave_up.child) {
                    charge.child.set_state(ChildState::GaveUp);
                    charge.note(&gave_up.to_string());
                }
            }
            _ => {}
        }
    }

    /// One life of a child, reported to the supervision.
    ///
    /// A process that runs counts as started; that it is not ready in time ends it. So a program
    /// that crashes at once uses up the restart intensity, as a child that dies later does. What
    /// depends on it does not start before it is ready: its powers are not there before.
    async fn life(
        self: Rc<Self>,
        child: ChildId,
        incarnation: Incarnation,
        index: usize,
        orders: Orders,
    ) {
        let Some(charge) = self.charges.get(index) else {
            return;
        };
        let spawned = || self.tell(Event::Started { child, incarnation });
        let event = match charge.child.live(&self.spawner, orders, spawned).await {
            Life::NotStarted(reason) => Event::StartFailed {
                child,
                incarnation,
                reason,
            },
            Life::Ended(reason) => Event::Exited {
                child,
                incarnation,
                reason,
            },
        };
        self.tell(event);
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
