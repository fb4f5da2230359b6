//! The vat: a value that owns objects, queue and engine, and runs one turn at a time.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use captp::{CloseReason, ConnId, DialId, Engine, Host, Incoming, Introduction, NodeId, Output};

use super::call::{Call, Message, Reply};
use super::cancel::{CallId, Cancellable};
use super::death::Watches;
use super::facet::Facets;
use super::heap::Heap;
use super::promise::{cancelled, vat_ended};
use super::quietly;
use super::reference::Ref;
use super::task::{TaskId, Tasks, Woken};
use super::time::Time;
use super::turn::{Turn, TurnState, Work};
use crate::durable::{Graph, Passage};
use crate::error::{Error, Result};

/// A heap of objects, a queue and an engine; it runs one turn at a time and never by itself.
///
/// It is a value: many vats can live in one thread, each knowing only its own. Whoever drives it
/// feeds its engine with what arrives and calls [`run`](Self::run).
pub struct Vat(Rc<Shared>);

/// How a vat is set up.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VatConfig {
    /// For logs only; names authorise nothing.
    pub name: String,
    /// Limits of the protocol engine.
    pub engine: captp::Config,
}

impl VatConfig {
    /// A vat of this name, with default limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            engine: captp::Config::default(),
        }
    }

    /// The same with these limits.
    #[must_use]
    pub fn with_engine(mut self, engine: captp::Config) -> Self {
        self.engine = engine;
        self
    }
}

impl From<&str> for VatConfig {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Vat {
    /// An empty vat.
    pub fn new(config: impl Into<VatConfig>) -> Self {
        let VatConfig { name, engine } = config.into();
        Self(Rc::new(Shared {
            name,
            engine: RefCell::new(Engine::new(engine)),
            heap: RefCell::default(),
            facets: RefCell::default(),
            watches: RefCell::default(),
            turn: TurnState::default(),
            tasks: RefCell::default(),
            cancellable: Cancellable::default(),
            time: Time::default(),
            woken: Arc::default(),
            releases: RefCell::default(),
            abandoned: RefCell::default(),
            discarded: RefCell::default(),
            untidy: Cell::new(false),
            closed: RefCell::default(),
            dials: RefCell::default(),
            running: Cell::new(false),
            roused: Cell::new(false),
            netlayer: RefCell::default(),
            unheeded: Cell::new(0),
            silent: Cell::new(false),
            durable: OnceCell::new(),
        }))
    }

    /// One turn from outside, run at once.
    ///
    /// # Errors
    ///
    /// The body's own error, after everything the turn did was rolled back.
    pub fn turn<R>(&self, body: impl FnOnce(&Turn) -> Result<R>) -> Result<R> {
        let result = self.0.transact(body);
        self.0.tidy();
        self.0.rouse();
        result
    }

    /// Runs what is queued, at most `budget` pieces of work, and says how many it were. Fewer than
    /// `budget`: nothing is left to do for now.
    pub fn run(&self, budget: usize) -> usize {
        let outer = self.0.running.replace(true);
        let done = (0..budget).take_while(|_| self.0.step()).count();
        self.0.running.set(outer);
        self.0.roused.set(false);
        done
    }

    /// Gives all of these bytes to a connection, and runs the vat in between.
    #[cfg(test)]
    pub(crate) fn feed(&self, conn: ConnId, bytes: &[u8], mut fds: Vec<std::os::fd::OwnedFd>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let given = std::mem::take(&mut fds);
            let taken = self.engine(|engine| engine.handle_bytes(conn, rest, given));
            rest = rest.get(taken..).unwrap_or_default();
            if !rest.is_empty() {
                self.run(32);
            }
        }
    }

    /// Access to the engine: for whoever drives the vat's connections. Call [`run`](Self::run)
    /// afterwards.
    pub(crate) fn engine<R>(&self, act: impl FnOnce(&mut Engine<VatHost>) -> R) -> R {
        self.0.engine(act)
    }

    /// A reference for a node of the engine, of which it takes over one count.
    pub(crate) fn adopt(&self, node: NodeId) -> Ref {
        Ref::from_node(&self.0, node)
    }

    /// The engine's node of a reference, borrowed.
    pub(crate) fn node(&self, reference: &Ref) -> NodeId {
        reference.node()
    }

