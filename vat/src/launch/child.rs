//! One supervised child: what is known of it from life to life, and what is asked of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use super::broker::log::LogSource;
use super::carrier::carry;
use super::children::is_settled;
use super::confine::{Level, Report, SealedProgram};
use super::incoming::{Incoming, Queue, Waiting};
use super::powers::Supply;
use super::siblings::{Introducer, Sibling};
use crate::net::Refusals;
use crate::net::driver::Driver;
use crate::power::{ChildState, ChildStatus, Exposed, ProgramRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Address, Identity, Seed, VatId};
use crate::supervisor::{ExitReason, Terminate};

mod life;
#[cfg(test)]
mod tests;

pub(crate) use life::{Life, Orders};

/// What a child is made of, the same for all its lives.
pub(crate) struct ChildPlan {
    /// Its name in the manifest.
    pub(crate) name: String,
    /// Its supervision path: `shop/ledger`.
    pub(crate) path: String,
    pub(crate) program: SealedProgram,
    pub(crate) require: Level,
    pub(crate) allow_weak: bool,
    pub(crate) seed: Seed,
    pub(crate) supplies: Vec<Supply>,
    /// The file of its durable store, if it has one.
    pub(crate) store: Option<PathBuf>,
    pub(crate) args: Vec<String>,
    /// The interface each expose name must have.
    pub(crate) exposes: BTreeMap<String, String>,
    /// How long a start may wait for siblings, and then take until it is ready; a program that
    /// exposes nothing may take as long as it likes.
    pub(crate) start_within: Duration,
    /// Where its standard output and error go.
    pub(crate) output: LogSource,
    /// Whether its standard output goes to ours, line by line, as well as into the log.
    pub(crate) echo: bool,
}

/// A supervised child.
pub(crate) struct Child {
    driver: Driver,
    siblings: Rc<Introducer>,
    plan: ChildPlan,
    vat: VatId,
    /// Where it is reached.
    addresses: RefCell<Vec<Address>>,
    state: watch::Sender<ChildState>,
    /// Tells the other children's keeper of each change of the state.
    changes: watch::Sender<()>,
    /// A start that waits for its powers is not wanted any more.
    unwanted: Notify,
    /// It is being stopped only to be started again.
    returns: Cell<bool>,
    /// Connections that the child has not taken yet.
    queue: Queue,
    /// Those that it did not take.
    refusals: Rc<RefCell<Refusals>>,
    now: RefCell<Now>,
}

/// What changes from life to life.
struct Now {
    pid: u32,
    lives: u32,
    ready_since: Option<Instant>,
    last_exit: Option<ExitReason>,
    exit_code: Option<i32>,
    report: Option<Report>,
    program: Option<ProgramRef>,
    commands: Option<mpsc::UnboundedSender<Terminate>>,
    exposed: Vec<Exposed>,
}

impl Child {
    pub(crate) fn new(
        driver: Driver,
        siblings: Rc<Introducer>,
        plan: ChildPlan,
        changes: watch::Sender<()>,
    ) -> Self {
        let vat = Identity::from_seed(&plan.seed).id();
        let now = Now {
            pid: 0,
            lives: 0,
            ready_since: None,
            last_exit: None,
            exit_code: None,
            report: None,
            program: None,
            commands: None,
            exposed: Vec::new(),
        };
        Self {
            driver,
            siblings,
            plan,
            vat,
            addresses: RefCell::default(),
            state: watch::Sender::new(ChildState::Starting),
            changes,
            unwanted: Notify::new(),
            returns: Cell::new(false),
            queue: Queue::new(),
            refusals: Rc::default(),
            now: RefCell::new(now),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.plan.path
    }

    pub(crate) fn vat(&self) -> VatId {
        self.vat
    }

    /// Says where it is reached, for its next life.
    pub(crate) fn set_addresses(&self, addresses: &[Address]) {
        self.addresses.replace(addresses.to_vec());
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.plan.seed
    }

    /// A reference that the present life exposes.
    pub(crate) fn exposed(&self, name: &str) -> Option<Ref> {
        self.exposed_now(name).map(|one| one.reference)
    }

    /// The same, with what it said of its interface.
    pub(crate) fn exposed_now(&self, name: &str) -> Option<Exposed> {
        let now = self.now.borrow();
        let mut exposed = now.exposed.iter();
        exposed.find(|exposed| exposed.name == name).cloned()
    }

    pub(crate) fn set_state(&self, state: ChildState) {
        self.state.send_replace(state);
        self.changes.send_replace(());
    }

    pub(crate) fn state(&self) -> ChildState {
        *self.state.borrow()
    }

    /// Waits until it is ready, or never will be; says which.
    pub(crate) async fn settled(&self) -> ChildState {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| is_settled(*state)).await;
        settled.map_or(ChildState::Ended, |state| *state)
    }

