//! Roots: what a program finds again by its name.

use std::rc::Rc;

use super::{Durable, Graph, Store, graph};
use crate::core::{AnyObject, Effect, Near, Obj, Shared, Turn, Vat, Work};
use crate::error::{Error, Result};

impl Vat {
    /// Gives the vat its durable store. From now on nothing that the vat says leaves it before what
    /// it may depend on is on disk.
    ///
    /// # Errors
    ///
    /// If it has one.
    pub fn attach_store(&self, store: Store) -> Result<()> {
        let woken = self.waker();
        store.on_progress(std::sync::Arc::new(woken));
        let graph = Rc::new(Graph::new(store));
        if self.shared().durable.set(graph).is_err() {
            return Err(Error::failed("the vat has a store already"));
        }
        Ok(())
    }

    /// Blocks until all that turns have changed is on disk: for hosts and tests, which take results
    /// out of the vat themselves. Does nothing without a store.
    ///
    /// # Errors
    ///
    /// If it cannot be written now. It will be tried again.
    pub fn flush_store(&self) -> Result<()> {
        match self.shared().durable.get() {
            Some(graph) => graph.flush(self.shared()),
            None => Ok(()),
        }
    }
}

impl Turn {
    /// The durable object of this name: as it was when the vat last ran, or made by `begin` if there
    /// was none.
    ///
    /// All that it refers to is brought back with it. This reads the disk, so call it in `main` and in
    /// the constructors of supervised children rather than in calls. A supervised object that was
    /// killed by a panic is not used again: asked for by its name, it is a new object with the last
    /// state.
    ///
    /// # Errors
    ///
    /// If the vat has no store (`durable = true` in the manifest gives it one), the name belongs to an
    /// object of another type, or the state cannot be read: it was written by a newer version, or by
    /// an older one from which there is no migration.
    pub fn durable<T: Durable>(
        &self,
        name: &str,
        begin: impl FnOnce(&Self) -> T,
    ) -> Result<Near<T>> {
        let vat = &self.0;
        let graph = vat.durable.get().ok_or_else(no_store)?;
        if let Some(found) = graph.known_root::<T>(vat, name)? {
            return Ok(found);
        }
        graph.check_writable()?;
        let near = self.spawn(begin(self));
        let object: Rc<dyn AnyObject> = Rc::<Obj<T>>::clone(&near.0);
        graph.made.borrow_mut().push((name.to_owned(), object));
        Ok(near)
    }

    /// Forgets the durable object of this name, when the turn commits. What nothing else that is kept
    /// leads to goes from the disk when the store is next opened.
    ///
    /// # Errors
    ///
    /// If the vat has no store.
    pub fn forget_durable(&self, name: &str) -> Result<()> {
        let graph = self.0.durable.get().ok_or_else(no_store)?;
        graph.check_writable()?;
        self.0
            .effect(Effect::Now(Box::new(Forget(name.to_owned()))));
        Ok(())
    }
}

impl Graph {
    /// The object of this name, if there is one.
    fn known_root<T: Durable>(&self, vat: &Rc<Shared>, name: &str) -> Result<Option<Near<T>>> {
        let of_type = |object, id| {
            let near = graph::near::<T>(object, id);
            near.map_err(|error| Error::failed(format!("the durable object {name:?}: {error}")))
        };
        let made = self.made.borrow();
        if let Some((_, object)) = made.iter().find(|(made, _)| made == name) {
            return of_type(Rc::clone(object), 0).map(Some);
        }
        drop(made);
        let known = self.roots.borrow().get(name).map(Rc::clone);
        let id = match known {
            Some(object) => {
                let id = self.id_of(&*object).unwrap_or_default();
                if !object.head().fate.is_dead() {
                    return of_type(object, id).map(Some);
                }
                Some(id)
            }
            None => self.root_on_disk(name)?,
        };
        let Some(id) = id else {
            return Ok(None);
        };
        let near = self.bring_back::<T>(vat, id)?;
        let object: Rc<dyn AnyObject> = Rc::<Obj<T>>::clone(&near.0);
        self.roots.borrow_mut().insert(name.to_owned(), object);
        Ok(Some(near))
    }
}

/// A `forget_durable` that waits for its commit.
struct Forget(String);

impl Work for Forget {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        if let Some(graph) = vat.durable.get() {
            graph.remove_root(&self.0);
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

fn no_store() -> Error {
    Error::failed(
        "this vat has no durable store; `durable = true` in the manifest's [program] gives it one",
    )
}
