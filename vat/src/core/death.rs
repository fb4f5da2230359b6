//! How an object dies, and who is told.
//!
//! An object dies in three ways: a panic passes through it, it ends itself, or it is ended by who
//! supervises it. However it dies, it dies once: its state is taken, every reference to it breaks with
//! [`ErrorKind::Dead`], and whoever watches it is told in a later turn.
//!
//! # What a panic kills
//!
//! - Every *external* object on the near-call stack through which the panic passes.
//! - The innermost *watched* one of them, one that a supervisor started. What it called is a part of
//!   it and is rolled back with it; those further out called it as they might call another vat, and
//!   live. A stretch of a watched object's `async` method belongs to that object as well.
//! - Nothing else: a transactional object that nobody watches goes back to its old state and lives.
//!
//! A panic that is caught on its way has killed those that it had passed; what they did stays, if the
//! turn goes on and commits. If the object whose method caught it panics itself in the same turn, that
//! counts as the same panic.
//!
//! Callbacks and bodies of `spawn_async` belong to no object.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::heap::{AnyObject, Object};
use super::near::Near;
use super::quietly;
use super::task::TaskId;
use super::turn::{Effect, Turn, Work};
use super::vat::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::supervisor::{ChildId, ExitReason, Incarnation};

/// Whether an object is alive, and whether somebody watches it: in the room of one number, as every
/// object has it.
pub(crate) struct Fate(Cell<u32>);

const UNWATCHED: u32 = u32::MAX;
const DEAD: u32 = u32::MAX - 1;

impl Default for Fate {
    fn default() -> Self {
        Self(Cell::new(UNWATCHED))
    }
}

impl Fate {
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.0.get() == DEAD
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.get() < DEAD
    }

    /// The place of who watches it.
    fn place(&self) -> Option<u32> {
        Some(self.0.get()).filter(|place| *place < DEAD)
    }
}

/// Who is told of the end of an object.
pub(crate) trait Watcher {
    /// This life of this child is over. Between turns, once for each life.
    fn ended(self: Rc<Self>, child: ChildId, life: Incarnation, reason: ExitReason);
}

/// A supervisor that the vat keeps alive.
pub(crate) trait Root {
    /// The vat ends: lets go of everything, as a program's code may hold the supervisor itself.
    fn retire(&self, reason: &Error);
}

/// The watched objects of a vat.
#[derive(Default)]
pub(crate) struct Watches {
    slots: Vec<Option<Watch>>,
    free: Vec<u32>,
    /// Supervisors that are nobody's children.
    roots: Vec<Rc<dyn Root>>,
}

pub(crate) struct Watch {
    watcher: Rc<dyn Watcher>,
    child: ChildId,
    life: Incarnation,
    /// `async` methods of the object that wait for something.
    tasks: BTreeSet<TaskId>,
}

impl Watches {
    fn insert(&mut self, watch: Watch) -> u32 {
        let free = self.free.pop();
        if let Some(slot) = free.and_then(|place| self.slots.get_mut(place as usize)) {
            *slot = Some(watch);
            return free.unwrap_or_default();
        }
        self.slots.push(Some(watch));
        u32::try_from(self.slots.len() - 1).unwrap_or(DEAD)
    }

    fn remove(&mut self, place: u32) -> Option<Watch> {
        let watch = self.slots.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(watch)
    }

    fn of(&mut self, object: &dyn AnyObject) -> Option<&mut Watch> {
        let place = object.head().fate.place()?;
        self.slots.get_mut(place as usize)?.as_mut()
    }

    /// Takes all of them, when the vat ends.
    pub(crate) fn take_all(&mut self) -> Vec<Watch> {
        self.slots.drain(..).flatten().collect()
    }
}

/// An object that died in the running turn, with the place of who watched it.
pub(crate) struct Victim {
    object: Rc<dyn AnyObject>,
    watched: Option<u32>,
}

/// A frame of the near stack.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// How deep it is, from 1 on; 0 is what runs below all near calls.
    pub(crate) depth: u32,
    /// The object's place in the heap.
    pub(crate) slot: u32,
    /// That of the object whose method made the call.
    pub(crate) outer: u32,
}

/// How far the panic that is passing through the running turn has come.
#[derive(Default)]
pub(crate) struct Panicking {
    /// The frame that it passed last.
    passed: Cell<Option<Frame>>,
    /// It has killed a watched object.
    claimed: Cell<bool>,
}