    /// Calls `wake` whenever a task was woken while the vat does not run, from whatever thread.
    pub fn on_wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.woken.set_driver(wake);
    }

    /// Whether a task was woken since the vat last ran.
    pub fn is_woken(&self) -> bool {
        self.0.woken.any()
    }

    /// Tells the vat the time, counted from any moment; earlier than before counts as no time passed.
    /// Call [`run`](Self::run) afterwards. A vat that is told no time waits for ever.
    pub fn handle_time(&self, now: Duration) {
        self.0.pass_time(now);
    }

    /// Asks `clock`, on the same scale, when something begins to wait: it may be long since the vat was
    /// told the time. Its answers are inputs of the vat, as the times are that it is told.
    pub fn on_time(&self, clock: Rc<dyn Fn() -> Duration>) {
        self.0.time.set_clock(clock);
    }

    /// The next moment, on the scale of [`handle_time`](Self::handle_time), at which something is
    /// due. It may become earlier whenever the vat runs.
    pub fn deadline(&self) -> Option<Duration> {
        let engine = self.engine(|engine| engine.deadline());
        [engine, self.next_timer()].into_iter().flatten().min()
    }

    /// The same for what the vat itself waits for, without the engine.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.0.time.next()
    }

    /// The connections that the engine has asked for since this was last asked.
    pub(crate) fn take_dials(&self) -> Vec<Dial> {
        std::mem::take(&mut *self.0.dials.borrow_mut())
    }

    /// The connections that were closed since this was last asked, with the reason.
    pub(crate) fn take_closed(&self) -> Vec<(ConnId, CloseReason)> {
        std::mem::take(&mut *self.0.closed.borrow_mut())
    }

    /// What its references and turns point to.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.0
    }

    /// Tells whoever drives the vat, from whatever thread, that there is something to do.
    pub(crate) fn waker(&self) -> impl Fn() + Send + Sync + use<> {
        let woken = Arc::clone(&self.0.woken);
        move || woken.call_driver()
    }

    /// How far the disk has to be, and is, for what the vat says now; `None` without a store.
    #[inline]
    pub(crate) fn passage(&self) -> Option<Passage> {
        let graph = self.0.durable.get()?;
        Some(graph.advance(&self.0))
    }

    /// Whether the vat has a durable store.
    pub(crate) fn has_store(&self) -> bool {
        self.0.durable.get().is_some()
    }

    /// Why the vat's state cannot be written, if it cannot.
    pub(crate) fn store_failure(&self) -> Option<String> {
        self.0.durable.get()?.failure()
    }

    /// What connects the vat to others, if anything does.
    pub(crate) fn netlayer(&self) -> Option<Rc<dyn Any>> {
        self.0.netlayer()
    }

    /// What connects the vat to others from now on, unless there is something already.
    pub(crate) fn offer_netlayer(&self, netlayer: Weak<dyn Any>) {
        if self.0.netlayer().is_none() {
            self.0.netlayer.replace(Some(netlayer));
        }
    }

    /// How many objects are alive.
    pub fn objects(&self) -> usize {
        self.0.heap.borrow().len()
    }

    /// How many promises have broken without anybody who saw why, and were not
    /// [detached](crate::Promise::detach). Each was logged once.
    pub fn unheeded(&self) -> u64 {
        self.0.unheeded.get()
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

/// The vat ends. Tasks, queue and states are taken out, as they may hold the vat itself or each
/// other; whoever waits for something of it is told.
impl Drop for Vat {
    fn drop(&mut self) {
        let vat = &self.0;
        vat.silent.set(true);
        if let Err(ended) = vat_ended::<()>() {
            vat.retire_supervisors(&ended);
        }
        let bodies = vat.tasks.borrow_mut().take_all();
        quietly(|| drop(bodies));
        if let Some(graph) = vat.durable.get() {
            quietly(|| graph.let_go(vat));
        }
        let timers = vat.time.take_all();
        quietly(|| drop(timers));
        let engine = vat.engine.replace(Engine::new(captp::Config::default()));
        quietly(|| drop(engine));
        let facets = vat.facets.borrow_mut().take_all();
        let watches = vat.watches.borrow_mut().take_all();
        let objects = vat.heap.borrow().objects();
        for object in objects {
            quietly(|| drop(object.take_state()));
        }
        quietly(|| drop(facets));
        quietly(|| drop(watches));
        vat.break_abandoned(vat_ended::<()>().err().as_ref());
        vat.tidy();
    }
}

impl fmt::Debug for Vat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vat")
            .field("name", &self.0.name)
            .field("objects", &self.objects())
            .finish_non_exhaustive()
    }
}

