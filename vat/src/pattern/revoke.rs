//! References that can be taken back: caretaker and revocable group.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use super::way::{Way, over};
use crate::core::{AnyCall, Dynamic, Effect, Ref, Shared, Turn, Work};
use crate::error::{Error, Result};

/// A reference that can be revoked, and what revokes it.
///
/// After revocation every call is refused with [`ErrorKind::Revoked`](crate::ErrorKind::Revoked), at
/// once and wherever its caller is. A caretaker guards this one reference: a call that it passed on
/// before is answered, and what was given through it (a reference in an argument or an answer) stays
/// given.
///
/// ```
/// use vat::pattern;
/// # use vat::prelude::*;
/// # #[vat::interface]
/// # trait Guestbook {
/// #     /// How many have signed.
/// #     fn entries(&self, turn: &Turn) -> Result<u64>;
/// # }
/// # #[derive(Clone, vat::Object)]
/// # struct Book;
/// # impl Guestbook for Book {
/// #     fn entries(&self, _: &Turn) -> Result<u64> {
/// #         Ok(3)
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let guestbook = vat.turn(|turn| Ok(GuestbookRef::new(turn, Book)))?;
/// let (guest, gate) = vat.turn(|turn| Ok(pattern::caretaker(turn, &guestbook)))?;
/// let before = guest.entries(); // `guest` is a GuestbookRef, to be handed on
/// vat.run(100);
/// gate.revoke();
/// let after = guest.entries();
/// vat.run(100);
/// assert_eq!(before.try_take().unwrap()?, 3);
/// assert_eq!(after.try_take().unwrap().unwrap_err().kind(), ErrorKind::Revoked);
/// # Ok::<(), vat::Error>(())
/// ```
pub fn caretaker<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R) -> (R, Revoker) {
    let group = Group::new(turn);
    (group.add(turn, to), group.revoker())
}

/// Several references that are revoked with one act.
///
/// ```
/// use vat::pattern::Group;
/// # use vat::prelude::*;
/// # #[vat::interface]
/// # trait Guestbook {
/// #     /// How many have signed.
/// #     fn entries(&self, turn: &Turn) -> Result<u64>;
/// # }
/// # #[derive(Clone, vat::Object)]
/// # struct Book;
/// # impl Guestbook for Book {
/// #     fn entries(&self, _: &Turn) -> Result<u64> {
/// #         Ok(3)
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let (book, diary) = vat.turn(|turn| {
/// #     Ok((GuestbookRef::new(turn, Book), GuestbookRef::new(turn, Book)))
/// # })?;
/// let (visit, book, diary) = vat.turn(|turn| {
///     let visit = Group::new(turn);
///     let (book, diary) = (visit.add(turn, &book), visit.add(turn, &diary));
///     Ok((visit, book, diary))
/// })?;
/// visit.revoke();
/// let (one, other) = (book.entries(), diary.entries());
/// vat.run(100);
/// assert_eq!(one.try_take().unwrap().unwrap_err().kind(), ErrorKind::Revoked);
/// assert_eq!(other.try_take().unwrap().unwrap_err().kind(), ErrorKind::Revoked);
/// # Ok::<(), vat::Error>(())
/// ```
#[derive(Clone)]
pub struct Group(Rc<Gate>);

/// What takes references back.
///
/// # Authority
///
/// Whoever holds it, or a clone of it, can revoke; dropping it revokes nothing.
#[derive(Clone)]
pub struct Revoker(Rc<Gate>);

/// Whether a group is open, and what is to be cut when it is closed.
struct Gate {
    vat: Weak<Shared>,
    revoked: Cell<bool>,
    guarded: RefCell<Vec<Weak<dyn Cut>>>,
}

/// What a revocation ends.
pub(super) trait Cut {
    fn cut(&self, vat: &Rc<Shared>, reason: Error);
}

impl Cut for Way {
    fn cut(&self, _: &Rc<Shared>, reason: Error) {
        self.end(reason);
    }
}

impl Group {
    /// A group of nothing, in this vat.
    pub fn new(turn: &Turn) -> Self {
        Self(Rc::new(Gate {
            vat: Rc::downgrade(&turn.0),
            revoked: Cell::new(false),
            guarded: RefCell::default(),
        }))
    }

    /// A reference to the same that is revoked with this group: a [`caretaker`]. If the group is
    /// revoked, it is so from the beginning.
    pub fn add<R: Clone + From<Ref> + Into<Ref>>(&self, turn: &Turn, to: &R) -> R {
        let way = match self.0.revoked.get() {
            false => Way::to(to.clone().into()),
            true => Way::nowhere(revoked()),
        };
        let way = Rc::new(way);
        self.0.guard(&way);
        turn.spawn(Caretaker(way)).dynamic()
    }

    /// Revokes all of them, as [`Revoker::revoke`] does.
    pub fn revoke(&self) {
        self.revoker().revoke();
    }

    #[cfg(test)]
    pub(super) fn guarded(&self) -> usize {
        self.0.guarded.borrow().len()
    }

    /// What revokes this group and can do nothing else.
    #[must_use]
    pub fn revoker(&self) -> Revoker {
        Revoker(Rc::clone(&self.0))
    }
}

impl Revoker {
    /// What revokes this one thing.
    pub(super) fn of<C: Cut + 'static>(turn: &Turn, guarded: &Rc<C>) -> Self {
        let group = Group::new(turn);
        group.0.guard(guarded);
        group.revoker()
    }

    /// Revokes, for good: when the running turn commits, or at once if none runs. No call gets through
    /// that is delivered to it afterwards, also if it was sent before; what it has passed on already
    /// goes on, also where that waits for a promise. A second time nothing happens.
    pub fn revoke(&self) {
        if let Some(vat) = self.0.vat.upgrade() {
            vat.effect(Effect::Now(Box::new(Revoking(Rc::clone(&self.0)))));
        }
    }

    /// Whether it has revoked; not yet while the turn that does so runs.
    pub fn is_revoked(&self) -> bool {
        self.0.revoked.get()
    }
}

impl Gate {
    fn guard<C: Cut + 'static>(&self, what: &Rc<C>) {
        let mut guarded = self.guarded.borrow_mut();
        if guarded.len() == guarded.capacity() {
            guarded.retain(|one| one.strong_count() > 0);
        }
        let what: Rc<dyn Cut> = Rc::<C>::clone(what);
        guarded.push(Rc::downgrade(&what));
    }
}

/// A revocation that waits for its commit.
struct Revoking(Rc<Gate>);

impl Work for Revoking {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        if self.0.revoked.replace(true) {
            return;
        }
        for guarded in self.0.guarded.take() {
            if let Some(guarded) = guarded.upgrade() {
                guarded.cut(vat, revoked());
            }
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

fn revoked() -> Error {
    over("the reference was revoked")
}

#[derive(vat::Object)]
#[object(external)]
struct Caretaker(Rc<Way>);

impl Dynamic for Caretaker {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        self.0.pass(turn, call);
        Ok(())
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("group", f)
    }
}

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("revoker", f)
    }
}

impl Gate {
    fn show(&self, what: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.revoked.get() {
            "revoked"
        } else {
            "open"
        };
        write!(f, "{what} ({state})")
    }
}
