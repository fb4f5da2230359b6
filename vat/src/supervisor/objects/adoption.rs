//! How a child comes to a supervisor: made in one turn, and taken over when that commits.

use std::cell::RefCell;
use std::rc::Rc;

use super::child::{Body, Child, Made};
use super::service::Service;
use super::tree::{Pump, Tree};
use crate::core::{Effect, Ref, Shared, Turn, Work, quietly};
use crate::error::{Error, Result};
use crate::supervisor::{AddError, ChildSpec, Event, ExitReason, Incarnation};

impl Tree {
    /// Makes the first life of a child now; it becomes a child when the turn commits.
    pub(super) fn add(
        self: &Rc<Self>,
        turn: &Turn,
        spec: ChildSpec,
        mut child: Child,
    ) -> Result<Ref> {
        if !std::ptr::eq(self.vat.as_ptr(), Rc::as_ptr(&turn.0)) {
            return Err(Error::failed(
                "a supervisor adds children of its own vat only",
            ));
        }
        self.machine.borrow().check(&spec).map_err(Error::of)?;
        if self.machine.borrow().is_stopping() {
            let text = format!(
                "{} was not added: its supervisor is stopping or has ended",
                spec.name
            );
            return Err(Error::failed(text));
        }
        if !self.reserved.borrow_mut().insert(spec.name.clone()) {
            let name = spec.name;
            return Err(Error::of(AddError::DuplicateName(name)));
        }
        // From here on the turn's end, whichever it is, gives the name back.
        let place = Rc::new(RefCell::new(None));
        turn.0.effect(Effect::Now(Box::new(Adoption {
            tree: Rc::clone(self),
            spec: spec.clone(),
            child: Rc::clone(&place),
        })));
        let made = child.make(turn)?;
        let life = made.reference.clone();
        let (reference, near, service) = Service::new(turn, &spec.name, spec.start_within, life);
        child.adopted(near, service, made);
        place.replace(Some(child));
        Ok(reference)
    }

    /// An `add` has committed.
    fn adopt(self: &Rc<Self>, vat: &Rc<Shared>, spec: ChildSpec, mut child: Child) {
        let stopping = self.machine.borrow().is_stopping();
        let added = match stopping {
            true => None,
            false => self.machine.borrow_mut().add(spec).ok(),
        };
        let Some(id) = added else {
            if let Some(service) = child.service() {
                service.close(vat, "was not added, as its supervisor was stopping");
            }
            if let Some(Body::Object(object)) = child.body() {
                vat.end_object(&object, ExitReason::Shutdown);
            }
            return quietly(|| drop(child));
        };
        let unwatched = |made: Made| {
            let first = Incarnation::NONE.next();
            self.take_on(vat, id, first, made)
        };
        if let Some(made) = child.take_first() {
            // Should it be dead already, or another's child, the start makes another one.
            match unwatched(made) {
                Ok(made) => child.put_first(made),
                Err(error) => tracing::warn!(err = %error, "a child was not taken over"),
            }
        }
        self.children.borrow_mut().insert(id, child);
        self.events.borrow_mut().push_back(Event::StartChild(id));
        vat.apply(Effect::Enqueue(Box::new(Pump(Rc::clone(self)))));
    }
}

/// An `add` that waits for its commit.
struct Adoption {
    tree: Rc<Tree>,
    spec: ChildSpec,
    /// Empty if the constructor failed and the turn went on.
    child: Rc<RefCell<Option<Child>>>,
}

impl Work for Adoption {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { tree, spec, child } = *self;
        tree.reserved.borrow_mut().remove(&spec.name);
        if let Some(child) = child.take() {
            tree.adopt(vat, spec, child);
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {
        self.tree.reserved.borrow_mut().remove(&self.spec.name);
    }
}
