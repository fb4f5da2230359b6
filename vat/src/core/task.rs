//! Tasks: `async` bodies, whose every stretch between two waits is a turn.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::death::Stretch;
use super::heap::AnyObject;
use super::quietly;
use super::turn::{Effect, Work};
use super::vat::{Job, Shared};
use crate::error::{Error, Result};

/// Which task; stale once the task is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TaskId {
    slot: u32,
    generation: u32,
}

/// The tasks of a vat that wait for something.
#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// A place and a waker that a task used which never waited.
    spare: Option<Arc<WakeUp>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    task: Option<Task>,
    /// It is to end with this reason when its stretch is over.
    broken: Option<Error>,
}

struct Task {
    body: Box<dyn Body>,
    wake: Arc<WakeUp>,
    owner: Owner,
    /// When who asked for it gives up.
    deadline: Option<Duration>,
}

/// The watched object whose method a body is, if it is one.
pub(crate) type Owner = Option<Rc<dyn AnyObject>>;

impl Tasks {
    /// Takes every task, when the vat ends.
    pub(crate) fn take_all(&mut self) -> Vec<Box<dyn Body>> {
        let tasks = self.slots.iter_mut().filter_map(|slot| slot.task.take());
        tasks.map(|task| task.body).collect()
    }

    /// A place for a task, with its waker.
    fn reserve(&mut self, woken: &Arc<Woken>) -> Arc<WakeUp> {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = self
            .slots
            .get(slot as usize)
            .map_or(0, |slot| slot.generation);
        let id = TaskId { slot, generation };
        Arc::new(WakeUp {
            id,
            queued: AtomicBool::new(false),
            woken: Arc::clone(woken),
        })
    }

    fn keep(&mut self, task: Task) {
        if let Some(slot) = self.slots.get_mut(task.wake.id.slot as usize) {
            slot.task = Some(task);
        }
    }

    /// Takes a task that is to end, or notes that it is to, if it takes part in a turn.
    fn break_off(&mut self, id: TaskId, reason: &Error) -> Option<Task> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        if slot.task.is_none() {
            slot.broken = Some(reason.clone());
        }
        slot.task.take()
    }

    /// Why a task is to end that was taking part in a turn, if it is.
    fn take_broken(&mut self, id: TaskId) -> Option<Error> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.broken.take()
    }

    /// The task takes part in a turn now.
    fn take(&mut self, id: TaskId) -> Option<Task> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.task.take()
    }

    /// The task is done: its place is free again.
    fn release(&mut self, wake: Arc<WakeUp>) {
        let unshared = Arc::strong_count(&wake) == 1 && !wake.queued.load(Ordering::Acquire);
        if unshared && self.spare.is_none() {
            drop(self.take_broken(wake.id));
            self.spare = Some(wake);
            return;
        }
        let index = wake.id.slot;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.broken = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
    }
}

