//! Membranes: what passes through a reference can be taken back with it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::revoke::{Cut, Revoker};
use crate::core::{
    AnyCall, Asker, Body, Carried, Dynamic, Effect, Identity, Parts, Ref, Shared, Turn, WeakNear,
    Work,
};
use crate::error::{Error, Result};

/// A reference around which there is a membrane, and what revokes everything that ever passed
/// through it.
///
/// Every reference that passes, in an argument or in an answer, in either direction, gets the
/// membrane around it as well: what is handed out is a proxy, whose calls pass the same membrane.
/// Only the references in a message are exchanged, so that it works for any interface.
///
/// - The same reference gives the same proxy every time: [`same`](Ref::same) holds on each side as
///   it does on the other. A proxy that goes back becomes what it stands for again.
/// - A promise becomes a promise, for the proxy of what it resolves to. A call that is pipelined on a
///   reference inside an answer waits in the membrane's vat until it is known what that is, and then
///   follows in order.
/// - Revocation ends all proxies of both sides, breaks what was promised and every call that is under
///   way (it may have run): answers that come later are dropped with the references in them. Nothing
///   is kept alive any longer.
/// - A descriptor attached to a reference does not pass: it could not be taken back. Values do, for
///   good.
/// - Parameters and results of calls between objects of one vat become bytes on the way, as if they
///   left it.
///
/// ```
/// use vat::pattern;
/// # use vat::prelude::*;
/// # #[vat::interface]
/// # trait Page {
/// #     /// What is on it.
/// #     fn text(&self, turn: &Turn) -> Result<String>;
/// # }
/// # #[vat::interface]
/// # trait Book {
/// #     /// A page of it.
/// #     fn page(&self, turn: &Turn, number: u64) -> Result<PageRef>;
/// # }
/// # #[derive(Clone, vat::Object)]
/// # struct Any;
/// # impl Page for Any {
/// #     fn text(&self, _: &Turn) -> Result<String> {
/// #         Ok("…".to_owned())
/// #     }
/// # }
/// # impl Book for Any {
/// #     fn page(&self, turn: &Turn, _: u64) -> Result<PageRef> {
/// #         Ok(PageRef::new(turn, Any))
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let book = vat.turn(|turn| Ok(BookRef::new(turn, Any)))?;
/// let (guest, gate) = vat.turn(|turn| Ok(pattern::membrane(turn, &book)))?;
/// let page = guest.page(1);
/// let before = page.text();
/// vat.run(100);
/// gate.revoke();
/// let after = page.text(); // a reference that was reached through `guest`
/// vat.run(100);
/// assert_eq!(before.try_take().unwrap()?, "…");
/// assert_eq!(after.try_take().unwrap().unwrap_err().kind(), ErrorKind::Revoked);
/// # Ok::<(), vat::Error>(())
/// ```
pub fn membrane<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R) -> (R, Revoker) {
    let membrane = Rc::new(Membrane::default());
    let gate = Revoker::of(turn, &membrane);
    let guest = membrane.cross(&turn.0, to.clone().into(), Side::Inside);
    (R::from(guest), gate)
}

/// Where something lives, seen from the membrane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// Where the reference leads that it was made around.
    Inside,
    /// Where that reference was handed to.
    Outside,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

/// Everything that one revocation ends. Numbers are never used twice.
#[derive(Default)]
struct Membrane {
    numbers: Cell<u64>,
    /// Why it lets nothing pass any more.
    over: RefCell<Option<Error>>,
    proxies: RefCell<BTreeMap<u64, Facing>>,
    /// The proxy of each thing of a side.
    known: RefCell<BTreeMap<(Side, Identity), u64>>,
    promises: RefCell<BTreeMap<u64, Promised>>,
    /// Who waits for the answers of calls that passed.
    asked: RefCell<BTreeMap<u64, Asker>>,
}

/// What a proxy stands for.
struct Facing {
    target: Ref,
    side: Side,
    identity: Identity,
    proxy: WeakNear<Proxy>,
}

/// A promise of one side, for what is not yet known on the other.
struct Promised {
    promise: Ref,
    target: Ref,
    side: Side,
}

/// Something of the other side. Takes its place in the membrane along when it goes.
#[derive(vat::Object)]
#[object(external)]
struct Proxy {
    number: u64,
    membrane: Rc<Membrane>,
}

impl Dynamic for Proxy {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let crossing = Crossing {
            membrane: Rc::clone(&self.membrane),
            proxy: self.number,
            call,
        };
        turn.0.effect(Effect::Now(Box::new(crossing)));
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let gone = self.membrane.proxies.borrow_mut().remove(&self.number);
        if let Some(Facing { side, identity, .. }) = &gone {
            self.membrane.known.borrow_mut().remove(&(*side, *identity));
        }
    }
}

impl Membrane {
    fn number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    fn reason(&self) -> Option<Error> {
        self.over.borrow().clone()
    }