/// What references and turns point to.
pub struct Shared {
    pub(crate) name: String,
    /// Borrowed while no code of a program runs, but for its `Data` code that writes what leaves the
    /// vat: a send from in there is a panic, which `write_leaving` makes the message's failure, and
    /// what is dropped in there is given back later.
    pub(crate) engine: RefCell<Engine<VatHost>>,
    pub(crate) heap: RefCell<Heap>,
    pub(crate) facets: RefCell<Facets>,
    pub(crate) watches: RefCell<Watches>,
    pub(crate) turn: TurnState,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) cancellable: Cancellable,
    pub(crate) time: Time,
    pub(crate) woken: Arc<Woken>,
    /// Counts that dropped references give back.
    releases: RefCell<Vec<NodeId>>,
    /// Promises without a resolver and calls that nobody answered.
    abandoned: RefCell<Vec<Box<dyn Breakable>>>,
    /// Values whose `Drop` code has to wait until the engine is free.
    discarded: RefCell<Vec<Box<dyn Any>>>,
    /// One of the three has come to hold something.
    untidy: Cell<bool>,
    closed: RefCell<Vec<(ConnId, CloseReason)>>,
    dials: RefCell<Vec<Dial>>,
    /// The vat is being run: what comes up now is done in the same run.
    running: Cell<bool>,
    /// Whoever drives the vat was told that there is something to do.
    roused: Cell<bool>,
    /// What connects this vat to others; the core does not know what that is.
    netlayer: RefCell<Option<Weak<dyn Any>>>,
    /// Promises that broke unseen.
    unheeded: Cell<u64>,
    /// What breaks now was taken back, or goes with the vat.
    pub(crate) silent: Cell<bool>,
    /// What is kept on disk, if the vat has a store.
    pub(crate) durable: OnceCell<Rc<Graph>>,
}

/// Places for dropped references that are kept.
const RELEASES_KEPT: usize = 64;

/// How the vat uses the engine.
#[derive(Debug)]
pub(crate) struct VatHost;

/// A connection that the engine asks for: see [`Output::Dial`].
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) request: DialId,
    pub(crate) introduction: Introduction,
    pub(crate) addresses: Vec<String>,
}

impl Host for VatHost {
    type Call = Box<dyn Call>;
    type Reply = Rc<dyn Reply>;
    type Job = Job;
}

/// A piece of the vat's own work in the queue.
pub(crate) enum Job {
    /// A callback, a settlement, the start of a task.
    Work(Box<dyn Work>),
    /// The next stretch of a task.
    Poll(TaskId),
}

/// What waits for somebody who will not come.
pub(crate) trait Breakable {
    fn break_with(self: Box<Self>, vat: &Rc<Shared>, reason: Error);
}

impl Breakable for Message {
    fn break_with(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        (*self).fail(vat, reason);
    }
}

