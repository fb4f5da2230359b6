//! References that show some of an object's methods.

use crate::core::{AnyCall, Dynamic, Interface, Method as _, Ref, Turn, describe};
use crate::data::Data;
use crate::dynamic::{closest, means, shown};
use crate::error::{Error, Result};
use crate::schema::{Describe, Description, Interface as Described, Method, lineage};

/// A reference that has only these methods of its interface; others are refused with
/// [`ErrorKind::Unimplemented`](crate::ErrorKind::Unimplemented). Names are those of Rust or of the
/// schema, inherited methods included.
///
/// The methods are those of `R` as this program knows it: what another version of the interface, or
/// one that extends it, has besides is refused.
///
/// ```
/// use vat::pattern;
/// # use vat::prelude::*;
/// # #[vat::interface]
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
/// #         Ok(())
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let guestbook = vat.turn(|turn| Ok(GuestbookRef::new(turn, Book)))?;
/// let reader = vat.turn(|turn| pattern::facet(turn, &guestbook, &["entries"]))?;
/// let (entries, burned) = (reader.entries(), reader.burn());
/// vat.run(100);
/// assert_eq!(entries.try_take().unwrap()?, 3);
/// assert_eq!(burned.try_take().unwrap().unwrap_err().kind(), ErrorKind::Unimplemented);
///
/// let mistake = vat.turn(|turn| pattern::facet(turn, &guestbook, &["entires"]));
/// assert!(mistake.unwrap_err().to_string().contains("did you mean `entries`?"));
/// # Ok::<(), vat::Error>(())
/// ```
///
/// # Errors
///
/// A name that is no method of the interface.
pub fn facet<R: Interface + Data>(turn: &Turn, to: &R, methods: &[&str]) -> Result<R> {
    let all = all_methods(&describe::<R>());
    for name in methods {
        if !all.iter().any(|one| means(name, &one.method.name)) {
            return Err(unknown::<R>(name, &all));
        }
    }
    let named = |one: &MethodAt| methods.iter().any(|name| means(name, &one.method.name));
    Ok(show(turn, to, all, named))
}

/// A reference that has only the methods that are declared as reading: the `&self` ones.
///
/// That is the interface's word, not a proof: the object behind it, wherever it is, does what it does.
/// Neither does it reach further: a reference that a reading method answers is as it is.
///
/// ```
/// use vat::pattern;
/// # use vat::prelude::*;
/// # #[vat::interface]
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
/// #         Ok(())
/// #     }
/// # }
/// # let vat = vat::Vat::new("a");
/// # let guestbook = vat.turn(|turn| Ok(GuestbookRef::new(turn, Book)))?;
/// let reader = vat.turn(|turn| Ok(pattern::read_only(turn, &guestbook)))?;
/// let (entries, burned) = (reader.entries(), reader.burn());
/// vat.run(100);
/// assert_eq!(entries.try_take().unwrap()?, 3);
/// assert_eq!(burned.try_take().unwrap().unwrap_err().kind(), ErrorKind::Unimplemented);
/// # Ok::<(), vat::Error>(())
/// ```
pub fn read_only<R: Interface + Data>(turn: &Turn, to: &R) -> R {
    let all = all_methods(&describe::<R>());
    show(turn, to, all, |one| one.method.reads)
}

fn show<R: Interface>(
    turn: &Turn,
    to: &R,
    all: Vec<MethodAt>,
    shown: impl Fn(&MethodAt) -> bool,
) -> R {
    let (shows, hides) = all.into_iter().partition(shown);
    turn.spawn(Facet {
        to: to.clone().into(),
        name: R::NAME,
        shows,
        hides,
    })
    .dynamic()
}

/// A method with what a call names it by.
pub(super) struct MethodAt {
    pub(super) interface: u64,
    pub(super) ordinal: u16,
    pub(super) method: Method,
}

/// The methods of the described interface: its own first, then those of what it extends.
pub(super) fn all_methods(description: &Description) -> Vec<MethodAt> {
    let own = |interface: &Described| -> Vec<MethodAt> {
        let id = interface.id;
        let methods = (0_u16..).zip(&interface.methods);
        let at = |(ordinal, method): (u16, &Method)| MethodAt {
            interface: id,
            ordinal,
            method: method.clone(),
        };
        methods.map(at).collect()
    };
    let lineage = lineage(description.root, |id| description.interface(id));
    lineage.into_iter().flat_map(own).collect()
}

fn unknown<R: Interface>(name: &str, all: &[MethodAt]) -> Error {
    let names = || all.iter().map(|one| one.method.name.as_str());
    let hint = match closest(name, names()) {
        Some(meant) => format!("did you mean `{}`?", shown(&meant)),
        None => {
            let names: Vec<String> = names().map(shown).collect();
            format!("it has {}", names.join(", "))
        }
    };
    Error::failed(format!("{} has no method `{name}`; {hint}", R::NAME))
}

#[derive(vat::Object)]
#[object(external)]
struct Facet {
    to: Ref,
    name: &'static str,
    shows: Vec<MethodAt>,
    hides: Vec<MethodAt>,
}

impl Dynamic for Facet {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let asked = (call.interface(), call.method());
        let meant = |one: &&MethodAt| (one.interface, one.ordinal) == asked;
        if asked.0 == Describe::INTERFACE || self.shows.iter().any(|one| meant(&one)) {
            self.to.forward(call);
            return Ok(());
        }
        let what = match self.hides.iter().find(meant) {
            Some(hidden) => format!("`{}`", shown(&hidden.method.name)),
            None => format!("{call:?}"),
        };
        let what = format!("this facet of {} does not have {what}", self.name);
        call.refuse(turn, Error::unimplemented(what));
        Ok(())
    }
}