impl Panicking {
    pub(crate) fn reset(&self) {
        self.passed.set(None);
    }

    /// It passes this frame. Whether it has killed no watched object further in: one that does not
    /// come from the frame that this one called is another panic.
    fn passes(&self, frame: Frame) -> bool {
        let inner = self.passed.replace(Some(frame));
        let same = |inner: Frame| {
            let called = inner.outer == frame.slot || frame.depth == 0;
            inner.depth == frame.depth + 1 && called
        };
        if !inner.is_some_and(same) {
            self.claimed.set(false);
        }
        !self.claimed.get()
    }
}

/// A stretch of an `async` method of a watched object. Ended by `leave`, or by a panic.
pub(crate) struct Stretch<'a> {
    owner: &'a Rc<dyn AnyObject>,
    vat: &'a Shared,
}

impl<'a> Stretch<'a> {
    pub(crate) fn new(vat: &'a Shared, owner: &'a Rc<dyn AnyObject>) -> Self {
        Self { owner, vat }
    }

    pub(crate) fn leave(self) {
        // Not dropped: that is for panics.
        let _left = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for Stretch<'_> {
    #[cold]
    fn drop(&mut self) {
        let slot = self.owner.head().slot;
        let frame = Frame {
            depth: 0,
            slot,
            outer: slot,
        };
        self.vat
            .panic_passes(frame, false, || Rc::clone(self.owner));
    }
}

impl<T: Object> Near<T> {
    /// Ends the object when the turn commits: its state is dropped, references to it break with
    /// [`ErrorKind::Dead`], and its supervisor, if it has one, is told this reason and decides by it
    /// whether the object is started again. What the turn sent is sent; its call is answered. An
    /// object that is dead stays dead, and nobody is told again.
    pub fn end(&self, turn: &Turn, reason: ExitReason) {
        let object: Rc<dyn AnyObject> = Rc::<super::heap::Obj<T>>::clone(&self.0);
        let own = self.0.head.vat.upgrade();
        // In a turn of another vat this is the same mistake as a send.
        let vat = own.as_ref().unwrap_or(&turn.0);
        vat.effect(Effect::Now(Box::new(End { object, reason })));
    }

