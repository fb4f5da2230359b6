//! The references inside a promised value, which can be called before the value is there.

use std::rc::Rc;

use super::state::Core;
use crate::core::reference::Ref;
use crate::core::vat::Shared;
use crate::data::Data;
use crate::error::{Error, Result};

/// The references inside a promised value, which can be called before the value is there:
/// `opened.file.read()`. Implemented by `#[derive(vat::Data)]`; not stable.
pub trait Fields<T>: Sized + 'static {
    /// Where each reference is: indexes into the pointer sections, from the value's own struct on.
    const PATHS: &'static [&'static [u16]];
    /// The promised references, one per path and in the same order.
    fn new(promised: &[Ref]) -> Self;
    /// The references of the value that came, in the same order; `None` where it has none.
    fn of(value: &T) -> Vec<Option<Ref>>;
}

/// The fields of a value in which no reference can be called ahead.
#[derive(Debug)]
pub struct NoFields;

impl<T> Fields<T> for NoFields {
    const PATHS: &'static [&'static [u16]] = &[];

    fn new(_: &[Ref]) -> Self {
        Self
    }

    fn of(_: &T) -> Vec<Option<Ref>> {
        Vec::new()
    }
}

impl<T: Data> Core<T> {
    /// The promised references inside the value, made on first use.
    pub(super) fn fields(&self) -> &T::Fields {
        let (_, fields) = self.fields.get_or_init(|| {
            let vat = self.vat.upgrade();
            let promised: Vec<Ref> = T::Fields::PATHS
                .iter()
                .map(|_| Ref::promised_in(vat.as_ref()))
                .collect();
            let fields = T::Fields::new(&promised);
            (promised, fields)
        });
        fields
    }

    pub(super) fn resolve_fields(&self, vat: &Rc<Shared>, result: &Result<T>) {
        if self.encoded.get() {
            return;
        }
        let Some((promised, _)) = self.fields.get() else {
            return;
        };
        let mut actual = match result {
            Ok(value) => T::Fields::of(value).into_iter(),
            Err(_) => Vec::new().into_iter(),
        };
        for promise in promised {
            let to = match result {
                Ok(_) => actual.next().flatten().ok_or_else(no_such_reference),
                Err(error) => Err(error.clone()),
            };
            vat.resolve(promise, to);
        }
    }
}

fn no_such_reference() -> Error {
    Error::failed("the result has no reference in this field")
}
