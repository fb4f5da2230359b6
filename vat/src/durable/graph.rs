//! The durable objects of a running vat: which they are, what has changed, what the disk knows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use super::codec::{self, CodecError};
use super::record;
use super::store::{Batch, Store};
use crate::core::{AnyObject, Near, Obj, Shared, quietly};
use crate::error::{Error, ErrorKind, Result};

/// What a vat with a store knows of its durable objects.
pub(crate) struct Graph {
    pub(super) store: Store,
    /// By the objects' places in the heap.
    rows: RefCell<Vec<Row>>,
    /// The objects that have numbers.
    objects: RefCell<BTreeMap<u64, Weak<dyn AnyObject>>>,
    pub(super) roots: RefCell<BTreeMap<String, Rc<dyn AnyObject>>>,
    /// Objects that the running turn has changed, and roots that it has made.
    touched: RefCell<Vec<Rc<dyn AnyObject>>>,
    pub(super) made: RefCell<Vec<(String, Rc<dyn AnyObject>)>>,
    /// Whose state the disk does not know.
    dirty: RefCell<Vec<Rc<dyn AnyObject>>>,
    new_roots: RefCell<Vec<(String, u64)>>,
    gone_roots: RefCell<Vec<String>>,
    /// States of objects that have died, as they were last: what a next life begins with.
    left: RefCell<BTreeMap<u64, Left>>,
    /// Objects that wait for their states while others are brought back.
    awaiting: RefCell<Vec<(u64, Rc<dyn AnyObject>)>>,
    pub(super) far: super::far::Known,
    next: Cell<u64>,
    /// Batches that were given to the store.
    cut: Cell<u64>,
}

/// What is known of the object at one place in the heap.
#[derive(Clone, Copy, Default)]
struct Row {
    generation: u32,
    dirty: bool,
    /// The object's number in the store; 0 for none.
    id: u64,
}

/// What a dead object has left.
struct Left {
    record: Vec<u8>,
    /// The disk has it.
    written: bool,
}

/// How far the disk has to be for what the vat says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The batch that must be on disk before what is said now may leave.
    pub(crate) needs: u64,
    /// The last batch that is.
    pub(crate) done: u64,
}

impl Passage {
    pub(crate) fn is_open(self) -> bool {
        self.needs <= self.done
    }
}

impl Graph {
    pub(super) fn new(store: Store) -> Self {
        Self {
            next: Cell::new(store.next_id()),
            store,
            rows: RefCell::default(),
            objects: RefCell::default(),
            roots: RefCell::default(),
            touched: RefCell::default(),
            made: RefCell::default(),
            dirty: RefCell::default(),
            new_roots: RefCell::default(),
            gone_roots: RefCell::default(),
            left: RefCell::default(),
            awaiting: RefCell::default(),
            far: super::far::Known::default(),
            cut: Cell::new(0),
        }
    }

    /// The number of an object that is kept.
    pub(super) fn id_of(&self, object: &dyn AnyObject) -> Option<u64> {
        let head = object.head();
        let rows = self.rows.borrow();
        let row = rows.get(head.slot as usize)?;
        (row.id != 0 && row.generation == head.generation).then_some(row.id)
    }

    /// A turn is about to change this object.
    pub(crate) fn touch(
        &self,
        object: &dyn AnyObject,
        counted: impl FnOnce() -> Rc<dyn AnyObject>,
    ) -> Result<()> {
        if self.id_of(object).is_some() {
            self.check_writable()?;
            self.touched.borrow_mut().push(counted());
        }
        Ok(())
    }