    /// Whether the object is dead: a panic killed it, or it was ended.
    pub fn is_dead(&self) -> bool {
        self.0.head.fate.is_dead()
    }
}

/// An `end` that waits for its commit.
struct End {
    object: Rc<dyn AnyObject>,
    reason: ExitReason,
}

impl Work for End {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        vat.end_object(&self.object, self.reason);
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// A death notice in the queue.
struct Notice {
    watch: Watch,
    reason: ExitReason,
}

impl Work for Notice {
    fn run(self: Box<Self>, _: &Rc<Shared>) {
        let Watch {
            watcher,
            child,
            life,
            ..
        } = self.watch;
        watcher.ended(child, life, self.reason);
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// What calls of a dead object are answered with.
#[cold]
pub(crate) fn dead(object: &dyn AnyObject) -> Error {
    Error::internal(
        ErrorKind::Dead,
        format!("{object} is dead: a panic passed through it, or it was ended"),
        "the object is dead",
    )
}

/// What calls are answered with that a dead object had begun.
#[cold]
fn lost(object: &dyn AnyObject) -> Error {
    Error::internal(
        ErrorKind::Dead,
        format!("{object} died before it answered; the call may have run"),
        "the object died before it answered; the call may have run",
    )
}

impl Shared {
    /// From now on `watcher` is told when this object dies, as this life of this child.
    ///
    /// # Errors
    ///
    /// If the object is dead, or somebody else watches it.
    pub(crate) fn watch(
        &self,
        object: &Rc<dyn AnyObject>,
        watcher: Rc<dyn Watcher>,
        child: ChildId,
        life: Incarnation,
    ) -> Result<()> {
        let fate = &object.head().fate;
        if fate.is_dead() {
            return Err(dead(&**object));
        }
        if fate.is_watched() {
            let what = format!("{object} is already the child of a supervisor");
            return Err(Error::failed(what));
        }
        let place = self.watches.borrow_mut().insert(Watch {
            watcher,
            child,
            life,
            tasks: BTreeSet::new(),
        });
        fate.0.set(place);
        Ok(())
    }

    /// Keeps a supervisor alive that is nobody's child.
    pub(crate) fn keep_supervisor(&self, supervisor: Rc<dyn Root>) {
        self.watches.borrow_mut().roots.push(supervisor);
    }

    pub(crate) fn forget_supervisor(&self, supervisor: &Rc<dyn Root>) {
        let roots = &mut self.watches.borrow_mut().roots;
        roots.retain(|root| !Rc::ptr_eq(root, supervisor));
    }

    /// Ends all supervisors together with the vat.
    pub(crate) fn retire_supervisors(&self, reason: &Error) {
        let roots = std::mem::take(&mut self.watches.borrow_mut().roots);
        roots.iter().for_each(|root| root.retire(reason));
    }

    /// A panic passes through this frame, a method of `object`.
    #[cold]
    pub(crate) fn panic_passes(
        &self,
        frame: Frame,
        external: bool,
        object: impl FnOnce() -> Rc<dyn AnyObject>,
    ) {
        let unclaimed = self.turn.panicking.passes(frame);
        let object = object();
        let head = object.head();
        let claims = unclaimed && head.fate.is_watched();
        if head.fate.is_dead() || !(external || claims) {
            return;
        }
        if claims {
            self.turn.panicking.claimed.set(true);
        }
        let watched = head.fate.place();
        head.fate.0.set(DEAD);
        // The next `&mut` call takes the slow path, which looks at its fate.
        head.touched.set(0);
        self.turn.died.borrow_mut().push(Victim { object, watched });
    }

    /// Ends an object now, between turns; nothing happens if it is dead.
    pub(crate) fn end_object(self: &Rc<Self>, object: &Rc<dyn AnyObject>, reason: ExitReason) {
        let head = object.head();
        if head.fate.is_dead() {
            return;
        }
        let watched = head.fate.place();
        head.fate.0.set(DEAD);
        head.touched.set(0);
        let object = Rc::clone(object);
        self.bury_one(Victim { object, watched }, reason);
    }

    /// Takes the states of what died in the turn that failed with this reason.
    #[cold]
    pub(crate) fn bury_victims(self: &Rc<Self>, reason: Option<&Error>) {
        // What the rollback itself dropped has the turn's own reason.
        self.break_abandoned(reason);
        let panic = reason.filter(|reason| reason.kind() == ErrorKind::Panicked);
        let text = panic.map_or_else(|| "a panic that was caught".to_owned(), Error::to_string);
        for victim in self.turn.died.take() {
            tracing::warn!(vat = %self.name, object = %victim.object, "an object died in a panic");
            self.bury_one(victim, ExitReason::Abnormal(text.clone()));
        }
    }

    fn bury_one(self: &Rc<Self>, victim: Victim, reason: ExitReason) {
        let Victim { object, watched } = victim;
        let watch = watched.and_then(|place| self.watches.borrow_mut().remove(place));
        if let Some(graph) = self.durable.get() {
            graph.dies(self, &*object);
        }
        quietly(|| drop(object.take_state()));
        if let Some(mut watch) = watch {
            for task in std::mem::take(&mut watch.tasks) {
                self.break_task(task, lost(&*object));
            }
            self.apply(Effect::Enqueue(Box::new(Notice { watch, reason })));
        }
        self.break_abandoned(Some(&lost(&*object)));
    }

    /// An `async` method of this object begins to wait. Whether it may: not if the object is dead.
    pub(crate) fn note_task(&self, owner: &Rc<dyn AnyObject>, task: TaskId) -> bool {
        if let Some(watch) = self.watches.borrow_mut().of(&**owner) {
            watch.tasks.insert(task);
        }
        !owner.head().fate.is_dead()
    }

    /// An `async` method of this object does not wait any more.
    pub(crate) fn forget_task(&self, owner: &Rc<dyn AnyObject>, task: TaskId) {
        if let Some(watch) = self.watches.borrow_mut().of(&**owner) {
            watch.tasks.remove(&task);
        }
    }

    /// What an `async` method of this object is answered with that waits while the object dies.
    pub(crate) fn lost_with(owner: &Rc<dyn AnyObject>) -> Error {
        lost(&**owner)
    }

    /// The state of an object of this type, between turns; `None` if it is dead.
    pub(crate) fn state_of<T: Object, R>(
        object: &Rc<dyn AnyObject>,
        read: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let any: &dyn Any = &**object;
        let object = any.downcast_ref::<super::heap::Obj<T>>()?;
        Some(read(object.state.try_borrow().ok()?.as_ref()?))
    }
}