    /// Whether a start was ever tried.
    pub(crate) fn has_lived(&self) -> bool {
        self.now.borrow().lives > 0
    }

    /// The exit code (or 128 + signal) of the last life.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.now.borrow().exit_code
    }

    pub(crate) fn status(&self) -> ChildStatus {
        let now = self.now.borrow();
        let report = now.report.as_ref();
        ChildStatus {
            path: self.plan.path.clone(),
            vat: self.vat.to_string(),
            state: self.state(),
            pid: now.pid,
            restarts: now.lives.saturating_sub(1),
            up_ms: now.ready_since.map_or(0, |since| millis(since.elapsed())),
            last_exit: now
                .last_exit
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            confinement: report
                .map(|report| report.level.to_string())
                .unwrap_or_default(),
            enforced: report
                .map(|report| mechanisms(report, true))
                .unwrap_or_default(),
            missing: report
                .map(|report| mechanisms(report, false))
                .unwrap_or_default(),
            exposes: self.plan.exposes.keys().cloned().collect(),
        }
    }

    /// Asks the present life to end, or ends it; `returns`: to be started again.
    pub(crate) fn terminate(&self, how: Terminate, returns: bool) {
        self.returns.set(returns);
        self.set_state(ChildState::Stopping);
        if let Some(commands) = &self.now.borrow().commands {
            let _ = commands.send(how); // already gone: then there is nothing to end
        }
    }

    /// Ends the wait for its powers, if it is waiting for them.
    pub(crate) fn stop_waiting(&self) {
        self.unwanted.notify_waiters();
    }

    /// Hands a connected stream to the child, or holds it while the child is down.
    pub(crate) fn accept(&self, incoming: Incoming) {
        match self.state() {
            ChildState::Ended | ChildState::GaveUp => return,
            ChildState::Stopping if !self.returns.get() => return,
            _ => {}
        }
        let waiting = match self.queue.enter(incoming) {
            Ok(waiting) => waiting,
            Err(full) => return note_refused(&self.refusals, full),
        };
        match (self.state(), &self.now.borrow().program) {
            (ChildState::Running, Some(program)) => self.hand_over(program, waiting),
            _ => self.queue.hold(waiting),
        }
    }

    /// What is to be said of connections that the child did not take, now and then.
    pub(crate) fn take_report(&self) -> Option<String> {
        self.refusals.borrow_mut().take_report()
    }

    /// Closes the connections that were held too long.
    pub(crate) fn drop_stale(&self) {
        self.queue.drop_stale();
    }

    /// Passes a stream's descriptor to the program, attached to a reference.
    fn hand_over(&self, program: &ProgramRef, waiting: Waiting) {
        let Waiting {
            incoming, ticket, ..
        } = waiting;
        let Incoming {
            stream,
            head,
            plain,
            place,
        } = incoming;
        let carried = self.driver.vat().turn(|turn| Ok(carry(turn, stream, ())));
        if let Ok(carried) = carried {
            let taken = program.accept(carried, head, plain);
            let refusals = self.refusals.clone();
            tokio::task::spawn_local(async move {
                if let Err(error) = taken.await {
                    note_refused(&refusals, error);
                }
                drop((ticket, place));
            });
        }
    }
}

impl Sibling for Child {
    fn path(&self) -> &str {
        &self.plan.path
    }

    fn meet(&self, stream: StreamRef, vat: VatId) -> Option<Promise<()>> {
        let now = self.now.borrow();
        let program = now.program.as_ref()?;
        Some(program.meet(stream, vat.to_string()))
    }
}

/// The mechanisms of a report that are enforced, or are not, for people.
fn mechanisms(report: &Report, enforced: bool) -> Vec<String> {
    let chosen = report
        .mechanisms
        .iter()
        .filter(|mechanism| mechanism.enforced == enforced);
    chosen
        .map(|mechanism| format!("{}: {}", mechanism.name, mechanism.detail))
        .collect()
}

/// The child did not take a connection.
fn note_refused(refusals: &RefCell<Refusals>, why: impl Display) {
    let now = tokio::time::Instant::now();
    refusals.borrow_mut().note("the vat itself", why, now);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
