//! References whose calls are recorded.

use std::rc::Rc;
use std::time::Duration;

use super::facet::{MethodAt, all_methods};
use crate::core::{AnyCall, Dynamic, Interface, Method as _, Ref, Shared, Turn, describe, quietly};
use crate::data::Data;
use crate::dynamic::shown;
use crate::error::{Error, Result};
use crate::schema::Describe;

/// A call that went through a [`logging`] reference and has ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Logged<'a> {
    /// `package::Trait`; the id if this program's version of the interface does not have it.
    pub interface: &'a str,
    /// The method's name in Rust; the ordinal if this program's version does not have it.
    pub method: &'a str,
    /// Why it broke, if it did.
    pub error: Option<&'a Error>,
    /// How long it took, by the time of the runtime.
    pub took: Duration,
}

/// A reference each of whose calls is told to `sink` when it has ended, before its caller is told:
/// which method, how it ended, how long it took. What is in the call is not looked at.
///
/// The sink runs outside of turns: nothing that it does is rolled back, and a call that failed is
/// recorded as such. It is the program's own code: its sends leave at once, and a panic in it is logged
/// and goes no further.
///
/// A call from another vat whose answer holds references: what is pipelined on them waits in this vat
/// until the answer is there.
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
///
/// use vat::pattern;
/// # use vat::prelude::*;
/// # #[vat::interface(name = "books::Guestbook")]
/// # trait Guestbook {
/// #     /// How many have signed.
/// #     fn entries(&self, turn: &Turn) -> Result<u64>;
/// #     /// Forgets everything.
/// #     fn burn(&mut self, turn: &Turn) -> Result<()>;
/// # }
/// # #[derive(Clone, vat::Object)]
/// # struct Book;
/// # impl Guestbook for Book {
/// #     fn entries(&self, _: &Turn) -> Result<u64> {
/// #         Ok(3)
/// #     }
/// #     fn burn(&mut self, _: &Turn) -> Result<()> {
/// #         Err(Error::failed("too wet"))
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let guestbook = vat.turn(|turn| Ok(GuestbookRef::new(turn, Book)))?;
/// let lines = Rc::new(RefCell::new(Vec::new()));
/// let sink = Rc::clone(&lines);
/// let watched = vat.turn(|turn| {
///     Ok(pattern::logging(turn, &guestbook, move |call| {
///         let outcome = call.error.map_or("ok".to_owned(), ToString::to_string);
///         sink.borrow_mut().push(format!("{} {}: {outcome}", call.interface, call.method));
///     }))
/// })?;
/// watched.entries().detach();
/// watched.burn().detach();
/// vat.run(100);
/// assert_eq!(*lines.borrow(), ["books::Guestbook entries: ok", "books::Guestbook burn: too wet"]);
/// # Ok::<(), vat::Error>(())
/// ```
pub fn logging<R: Interface + Data>(turn: &Turn, to: &R, sink: impl Fn(Logged<'_>) + 'static) -> R {
    let described = describe::<R>();
    let named = |one: &MethodAt| Named {
        interface: one.interface,
        ordinal: one.ordinal,
        names: (
            described
                .interface(one.interface)
                .map_or_else(String::new, |interface| interface.name.clone()),
            shown(&one.method.name),
        ),
    };
    let names = all_methods(&described).iter().map(named).collect();
    let to = to.clone().into();
    let log = Rc::new(Log { names, sink });
    turn.spawn(Logging { to, log }).dynamic()
}

struct Log<S: ?Sized> {
    names: Vec<Named>,
    sink: S,
}

struct Named {
    interface: u64,
    ordinal: u16,
    /// Of the interface and of the method.
    names: (String, String),
}

type Sink = dyn Fn(Logged<'_>);

impl Log<Sink> {
    fn record(&self, (interface, ordinal): (u64, u16), error: Option<&Error>, took: Duration) {
        let mut names = self.names.iter();
        let known = names.find(|one| (one.interface, one.ordinal) == (interface, ordinal));
        let unknown;
        let (interface, method) = match known {
            Some(Named { names, .. }) => (names.0.as_str(), names.1.as_str()),
            None if interface == Describe::INTERFACE => (Describe::INTERFACE_NAME, "describe"),
            None => {
                unknown = (format!("{interface:#018x}"), ordinal.to_string());
                (unknown.0.as_str(), unknown.1.as_str())
            }
        };
        let logged = Logged {
            interface,
            method,
            error,
            took,
        };
        quietly(|| (self.sink)(logged));
    }
}

#[derive(vat::Object)]
#[object(external)]
struct Logging {
    to: Ref,
    log: Rc<Log<Sink>>,
}

impl Dynamic for Logging {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let (log, began) = (Rc::clone(&self.log), turn.0.now());
        let method = (call.interface(), call.method());
        let tap = move |vat: &Rc<Shared>, error: Option<&Error>| {
            log.record(method, error, vat.now().saturating_sub(began));
        };
        self.to.forward(call.tapped(&turn.0, Box::new(tap)));
        Ok(())
    }
}
