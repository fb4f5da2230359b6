//! A child of a supervisor of objects: how its lives are made, and the present one.

use std::rc::Rc;

use super::service::Service;
use super::tree::Tree;
use crate::core::{AnyObject, Effect, Near, Promise, Ref, Shared, Turn, Work, quietly};
use crate::error::{Error, Result};
use crate::supervisor::ExitReason;

/// Makes a life; may be called any number of times.
pub(super) type Make = Box<dyn FnMut(&Turn) -> Result<Made>>;

/// Asks a life to stop; ends it when it has.
pub(super) type Stop = Box<dyn FnMut(&Rc<Shared>, Ref, Rc<dyn AnyObject>)>;

/// A life that was made.
pub(super) struct Made {
    pub(super) reference: Ref,
    pub(super) body: Body,
}

/// What a life is.
#[derive(Clone)]
pub(super) enum Body {
    Object(Rc<dyn AnyObject>),
    /// A supervisor of its own.
    Tree(Rc<Tree>),
}

impl Made {
    /// What `constructor` makes.
    ///
    /// It must be a new object: to hold a reference to another one does not give the right to end
    /// that.
    pub(super) fn object(
        turn: &Turn,
        constructor: impl FnOnce(&Turn) -> Result<Ref>,
    ) -> Result<Self> {
        let births = turn.0.births();
        let reference = constructor(turn)?;
        let own = |object: &Rc<dyn AnyObject>| {
            births.include(object) && Shared::state_of(object, |_: &Service| ()).is_none()
        };
        let Some(object) = reference.object().filter(own) else {
            return Err(Error::failed(format!(
                "a constructor must give a reference to an object that it has made itself, not \
                 {reference:?}"
            )));
        };
        let body = Body::Object(object);
        Ok(Self { reference, body })
    }

    pub(super) fn tree(&self) -> Option<Rc<Tree>> {
        match &self.body {
            Body::Tree(tree) => Some(Rc::clone(tree)),
            Body::Object(_) => None,
        }
    }
}

/// What a supervisor keeps of each child.
pub(super) struct Child {
    name: String,
    /// Taken out while it runs.
    make: Option<Make>,
    stop: Option<Stop>,
    lead: Option<(Near<Service>, Service)>,
    /// Made by `add`, and not started yet.
    first: Option<Made>,
    life: Option<Made>,
}

impl Child {
    pub(super) fn new(name: &str, make: Make, stop: Option<Stop>) -> Self {
        Self {
            name: name.to_owned(),
            make: Some(make),
            stop,
            lead: None,
            first: None,
            life: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a life, in a turn that runs.
    pub(super) fn make(&mut self, turn: &Turn) -> Result<Made> {
        let make = self.make.as_mut();
        make.map_or_else(|| Err(being_made()), |make| make(turn))
    }

    /// It has its stable reference and its first life.
    pub(super) fn adopted(&mut self, near: Near<Service>, service: Service, first: Made) {
        self.lead = Some((near, service));
        self.first = Some(first);
    }

    /// The life that is there already, or what makes one.
    pub(super) fn take_made(&mut self) -> Result<Made, Make> {
        match self.first.take() {
            Some(made) => Ok(made),
            None => Err(self
                .make
                .take()
                .unwrap_or_else(|| Box::new(|_| Err(being_made())))),
        }
    }

    pub(super) fn give_back(&mut self, make: Make) {
        self.make = Some(make);
    }

    pub(super) fn take_first(&mut self) -> Option<Made> {
        self.first.take()
    }

    pub(super) fn put_first(&mut self, made: Made) {
        self.first = Some(made);
    }

    pub(super) fn live(&mut self, made: Made) {
        self.life = Some(made);
    }

    /// Its life is over; what is left of it.
    pub(super) fn die(&mut self) -> Option<Made> {
        self.life.take()
    }

    pub(super) fn body(&self) -> Option<Body> {
        let life = self.life.as_ref().or(self.first.as_ref());
        life.map(|life| life.body.clone())
    }

    /// Where its stable reference is to lead.
    pub(super) fn life(&self) -> Option<(Ref, Option<Rc<dyn AnyObject>>)> {
        let life = self.life.as_ref()?;
        let object = match &life.body {
            Body::Object(object) => Some(Rc::clone(object)),
            Body::Tree(_) => None,
        };
        Some((life.reference.clone(), object))
    }

    pub(super) fn service(&self) -> Option<Service> {
        self.lead.as_ref().map(|(_, service)| service.clone())
    }

    pub(super) fn take_stop(&mut self) -> Option<(Stop, Ref)> {
        let life = self.life.as_ref()?.reference.clone();
        Some((self.stop.take()?, life))
    }

    pub(super) fn give_stop_back(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// Its supervisor has ended: nothing of the program's runs for it any more.
    pub(super) fn take_code(&mut self) -> (Option<Make>, Option<Stop>) {
        (self.make.take(), self.stop.take())
    }

    /// The child itself is gone: its stable reference breaks.
    pub(super) fn bury(mut self, vat: &Rc<Shared>) {
        if let Some((near, _)) = self.lead.take() {
            let object: Rc<dyn AnyObject> = near.0;
            vat.end_object(&object, ExitReason::Normal);
        }
        quietly(|| drop(self));
    }
}

fn being_made() -> Error {
    Error::failed("the constructor of the child is running")
}

/// Runs a stop method in a turn, and ends the object when its promise settles.
pub(super) fn stop_with(
    vat: &Rc<Shared>,
    object: Rc<dyn AnyObject>,
    stop: impl FnOnce(&Turn) -> Promise<()>,
) {
    let ended = Rc::clone(&object);
    let asked = vat.transact(|turn| {
        let settled = move |turn: &Turn, result: Result<()>| {
            let reason = match result {
                Ok(()) => ExitReason::Shutdown,
                Err(error) => ExitReason::Abnormal(format!("stopping it failed: {error}")),
            };
            turn.0
                .effect(Effect::Now(Box::new(Ended { object, reason })));
            Ok(())
        };
        stop(turn).then(settled).detach();
        Ok(())
    });
    if let Err(error) = asked {
        let reason = ExitReason::Abnormal(format!("stopping it failed: {error}"));
        vat.end_object(&ended, reason);
    }
}

/// An object that has stopped.
struct Ended {
    object: Rc<dyn AnyObject>,
    reason: ExitReason,
}

impl Work for Ended {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        vat.end_object(&self.object, self.reason);
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
