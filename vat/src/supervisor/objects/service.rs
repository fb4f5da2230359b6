//! The stable reference of a supervised object: it leads to whatever life the object has.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::core::{AnyObject, Near, Object, Ref, Route, Shared, TimerId, Turn, Work, routed};
use crate::error::{Error, ErrorKind, Result};

/// What stands behind the stable reference. It is the supervisor's, so no turn rolls it back.
#[derive(Clone)]
pub(super) struct Service(Rc<Lead>);

struct Lead {
    name: String,
    /// How long calls wait for the next life.
    limit: Option<Duration>,
    /// How many waits there were: a timer of an earlier one is late.
    waits: Cell<u64>,
    to: RefCell<To>,
}

/// Where calls go. Any may follow any other.
enum To {
    /// There is a life: straight to it. The object, if it is one, may have died without its
    /// supervisor having been told.
    Open(Ref, Option<Rc<dyn AnyObject>>),
    /// There will be another life: calls wait, once there is one.
    Away(Option<Wait>),
    /// There will be none without being asked for.
    Closed(Error),
}

struct Wait {
    /// Holds the calls, in order; it becomes the next life.
    promise: Ref,
    timer: Option<TimerId>,
}

impl Object for Service {
    const TRANSACTIONAL: bool = true;

    fn old_state(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl Service {
    /// A stable reference to this life, and what leads it to the next ones.
    pub(super) fn new(
        turn: &Turn,
        name: &str,
        limit: Option<Duration>,
        first: Ref,
    ) -> (Ref, Near<Self>, Self) {
        let object = first.object();
        let service = Self(Rc::new(Lead {
            name: name.to_owned(),
            limit,
            waits: Cell::new(0),
            to: RefCell::new(To::Open(first, object)),
        }));
        let near = turn.spawn(service.clone());
        (routed(&near), near, service)
    }

    /// Calls go to this life from now on, those first that wait for it.
    pub(super) fn open(&self, vat: &Rc<Shared>, life: &Ref, object: Option<Rc<dyn AnyObject>>) {
        if object
            .as_ref()
            .is_some_and(|object| object.head().fate.is_dead())
        {
            return self.wait(vat);
        }
        self.change(vat, To::Open(life.clone(), object), Ok(life.clone()));
    }

    /// Calls wait from now on.
    pub(super) fn wait(&self, vat: &Rc<Shared>) {
        let waits = matches!(&*self.0.to.borrow(), To::Away(_));
        if !waits {
            self.change(vat, To::Away(None), Err(self.0.late()));
        }
    }

    /// Calls fail from now on, also those that wait.
    pub(super) fn close(&self, vat: &Rc<Shared>, why: &str) {
        let text = format!("{} {why}; the call did not run", self.0.name);
        let reason = Error::new(ErrorKind::Dead, text);
        self.change(vat, To::Closed(reason.clone()), Err(reason));
    }

    fn change(&self, vat: &Rc<Shared>, to: To, waiting: Result<Ref>) {
        let old = self.0.to.replace(to);
        if let To::Away(Some(wait)) = &old {
            drop(wait.timer.and_then(|timer| vat.cancel_timer(timer)));
            vat.resolve(&wait.promise, waiting);
        }
    }
}

impl Route for Service {
    fn route(&self, vat: &Rc<Shared>) -> Result<Ref> {
        let mut to = self.0.to.borrow_mut();
        if matches!(&*to, To::Open(_, Some(object)) if object.head().fate.is_dead()) {
            *to = To::Away(None);
        }
        match &mut *to {
            To::Open(life, _) => Ok(life.clone()),
            To::Away(wait) => {
                let wait = wait.get_or_insert_with(|| self.0.begin_wait(vat));
                Ok(wait.promise.clone())
            }
            To::Closed(reason) => Err(reason.clone()),
        }
    }
}

impl Lead {
    fn begin_wait(self: &Rc<Self>, vat: &Rc<Shared>) -> Wait {
        self.waits.set(self.waits.get() + 1);
        let timer = self.limit.map(|limit| {
            let late = Late {
                lead: Rc::downgrade(self),
                wait: self.waits.get(),
            };
            vat.set_timer(limit, Box::new(late))
        });
        let promise = Ref::promised_in(Some(vat));
        Wait { promise, timer }
    }

    fn late(&self) -> Error {
        let name = &self.name;
        let limit = self.limit.unwrap_or_default();
        let text = format!("{name} was not started again within {limit:?}; the call did not run");
        Error::new(ErrorKind::Dead, text)
    }
}

/// Calls have waited long enough.
struct Late {
    lead: Weak<Lead>,
    wait: u64,
}

impl Work for Late {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Some(lead) = self.lead.upgrade() else {
            return;
        };
        let waits = matches!(&*lead.to.borrow(), To::Away(Some(_)));
        if waits && lead.waits.get() == self.wait {
            let late = lead.late();
            Service(lead).change(vat, To::Away(None), Err(late));
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
