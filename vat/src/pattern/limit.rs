//! References that are good for so many calls, so many in a time, or so long.
//!
//! ```
//! use std::time::Duration;
//!
//! use vat::pattern::limit;
//! # use vat::prelude::*;
//! # #[vat::interface]
//! # trait Guestbook {
//! #     /// How many have signed.
//! #     fn entries(&self, turn: &Turn) -> Result<u64>;
//! # }
//! # #[derive(Clone, vat::Object)]
//! # struct Book;
//! # impl Guestbook for Book {
//! #     fn entries(&self, _: &Turn) -> Result<u64> {
//! #         Ok(3)
//! #     }
//! # }
//! # let vat = vat::Vat::new("a");
//! # let guestbook = vat.turn(|turn| Ok(GuestbookRef::new(turn, Book)))?;
//! let minute = Duration::from_secs(60);
//! let (once, calm, today) = vat.turn(|turn| {
//!     let once = limit::once(turn, &guestbook);
//!     let calm = limit::rate(turn, &guestbook, minute, 2);
//!     Ok((once, calm, limit::until(turn, &guestbook, 24 * 60 * minute)))
//! })?;
//! let told: Vec<Promise<u64>> = [&once, &once, &calm, &calm, &calm, &today]
//!     .iter()
//!     .map(|guestbook| guestbook.entries())
//!     .collect();
//! vat.run(100);
//! let told = told.iter().map(|one| one.try_take().unwrap().map_err(|error| error.kind()));
//! let (revoked, overloaded) = (Err(ErrorKind::Revoked), Err(ErrorKind::Overloaded));
//! assert!(told.eq([Ok(3), revoked, Ok(3), Ok(3), overloaded, Ok(3)]));
//! # Ok::<(), vat::Error>(())
//! ```

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::way::{Way, over};
use crate::core::{AnyCall, Dynamic, Effect, Method as _, Ref, Shared, TimerId, Turn, Work};
use crate::error::{Error, Result};
use crate::schema::Describe;

/// A reference that is good for one call: [`times`] with 1.
pub fn once<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R) -> R {
    times(turn, to, 1)
}

/// A reference that is good for this many calls; later ones are refused with
/// [`ErrorKind::Revoked`](crate::ErrorKind::Revoked).
///
/// A call is counted when it is passed on, whatever becomes of it. To ask for the interface
/// (`describe`) costs nothing.
pub fn times<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R, calls: u32) -> R {
    let way = match calls {
        0 => Way::nowhere(used_up(calls)),
        _ => Way::to(to.clone().into()),
    };
    turn.spawn(Times {
        way,
        calls,
        left: calls,
    })
    .dynamic()
}

/// A reference through which one call in each `per` passes on average, and at most `burst` at once;
/// those beyond are refused with [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded), which says
/// when the next one will pass.
///
/// A refused call costs nothing. The time is that of the runtime, as with
/// [`Promise::within`](crate::Promise::within): in a vat that is told no time no more than `burst`
/// calls ever pass. `describe` counts like any call.
pub fn rate<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R, per: Duration, burst: u32) -> R {
    turn.spawn(Rate {
        way: Way::to(to.clone().into()),
        per,
        burst,
        full: Duration::ZERO,
    })
    .dynamic()
}

/// A reference that is good for this long, counted from the turn's commit in the time of the runtime;
/// later calls are refused with [`ErrorKind::Revoked`](crate::ErrorKind::Revoked). A call that was
/// passed on before is answered.
///
/// What was behind it is let go of at that moment, not only with the next call.
pub fn until<R: Clone + From<Ref> + Into<Ref>>(turn: &Turn, to: &R, time: Duration) -> R {
    let lease = Rc::new(Lease {
        vat: Rc::downgrade(&turn.0),
        way: Way::to(to.clone().into()),
        time,
        end: Cell::new(None),
    });
    let begin = Begin(Rc::clone(&lease));
    turn.0.effect(Effect::Now(Box::new(begin)));
    turn.spawn(Until(lease)).dynamic()
}

#[derive(vat::Object)]
#[object(external)]
struct Times {
    way: Way,
    calls: u32,
    left: u32,
}

impl Dynamic for Times {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let counts = call.interface() != Describe::INTERFACE;
        self.way.pass(turn, call);
        if counts && self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                self.way.end(used_up(self.calls));
            }
        }
        Ok(())
    }
}

fn used_up(calls: u32) -> Error {
    let calls = match calls {
        1 => "one call".to_owned(),
        calls => format!("{calls} calls"),
    };
    over(format!("the reference is used up: it was good for {calls}"))
}

/// The generic cell rate algorithm: one moment stands for how full the bucket is.
#[derive(vat::Object)]
#[object(external)]
struct Rate {
    way: Way,
    per: Duration,
    burst: u32,
    /// When the whole burst will be there again.
    full: Duration,
}

impl Rate {
    /// Takes one call; otherwise says how long it is until the next one passes.
    fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        let full = self.full.max(now).saturating_add(self.per);
        let room = now.saturating_add(self.per.saturating_mul(self.burst));
        if full > room {
            return Err(full - room);
        }
        self.full = full;
        Ok(())
    }
}

impl Dynamic for Rate {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        if self.burst == 0 {
            call.refuse(turn, Error::overloaded("no calls pass: the burst is 0"));
            return Ok(());
        }
        match self.admit(turn.0.now()) {
            Ok(()) => self.way.pass(turn, call),
            Err(wait) => {
                let (per, burst) = (self.per, self.burst);
                let told = format!(
                    "one call in {per:?} passes, and {burst} at once; the next one in {wait:?}"
                );
                call.refuse(turn, Error::overloaded(told));
            }
        }
        Ok(())
    }
}

#[derive(vat::Object)]
#[object(external)]
struct Until(Rc<Lease>);

/// A way that ends by time. It takes its timer along when it goes.
struct Lease {
    vat: Weak<Shared>,
    way: Way,
    time: Duration,
    /// Known from the commit on.
    end: Cell<Option<(Duration, TimerId)>>,
}

impl Lease {
    fn expire(&self) {
        let time = self.time;
        self.way.end(over(format!(
            "the reference has expired: it was good for {time:?}"
        )));
    }
}

impl Dynamic for Until {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let Self(lease) = self;
        // The timer's own work may be queued behind this call.
        if lease.end.get().is_some_and(|(end, _)| turn.0.now() >= end) {
            lease.expire();
        }
        lease.way.pass(turn, call);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (Some((_, timer)), Some(vat)) = (self.end.get(), self.vat.upgrade()) {
            vat.cancel_timer(timer);
        }
    }
}

/// The commit of the turn that made it: the time begins to count.
struct Begin(Rc<Lease>);

impl Work for Begin {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self(lease) = *self;
        let end = vat.now().saturating_add(lease.time);
        let timer = vat.set_timer(lease.time, Box::new(Expire(Rc::downgrade(&lease))));
        lease.end.set(Some((end, timer)));
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}

/// Time is up.
struct Expire(Weak<Lease>);

impl Work for Expire {
    fn run(self: Box<Self>, _: &Rc<Shared>) {
        if let Some(lease) = self.0.upgrade() {
            lease.expire();
        }
    }

    fn fail(self: Box<Self>, _: &Rc<Shared>, _: Error) {}
}