/// Tasks that were woken, from whatever thread, and how to tell the vat's driver.
#[derive(Default)]
pub(crate) struct Woken {
    some: AtomicBool,
    list: Mutex<Vec<TaskId>>,
    driver: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Woken {
    pub(crate) fn set_driver(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    pub(crate) fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    fn push(&self, id: TaskId) {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
        if !self.some.swap(true, Ordering::AcqRel) {
            self.call_driver();
        }
    }

    /// Tells whoever drives the vat that there is something to run.
    pub(crate) fn call_driver(&self) {
        let driver = self
            .driver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(wake) = driver {
            wake();
        }
    }

    fn take(&self) -> Vec<TaskId> {
        if !self.some.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The waker of one task.
struct WakeUp {
    id: TaskId,
    queued: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.woken.push(self.id);
        }
    }
}

/// A body that waits, and who gets its result.
pub(crate) trait Body {
    /// Runs one stretch inside a turn. `Ok(true)`: it is done.
    fn stretch(&mut self, cx: &mut Context<'_>) -> Result<bool>;
    /// After the last stretch's turn.
    fn finish(self: Box<Self>, vat: &Rc<Shared>, outcome: Result<()>);
}

struct Running<F, R, D> {
    future: Pin<Box<F>>,
    result: Option<R>,
    done: D,
}

impl<F, R, D> Body for Running<F, R, D>
where
    F: Future<Output = Result<R>>,
    D: FnOnce(&Rc<Shared>, Result<R>),
{
    fn stretch(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        match self.future.as_mut().poll(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(result) => {
                self.result = Some(result?);
                Ok(true)
            }
        }
    }

    fn finish(self: Box<Self>, vat: &Rc<Shared>, outcome: Result<()>) {
        let Self {
            future,
            result,
            done,
        } = *self;
        quietly(|| drop(future));
        let lost = || Error::failed("the body ended without a result");
        done(vat, outcome.and_then(|()| result.ok_or_else(lost)));
    }
}

/// Starts a body at the tail of the queue, when the running turn commits.
pub(crate) fn start<F, R, D>(vat: &Rc<Shared>, future: F, done: D)
where
    F: Future<Output = Result<R>> + 'static,
    R: 'static,
    D: FnOnce(&Rc<Shared>, Result<R>) + 'static,
{
    vat.effect(Effect::Enqueue(Box::new(Start { future, done })));
}

/// Makes a body and runs its first stretch, in a turn that begins now. Only a body that waits
/// becomes a task, which is given.
pub(crate) fn run_first<F, R, D>(
    vat: &Rc<Shared>,
    owner: Owner,
    make: impl FnOnce() -> Result<F>,
    done: D,
) -> Option<TaskId>
where
    F: Future<Output = Result<R>> + 'static,
    R: 'static,
    D: FnOnce(&Rc<Shared>, Result<R>) + 'static,
{
    let wake = vat.tasks.borrow_mut().reserve(&vat.woken);
    let waker = Waker::from(Arc::clone(&wake));
    let place: RefCell<Option<Pin<Box<F>>>> = RefCell::new(None);
    let outcome = vat.transact(|_| {
        let future = Box::pin(make()?);
        let mut place = place.borrow_mut();
        let future = place.insert(future);
        let stretch = owner.as_ref().map(|owner| Stretch::new(vat, owner));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if let Some(stretch) = stretch {
            stretch.leave();
        }
        match polled {
            Poll::Pending => Ok(None),
            Poll::Ready(result) => result.map(Some),
        }
    });
    drop(waker);
    match (outcome, place.into_inner()) {
        (Ok(None), Some(future)) => {
            let body: Box<dyn Body> = Box::new(Running {
                future,
                result: None,
                done,
            });
            let id = wake.id;
            let deadline = vat.turn.deadline.get();
            let task = Task {
                body,
                wake,
                owner,
                deadline,
            };
            vat.keep_task(task).then_some(id)
        }
        (outcome, future) => {
            quietly(|| drop(future));
            let lost = || Error::failed("the body ended without a result");
            done(vat, outcome.and_then(|result| result.ok_or_else(lost)));
            // Its place is free when nobody can name the task any more.
            vat.tasks.borrow_mut().release(wake);
            None
        }
    }
}

/// A body that waits for its first turn.
struct Start<F, D> {
    future: F,
    done: D,
}

impl<F, R, D> Work for Start<F, D>
where
    F: Future<Output = Result<R>> + 'static,
    R: 'static,
    D: FnOnce(&Rc<Shared>, Result<R>) + 'static,
{
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { future, done } = *self;
        run_first(vat, None, || Ok(future), done);
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        let Self { future, done } = *self;
        quietly(|| drop(future));
        done(vat, Err(reason));
    }
}

impl Shared {
    /// Puts tasks that were woken at the tail of the queue.
    pub(crate) fn queue_woken(&self) -> bool {
        let woken = self.woken.take();
        for id in &woken {
            self.engine(|engine| engine.enqueue(Job::Poll(*id)));
        }
        !woken.is_empty()
    }

    /// Runs the next stretch of a task.
    pub(crate) fn poll_task(self: &Rc<Self>, id: TaskId) {
        let taken = self.tasks.borrow_mut().take(id);
        let Some(mut task) = taken else {
            return;
        };
        task.wake.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&task.wake));
        let outcome = self.transact_by(task.deadline, |_| {
            let owner = task.owner.as_ref();
            let stretch = owner.map(|owner| Stretch::new(self, owner));
            let outcome = task.body.stretch(&mut Context::from_waker(&waker));
            if let Some(stretch) = stretch {
                stretch.leave();
            }
            outcome
        });
        drop(waker);
        match outcome {
            Ok(false) => {
                self.keep_task(task);
            }
            Ok(true) => self.finish_task(task, Ok(())),
            Err(error) => self.finish_task(task, Err(error)),
        }
    }

    /// The task waits, unless the object died meanwhile whose method it is, or nobody wants it.
    fn keep_task(self: &Rc<Self>, task: Task) -> bool {
        if let Some(owner) = &task.owner
            && !self.note_task(owner, task.wake.id)
        {
            let reason = Self::lost_with(owner);
            self.finish_task(task, Err(reason));
            return false;
        }
        let broken = self.tasks.borrow_mut().take_broken(task.wake.id);
        if let Some(reason) = broken {
            self.finish_task(task, Err(reason));
            return false;
        }
        self.tasks.borrow_mut().keep(task);
        true
    }

    /// Ends a task that waits.
    pub(crate) fn break_task(self: &Rc<Self>, id: TaskId, reason: Error) {
        let task = self.tasks.borrow_mut().break_off(id, &reason);
        if let Some(task) = task {
            self.finish_task(task, Err(reason));
        }
    }

    fn finish_task(self: &Rc<Self>, task: Task, outcome: Result<()>) {
        let Task {
            body, wake, owner, ..
        } = task;
        if let Some(owner) = &owner {
            self.forget_task(owner, wake.id);
        }
        quietly(|| body.finish(self, outcome));
        self.tasks.borrow_mut().release(wake);
    }
}
