//! Near references and synchronous calls between the objects of one vat.

use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::death::Frame;
use super::heap::{AnyObject, Head, Obj, Object};
use super::turn::Turn;
use super::vat::Shared;
use crate::error::{Error, ErrorKind, Result};

/// How deep near calls may nest; beyond it a call is refused with [`ErrorKind::Overloaded`], long
/// before the thread's stack ends.
pub(crate) const MAX_DEPTH: u32 = 128;

/// A reference to an object of the own vat, with its Rust type: calls are plain Rust calls and
/// happen at once.
///
/// `Near<T>` has the interfaces that `T` has: `book.page(turn, 0, 10)?`. Other methods are reached
/// through [`with`](Self::with), [`call`](Self::call) and [`read`](Self::read). Two are equal when
/// they are the same object.
pub struct Near<T>(pub(crate) Rc<Obj<T>>);

/// A [`Near`] that does not keep its object alive.
pub struct WeakNear<T>(Weak<Obj<T>>);

impl<T: Object> Near<T> {
    /// A near call whose body gives a plain value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reentrant`] if a method of the object is on the stack, [`ErrorKind::Dead`] if
    /// the object died, [`ErrorKind::Overloaded`] if calls nest too deep.
    #[track_caller]
    #[inline]
    pub fn with<R>(&self, turn: &Turn, body: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.enter_at(turn, Location::caller(), body)
    }

    /// A near call whose body gives a `Result`; the runtime's own errors join its error type.
    ///
    /// # Errors
    ///
    /// What the body gives, and what [`with`](Self::with) lists.
    #[track_caller]
    #[inline]
    pub fn call<R, E: From<Error>>(
        &self,
        turn: &Turn,
        body: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        match self.enter_at(turn, Location::caller(), body) {
            Ok(result) => result,
            Err(error) => Err(error.into()),
        }
    }

    /// A near read: no old state is kept, and reads of one object may overlap.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    #[track_caller]
    #[inline]
    pub fn read<R>(&self, turn: &Turn, body: impl FnOnce(&T) -> R) -> Result<R> {
        self.read_at(turn, Location::caller(), body)
    }

    /// A reference that does not keep the object alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakNear<T> {
        WeakNear(Rc::downgrade(&self.0))
    }

    /// Looks at the state outside of any turn; `None` if a method is at it, or it is gone.
    pub(crate) fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.state.try_borrow().ok()?.as_ref().map(look)
    }

    #[inline]
    pub(crate) fn read_at<R>(
        &self,
        turn: &Turn,
        site: &'static Location<'static>,
        body: impl FnOnce(&T) -> R,
    ) -> Result<R> {
        self.check_turn(turn)?;
        if self.0.head.fate.is_dead() {
            return Err(self.dead());
        }
        let Ok(state) = self.0.state.try_borrow() else {
            return Err(self.reentered(site));
        };
        let Some(state) = state.as_ref() else {
            return Err(self.dead());
        };
        let entered = Entered::new(self, &turn.0, site)?;
        let result = body(state);
        entered.leave();
        Ok(result)
    }

    #[inline]
    pub(crate) fn enter_at<R>(
        &self,
        turn: &Turn,
        site: &'static Location<'static>,
        body: impl FnOnce(&mut T) -> R,
    ) -> Result<R> {
        if self.0.head.touched.get() != turn.0.turn.number.get() {
            self.touch(turn, site)?;
        }
        let Ok(mut state) = self.0.state.try_borrow_mut() else {
            return Err(self.reentered(site));
        };
        let Some(state) = state.as_mut() else {
            return Err(self.dead());
        };
        let entered = Entered::new(self, &turn.0, site)?;
        let result = body(state);
        entered.leave();
        Ok(result)
    }

    /// The first `&mut` call of a turn: takes the old state.
    #[cold]
    #[inline(never)]
    fn touch(&self, turn: &Turn, site: &'static Location<'static>) -> Result<()> {
        self.check_turn(turn)?;
        if self.0.head.fate.is_dead() {
            return Err(self.dead());
        }
        if self.0.state.try_borrow_mut().is_err() {
            return Err(self.reentered(site));
        }
        if T::DURABLE.is_some()
            && let Some(graph) = turn.0.durable.get()
        {
            graph.touch(&*self.0, || Rc::<Obj<T>>::clone(&self.0))?;
        }
        if T::TRANSACTIONAL
            && let Some(old) = Rc::<Obj<T>>::clone(&self.0).remember()
        {
            turn.0.turn.undo.borrow_mut().push(old);
        }
        self.0.head.touched.set(turn.0.turn.number.get());
        Ok(())
    }

    #[inline]
    fn check_turn(&self, turn: &Turn) -> Result<()> {
        if std::ptr::eq(self.0.head.vat.as_ptr(), Rc::as_ptr(&turn.0)) && turn.0.turn.running.get()
        {
            return Ok(());
        }
        Err(Error::internal(
            ErrorKind::Failed,
            format!("{self:?}: a near call needs a running turn of the object's own vat"),
            "a near call outside of a turn",
        ))
    }

    #[cold]
    fn dead(&self) -> Error {
        super::death::dead(&*self.0)
    }

    #[cold]
    fn reentered(&self, site: &'static Location<'static>) -> Error {
        let first = self
            .0
            .head
            .site
            .get()
            .map(ToString::to_string)
            .unwrap_or_default();
        Error::internal(
            ErrorKind::Reentrant,
            format!("{self:?} is still in the call made at {first}; called again at {site}"),
            "the call came back to an object that was still busy with it",
        )
    }

    #[cold]
    fn too_deep(&self, site: &'static Location<'static>) -> Error {
        Error::internal(
            ErrorKind::Overloaded,
            format!("{self:?} called at {site}: near calls nest deeper than {MAX_DEPTH}"),
            "near calls nest too deep",
        )
    }
}