impl Shared {
    /// What connects the vat to others, if anything does.
    pub(crate) fn netlayer(&self) -> Option<Rc<dyn Any>> {
        self.netlayer.borrow().as_ref()?.upgrade()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn engine<R>(&self, act: impl FnOnce(&mut Engine<VatHost>) -> R) -> R {
        act(&mut self.engine.borrow_mut())
    }

    /// References for all these nodes, whose counts they take over.
    pub(crate) fn adopt_all(self: &Rc<Self>, nodes: Vec<NodeId>) -> Vec<Ref> {
        if nodes.is_empty() {
            return Vec::new();
        }
        nodes
            .into_iter()
            .map(|node| Ref::from_node(self, node))
            .collect()
    }

    /// Gives these counts back, between turns.
    pub(crate) fn release_all(&self, nodes: Vec<NodeId>) {
        self.engine(|engine| nodes.into_iter().for_each(|node| engine.release(node)));
    }

    pub(crate) fn release_later(&self, node: NodeId) {
        self.releases.borrow_mut().push(node);
        self.untidy.set(true);
        self.rouse();
    }

    /// Something is to be done that nobody drives the vat for yet: what was sent, or dropped,
    /// outside of its turns.
    pub(crate) fn rouse(&self) {
        if !self.running.get() && !self.roused.replace(true) {
            self.woken.call_driver();
        }
    }

    pub(crate) fn abandon(&self, what: Box<dyn Breakable>) {
        self.abandoned.borrow_mut().push(what);
        self.untidy.set(true);
        self.rouse();
    }

    /// A promise has broken, and nobody will see why.
    pub(crate) fn report_unheeded(&self, reason: &Error) {
        if !self.silent.get() {
            self.unheeded.set(self.unheeded.get() + 1);
            tracing::warn!(vat = %self.name, err = %reason, "a promise broke, and nobody waited for it");
        }
    }

    pub(crate) fn discard(&self, value: Box<dyn Any>) {
        self.discarded.borrow_mut().push(value);
        self.untidy.set(true);
    }

    /// Runs the next piece of work; `false` if there is none.
    fn step(self: &Rc<Self>) -> bool {
        loop {
            self.queue_woken();
            let output = self.engine(Engine::poll_output);
            match output {
                Some(output) => {
                    self.handle(output);
                    self.tidy();
                    return true;
                }
                None if self.tidy() || self.woken.any() => {}
                None => return false,
            }
        }
    }

    fn handle(self: &Rc<Self>, output: Output<VatHost>) {
        // Turns catch panics themselves; this is for a program's code outside of turns, such as
        // `Drop` and `Data`.
        let done = catch_unwind(AssertUnwindSafe(|| self.dispatch(output)));
        if let Err(panic) = done {
            // What runs next is nobody's call.
            self.turn.caller.set(None);
            self.turn.deadline.set(None);
            let error = Error::panicked(panic.as_ref());
            tracing::error!(vat = %self.name, err = %error, "a panic outside of any turn");
            quietly(|| drop(panic));
        }
    }

    fn dispatch(self: &Rc<Self>, output: Output<VatHost>) {
        match output {
            Output::Deliver {
                object,
                call: Incoming::Local(call),
            } => {
                self.deliver(object, Message::Local(call));
            }
            Output::Deliver {
                object,
                call: Incoming::Wire(call),
            } => {
                self.deliver(object, Message::Wire(call));
            }
            Output::Returned { reply, result } => {
                reply.returned(self, result.map_err(Error::from));
            }
            Output::Failed { call, reason } => call.fail(self, Error::from(reason)),
            Output::Run(Job::Work(work)) => work.run(self),
            Output::Run(Job::Poll(task)) => self.poll_task(task),
            Output::Dropped(object) => self.drop_facet(object),
            Output::Cancelled(call) => self.call_cancelled(CallId::of(&call), cancelled()),
            Output::Closed { conn, reason } => {
                self.closed.borrow_mut().push((conn, reason));
                self.callers_gone(conn);
            }
            Output::Dial {
                request,
                introduction,
                addresses,
            } => self.dials.borrow_mut().push(Dial {
                request,
                introduction,
                addresses,
            }),
        }
    }

    /// Gives back what was dropped. Says whether there was anything.
    fn tidy(self: &Rc<Self>) -> bool {
        let mut any = false;
        while self.untidy.take() {
            any |= !self.abandoned.borrow().is_empty();
            self.break_abandoned(None);
            let discarded = self.discarded.take();
            let mut releases = self.releases.take();
            any |= !discarded.is_empty() || !releases.is_empty();
            if !discarded.is_empty() {
                quietly(|| drop(discarded));
            }
            self.engine(|engine| releases.drain(..).for_each(|node| engine.release(node)));
            // The room for a few is kept for the next.
            if releases.capacity() <= RELEASES_KEPT && self.releases.borrow().is_empty() {
                self.releases.replace(releases);
            }
        }
        any
    }

    /// Breaks promises and calls that nobody can answer any more.
    pub(crate) fn break_abandoned(self: &Rc<Self>, reason: Option<&Error>) {
        while !self.abandoned.borrow().is_empty() {
            let abandoned = self.abandoned.take();
            let dropped = || Error::failed("the call was dropped without an answer");
            for what in abandoned {
                // One that panics must not take the others with it.
                quietly(|| what.break_with(self, reason.cloned().unwrap_or_else(dropped)));
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
