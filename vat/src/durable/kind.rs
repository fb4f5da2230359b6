//! Durable types: their name, their version, how their values are read and written.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{self, CodecError};
use crate::core::Object;
use crate::error::{Error, Result};

/// A type whose objects can be kept on disk. Derived together with [`Object`](macro@crate::Object):
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use vat::durable::Old;
///
/// #[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
/// #[object(durable = "guestbook.Book", version = 2, migrate = older_book)]
/// struct Book {
///     entries: Vec<String>,
///     title: String,
/// }
///
/// /// How version 1 looked.
/// #[derive(Deserialize)]
/// struct Book1 {
///     entries: Vec<String>,
/// }
///
/// fn older_book(old: Old<'_>) -> vat::Result<Book> {
///     let Book1 { entries } = old.read()?;
///     Ok(Book { entries, title: "untitled".into() })
/// }
/// ```
///
/// The state is written with the names of its fields, so a field may be added with `#[serde(default)]`
/// and a field may go without a new version. Everything else needs one, and a function that reads what
/// older versions have written.
///
/// What goes without a durable type: caches, timers, connections. Leave them out with `#[serde(skip)]`.
pub trait Durable: Object + Serialize + DeserializeOwned {
    /// What the type is called on disk: `package.Type`, the same for ever.
    const NAME: &'static str;
    /// The version that is written; older ones are [migrated](Self::migrate), newer ones refused.
    const VERSION: u32 = 1;

    /// The state that an older version of the type has written.
    ///
    /// # Errors
    ///
    /// If it cannot be read. Without a function of its own, a type reads no older version.
    fn migrate(old: Old<'_>) -> Result<Self> {
        Err(old.refuse())
    }
}

/// A state as an older version of its type has written it.
#[derive(Clone, Copy)]
pub struct Old<'a> {
    name: &'static str,
    version: u32,
    current: u32,
    state: &'a [u8],
}

impl Old<'_> {
    /// Which version has written it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The state as a type that looks as that version did.
    ///
    /// # Errors
    ///
    /// If that type looks otherwise.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        codec::read(self.state).map_err(|error| unreadable(self.name, self.version, &error))
    }

    /// What to answer for a version that is not known.
    pub fn refuse(&self) -> Error {
        let Self {
            name,
            version,
            current,
            ..
        } = self;
        Error::failed(format!(
            "the store holds version {version} of {name}, this program writes version {current} and \
             has no migration from {version}: add one with `#[object(migrate = …)]`"
        ))
    }
}

impl fmt::Debug for Old<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {}", self.version, self.name)
    }
}

/// How values of `T` are kept. Made by the derive only; not stable.
pub struct Kind<T> {
    durable: DurableType,
    check: fn(&T) -> Result<(), CodecError>,
    write: fn(&T, &mut Vec<u8>) -> Result<(), CodecError>,
    read: fn(u32, &[u8]) -> Result<T>,
}

/// A durable type's name and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurableType {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
}

impl<T: Durable> Kind<T> {
    /// How a durable type is kept.
    #[must_use]
    pub const fn of() -> Self {
        Self {
            durable: DurableType {
                name: T::NAME,
                version: T::VERSION,
            },
            check: codec::check::<T>,
            write: codec::write::<T>,
            read: read::<T>,
        }
    }
}

impl<T> Kind<T> {
    pub(crate) const fn durable_type(&self) -> DurableType {
        self.durable
    }

    pub(crate) fn check(&self, state: &T) -> Result<(), CodecError> {
        (self.check)(state)
    }

    pub(crate) fn write(&self, state: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        (self.write)(state, out)
    }

    pub(crate) fn read(&self, version: u32, state: &[u8]) -> Result<T> {
        (self.read)(version, state)
    }
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.durable.fmt(f)
    }
}

fn read<T: Durable>(version: u32, state: &[u8]) -> Result<T> {
    match version.cmp(&T::VERSION) {
        std::cmp::Ordering::Equal => {
            codec::read(state).map_err(|error| unreadable(T::NAME, version, &error))
        }
        std::cmp::Ordering::Less => T::migrate(Old {
            name: T::NAME,
            version,
            current: T::VERSION,
            state,
        }),
        std::cmp::Ordering::Greater => Err(Error::failed(format!(
            "the store holds version {version} of {}, this program knows no version above {}: run \
             the newer program, or a copy of the store from before it ran",
            T::NAME,
            T::VERSION
        ))),
    }
}

fn unreadable(name: &str, version: u32, error: &CodecError) -> Error {
    Error::failed(format!(
        "version {version} of {name} in the store does not look as this program says it does: \
         {error}; a changed type needs a new version and a migration"
    ))
}