impl<T> WeakNear<T> {
    /// The object, if somebody still holds it.
    pub fn upgrade(&self) -> Option<Near<T>> {
        self.0.upgrade().map(Near)
    }
}

/// A near call on the stack. Undone by `leave`, or by a panic that passes through.
struct Entered<'a, T: Object> {
    near: &'a Near<T>,
    vat: &'a Shared,
    outer_site: Option<&'static Location<'static>>,
    outer_top: u32,
}

impl<'a, T: Object> Entered<'a, T> {
    #[inline]
    fn new(near: &'a Near<T>, vat: &'a Shared, site: &'static Location<'static>) -> Result<Self> {
        let head: &Head = &near.0.head;
        if vat.turn.depth.get() >= MAX_DEPTH {
            return Err(near.too_deep(site));
        }
        vat.turn.depth.set(vat.turn.depth.get() + 1);
        let outer_site = head.site.replace(Some(site));
        let outer_top = vat.turn.top.replace(head.slot);
        Ok(Self {
            near,
            vat,
            outer_site,
            outer_top,
        })
    }

    #[inline]
    fn leave(self) {
        self.restore();
        // Not dropped: that is for panics.
        let _left = std::mem::ManuallyDrop::new(self);
    }

    #[inline]
    fn restore(&self) {
        self.vat
            .turn
            .depth
            .set(self.vat.turn.depth.get().saturating_sub(1));
        self.vat.turn.top.set(self.outer_top);
        self.near.0.head.site.set(self.outer_site);
    }
}

impl<T: Object> Drop for Entered<'_, T> {
    #[cold]
    fn drop(&mut self) {
        let depth = self.vat.turn.depth.get();
        self.restore();
        let frame = Frame {
            depth,
            slot: self.near.0.head.slot,
            outer: self.outer_top,
        };
        self.vat.panic_passes(frame, !T::TRANSACTIONAL, || {
            Rc::<Obj<T>>::clone(&self.near.0)
        });
    }
}

impl<T> Clone for Near<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Clone for WeakNear<T> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<T> PartialEq for Near<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Near<T> {}

impl<T: Object> fmt::Debug for Near<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object: &dyn AnyObject = &*self.0;
        fmt::Display::fmt(object, f)
    }
}

impl<T: Object> fmt::Debug for WeakNear<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.upgrade() {
            Some(near) => write!(f, "weak {near:?}"),
            None => f.write_str("weak (gone)"),
        }
    }
}