    /// Refuses what would change something while the store cannot be written.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.store.failure() {
            None => Ok(()),
            Some(why) => Err(Error::overloaded(format!(
                "the vat cannot write its state to disk ({why}); nothing that is kept can be \
                 changed until it can"
            ))),
        }
    }

    /// The running turn ends. What it changed must be something that can be kept.
    pub(crate) fn end_turn(&self, vat: &Rc<Shared>, commits: bool) -> Result<()> {
        if self.touched.borrow().is_empty() && self.made.borrow().is_empty() {
            return Ok(());
        }
        let touched = self.touched.take();
        let made = self.made.take();
        if !commits {
            return Ok(());
        }
        let roots = made.iter().map(|(_, object)| Rc::clone(object));
        let changed: Vec<_> = roots.chain(touched).collect();
        let changed = Self::check(vat, changed)?;
        for object in changed {
            self.mark(&object);
        }
        for (name, object) in made {
            let id = self.number(&object);
            self.new_roots.borrow_mut().push((name.clone(), id));
            self.roots.borrow_mut().insert(name, object);
        }
        Ok(())
    }

    /// All these and what they refer to that has no number yet.
    fn check(
        vat: &Rc<Shared>,
        mut objects: Vec<Rc<dyn AnyObject>>,
    ) -> Result<Vec<Rc<dyn AnyObject>>> {
        let mut seen = BTreeSet::new();
        let mut at = 0;
        while let Some(object) = objects.get(at).map(Rc::clone) {
            at += 1;
            let check = || codec::guarded(|| object.check_state());
            let (checked, saving) = codec::saving(vat, true, check);
            checked.map_err(|error| cannot_be_kept(&*object, &error))?;
            let fresh = |found: &Rc<dyn AnyObject>| seen.insert(found.head().slot);
            objects.extend(saving.found.into_iter().filter(fresh));
        }
        Ok(objects)
    }

    /// The object has changed: it is written with the next batch.
    fn mark(&self, object: &Rc<dyn AnyObject>) {
        self.number(object);
        let mut rows = self.rows.borrow_mut();
        if let Some(row) = rows.get_mut(object.head().slot as usize)
            && !row.dirty
        {
            row.dirty = true;
            self.dirty.borrow_mut().push(Rc::clone(object));
        }
    }

    /// The object's number; it gets one if it has none.
    fn number(&self, object: &Rc<dyn AnyObject>) -> u64 {
        if let Some(id) = self.id_of(&**object) {
            return id;
        }
        let id = self.next.get();
        self.next.set(id + 1);
        self.enter(object, id);
        id
    }

    /// The object has this number from now on.
    fn enter(&self, object: &Rc<dyn AnyObject>, id: u64) {
        let head = object.head();
        let slot = head.slot as usize;
        let mut rows = self.rows.borrow_mut();
        if rows.len() <= slot {
            rows.resize(slot + 1, Row::default());
        }
        let Some(row) = rows.get_mut(slot) else {
            return;
        };
        let before = std::mem::replace(
            row,
            Row {
                generation: head.generation,
                dirty: false,
                id,
            },
        );
        let mut objects = self.objects.borrow_mut();
        // The object that was in this place is gone.
        let gone = |object: &Weak<dyn AnyObject>| object.strong_count() == 0;
        if objects.get(&before.id).is_some_and(gone) {
            objects.remove(&before.id);
        }
        objects.insert(id, Rc::downgrade(object));
    }

    /// The object with this number, if it is in memory and lives.
    fn living(&self, id: u64) -> Option<Rc<dyn AnyObject>> {
        let object = self.objects.borrow().get(&id)?.upgrade()?;
        (!object.head().fate.is_dead()).then_some(object)
    }

    /// Where a reference in a state leads.
    pub(super) fn object_at<T: super::Durable>(
        &self,
        vat: &Rc<Shared>,
        id: u64,
    ) -> Result<Near<T>, CodecError> {
        if let Some(object) = self.living(id) {
            return near(object, id);
        }
        let object = Obj::<T>::without_state(vat);
        let any: Rc<dyn AnyObject> = Rc::<Obj<T>>::clone(&object);
        self.enter(&any, id);
        self.awaiting.borrow_mut().push((id, any));
        Ok(Near(object))
    }

    /// Brings an object back, with all that it refers to.
    pub(super) fn bring_back<T: super::Durable>(
        &self,
        vat: &Rc<Shared>,
        id: u64,
    ) -> Result<Near<T>> {
        // What is on its way to the disk can be read when it is there.
        self.store.wait(self.cut.get())?;
        let reader = self.store.reader()?;
        self.forget_awaiting(); // what a panic has left
        let brought = codec::loading(vat, || {
            let near = self.object_at::<T>(vat, id);
            let near = near.map_err(|error| Error::failed(error.to_string()))?;
            while let Some((id, object)) = self.next_awaiting() {
                if let Err(error) = self.fill(&reader, id, &object) {
                    self.forget(&object);
                    return Err(error);
                }
            }
            Ok(near)
        });
        self.forget_awaiting();
        brought
    }

    fn forget_awaiting(&self) {
        while let Some((_, object)) = self.next_awaiting() {
            self.forget(&object);
        }
    }

    fn next_awaiting(&self) -> Option<(u64, Rc<dyn AnyObject>)> {
        self.awaiting.borrow_mut().pop()
    }

    /// Gives an object its state.
    fn fill(
        &self,
        reader: &super::store::Reader,
        id: u64,
        object: &Rc<dyn AnyObject>,
    ) -> Result<()> {
        let left = self.left.borrow_mut().remove(&id);
        let unwritten = left.as_ref().is_some_and(|left| !left.written);
        let record = match left {
            Some(left) => left.record,
            None => reader.object(id)?.ok_or_else(|| {
                let what = format!("the store has no object {id}, to which another one refers");
                Error::failed(format!("{what}; `vat store check` shows more"))
            })?,
        };
        let broken = |error: CodecError| {
            Error::failed(format!("object {id} in the store cannot be read: {error}"))
        };
        let (header, state) = record::read(&record).map_err(broken)?;
        let known = object.durable().map_or("", |durable| durable.name);
        if header.name != known {
            return Err(Error::failed(format!(
                "object {id} in the store is a {}, which this program does not have there: it \
                 expects a {known}",
                header.name
            )));
        }
        object.read_state(header.version, state)?;
        if unwritten {
            self.mark(object);
        }
        Ok(())
    }

    fn forget(&self, object: &Rc<dyn AnyObject>) {
        if let Some(id) = self.id_of(&**object) {
            self.objects.borrow_mut().remove(&id);
        }
        if let Some(row) = self.rows.borrow_mut().get_mut(object.head().slot as usize) {
            *row = Row::default();
        }
    }

    /// The object loses its state: what it was is kept for a next life.
    pub(crate) fn dies(&self, vat: &Rc<Shared>, object: &dyn AnyObject) {
        let Some(id) = self.id_of(object) else {
            return;
        };
        match Self::record(vat, object) {
            Ok(Some(record)) => {
                let rows = self.rows.borrow();
                let dirty = rows
                    .get(object.head().slot as usize)
                    .is_some_and(|row| row.dirty);
                let left = Left {
                    record,
                    written: !dirty,
                };
                self.left.borrow_mut().insert(id, left);
            }
            Ok(None) => {}
            Err(error) => self.store.break_with(&cannot_be_kept(object, &error)),
        }
    }

    /// The object's record; `None` if it has no state.
    fn record(vat: &Rc<Shared>, object: &dyn AnyObject) -> Result<Option<Vec<u8>>, CodecError> {
        let Some(durable) = object.durable() else {
            return Ok(None);
        };
        let mut state = Vec::new();
        let write = || codec::guarded(|| object.write_state(&mut state));
        let (written, saving) = codec::saving(vat, false, write);
        if !written? {
            return Ok(None);
        }
        record::write(durable.name, durable.version, &saving.refs, &state).map(Some)
    }

    /// How far the disk is and has to be. Gives it what has changed, if it has nothing to do.
    pub(crate) fn advance(&self, vat: &Rc<Shared>) -> Passage {
        let done = self.store.done();
        if self.is_dirty() && done == self.cut.get() {
            self.cut(vat);
        }
        Passage {
            needs: self.cut.get() + u64::from(self.is_dirty()),
            done,
        }
    }

    /// Why the store cannot be written, if it cannot.
    pub(crate) fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    fn is_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
            || !self.new_roots.borrow().is_empty()
            || !self.gone_roots.borrow().is_empty()
    }

    /// Gives the store everything that has changed.
    fn cut(&self, vat: &Rc<Shared>) {
        let mut batch = Batch {
            number: self.cut.get() + 1,
            roots: self.new_roots.take(),
            gone_roots: self.gone_roots.take(),
            ..Batch::default()
        };
        for object in self.dirty.take() {
            let Some(id) = self.id_of(&*object) else {
                continue;
            };
            if let Some(row) = self.rows.borrow_mut().get_mut(object.head().slot as usize) {
                row.dirty = false;
            }
            match Self::record(vat, &*object) {
                Ok(Some(record)) => batch.objects.push((id, record)),
                Ok(None) => {
                    if let Some(left) = self.left.borrow_mut().get_mut(&id)
                        && !std::mem::replace(&mut left.written, true)
                    {
                        batch.objects.push((id, left.record.clone()));
                    }
                }
                // The turn's own check has passed: the type's code gave another answer.
                Err(error) => {
                    return self.store.break_with(&cannot_be_kept(&*object, &error));
                }
            }
        }
        batch.next = self.next.get();
        self.cut.set(batch.number);
        self.store.commit(batch);
    }

    /// Waits until everything that has changed is on disk.
    pub(super) fn flush(&self, vat: &Rc<Shared>) -> Result<()> {
        self.store.wait(self.cut.get())?;
        if self.is_dirty() {
            self.cut(vat);
            self.store.wait(self.cut.get())?;
        }
        Ok(())
    }

    /// The object to which a name leads that has not been asked for yet.
    pub(super) fn root_on_disk(&self, name: &str) -> Result<Option<u64>> {
        if self.gone_roots.borrow().iter().any(|gone| gone == name) {
            return Ok(None);
        }
        // It may be on its way from there.
        self.store.wait(self.cut.get())?;
        Ok(self.store.reader()?.root(name)?)
    }

    /// This name means nothing any more, from the next batch on.
    pub(super) fn remove_root(&self, name: &str) {
        let object = self.roots.borrow_mut().remove(name);
        self.new_roots.borrow_mut().retain(|(new, _)| new != name);
        self.gone_roots.borrow_mut().push(name.to_owned());
        quietly(|| drop(object));
    }

    /// The vat ends: what has changed is still written, and objects may hold the vat.
    pub(crate) fn let_go(&self, vat: &Rc<Shared>) {
        if self.is_dirty() {
            self.cut(vat);
        }
        self.far.let_go();
        let dirty = self.dirty.take();
        let roots = self.roots.take();
        quietly(|| drop((dirty, roots)));
    }
}

/// The object with this number, as one of type `T`.
pub(super) fn near<T: super::Durable>(
    object: Rc<dyn AnyObject>,
    id: u64,
) -> Result<Near<T>, CodecError> {
    let found = object.durable().map_or("", |durable| durable.name);
    match (object as Rc<dyn std::any::Any>).downcast::<Obj<T>>() {
        Ok(object) => Ok(Near(object)),
        Err(_) => Err(CodecError::new(format!(
            "object {id} is a {found}, and was asked for as a {}",
            T::NAME
        ))),
    }
}

fn cannot_be_kept(object: &dyn AnyObject, error: &CodecError) -> Error {
    let name = object.durable().map_or("", |durable| durable.name);
    Error::internal(
        ErrorKind::Failed,
        format!("{object} ({name}) cannot be kept on disk: {error}"),
        "the state that the call left cannot be kept on disk",
    )
}