    /// What stands on the other side for something of this one.
    fn cross(self: &Rc<Self>, vat: &Rc<Shared>, reference: Ref, from: Side) -> Ref {
        if let Some(reason) = self.reason() {
            return vat.broken(&reason);
        }
        if let Some(target) = self.behind(vat, &reference, from.other()) {
            return target;
        }
        if let Some(identity) = reference.identity() {
            return self.proxy(vat, reference, from, identity);
        }
        match reference.broken_reason() {
            Some(_) => reference,
            None => self.promise(vat, &reference, from),
        }
    }

    /// The thing of this side that a reference on the other stands for.
    fn behind(self: &Rc<Self>, vat: &Rc<Shared>, reference: &Ref, side: Side) -> Option<Ref> {
        let proxy = reference.downcast::<Proxy>(&Turn(Rc::clone(vat)))?;
        let number =
            proxy.peek(|proxy| Rc::ptr_eq(&proxy.membrane, self).then_some(proxy.number))??;
        let proxies = self.proxies.borrow();
        let facing = proxies.get(&number).filter(|facing| facing.side == side)?;
        Some(facing.target.clone())
    }

    fn proxy(
        self: &Rc<Self>,
        vat: &Rc<Shared>,
        target: Ref,
        side: Side,
        identity: Identity,
    ) -> Ref {
        let known = self.known.borrow().get(&(side, identity)).copied();
        let known = known.and_then(|number| self.proxies.borrow().get(&number)?.proxy.upgrade());
        if let Some(proxy) = known {
            return proxy.dynamic();
        }
        let number = self.number();
        let proxy = Turn(Rc::clone(vat)).spawn(Proxy {
            number,
            membrane: Rc::clone(self),
        });
        let facing = Facing {
            target,
            side,
            identity,
            proxy: proxy.downgrade(),
        };
        self.proxies.borrow_mut().insert(number, facing);
        self.known.borrow_mut().insert((side, identity), number);
        proxy.dynamic()
    }

    fn promise(self: &Rc<Self>, vat: &Rc<Shared>, target: &Ref, side: Side) -> Ref {
        let number = self.number();
        let promise = Ref::promised_in(Some(vat));
        let known = Known {
            membrane: Rc::clone(self),
            number,
        };
        let promised = Promised {
            promise: promise.clone(),
            target: target.clone(),
            side,
        };
        self.promises.borrow_mut().insert(number, promised);
        vat.when_known(target, Box::new(known));
        promise
    }

    /// A call to something of `side` comes from the other one.
    fn pass(self: &Rc<Self>, vat: &Rc<Shared>, call: AnyCall, target: &Ref, side: Side) {
        let Some(Parts {
            method,
            params,
            deadline,
            asker,
        }) = call.take_apart(vat)
        else {
            return;
        };
        let params = params.map_references(|one| self.cross(vat, one, side.other()));
        let number = self.number();
        self.asked.borrow_mut().insert(number, asker);
        let membrane = Rc::clone(self);
        let carried = Carried {
            method,
            params,
            deadline,
            answered: Box::new(move |vat, result| membrane.answered(vat, number, side, result)),
        };
        carried.send(vat, target);
    }

    /// The answer from `side` is there; if the membrane was revoked, nobody waits for it any more.
    fn answered(self: &Rc<Self>, vat: &Rc<Shared>, number: u64, side: Side, result: Result<Body>) {
        let Some(asker) = self.asked.borrow_mut().remove(&number) else {
            return;
        };
        let map = |body: Body| body.map_references(|one| self.cross(vat, one, side));
        asker.settle(vat, result.map(map));
    }
}

impl Cut for Membrane {
    fn cut(&self, vat: &Rc<Shared>, reason: Error) {
        self.over.replace(Some(reason.clone()));
        let (proxies, known) = (self.proxies.take(), self.known.take());
        drop((proxies, known));
        for (_, Promised { promise, .. }) in self.promises.take() {
            vat.resolve(&promise, Err(reason.clone()));
        }
        let may_have_run = Error::new(reason.kind(), format!("{reason}; the call may have run"));
        for (_, asker) in self.asked.take() {
            asker.settle(vat, Err(may_have_run.clone()));
        }
    }
}

/// A call that passes when the proxy's turn commits.
struct Crossing {
    membrane: Rc<Membrane>,
    proxy: u64,
    call: AnyCall,
}

impl Work for Crossing {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self {
            membrane,
            proxy,
            call,
        } = *self;
        let facing = membrane
            .proxies
            .borrow()
            .get(&proxy)
            .map(|facing| (facing.target.clone(), facing.side));
        match (facing, membrane.reason()) {
            (Some((target, side)), _) => membrane.pass(vat, call, &target, side),
            (None, Some(reason)) => call.fail_now(vat, reason),
            (None, None) => drop(call), // a proxy is known as long as it is there
        }
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.call.fail_now(vat, reason);
    }
}

/// It is known what is behind a promise.
struct Known {
    membrane: Rc<Membrane>,
    number: u64,
}

impl Work for Known {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self { membrane, number } = *self;
        let promised = membrane.promises.borrow_mut().remove(&number);
        if let Some(Promised {
            promise,
            target,
            side,
        }) = promised
        {
            let to = membrane.cross(vat, target, side);
            vat.resolve(&promise, Ok(to));
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
