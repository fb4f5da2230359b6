//! States as bytes: `MessagePack` with the names of fields, references to durable objects as an
//! extension type.
//!
//! Why `MessagePack`: it is self-describing, so a store can be listed, exported and checked by a tool
//! that knows none of its types, and a field can be added without a new version; it is compact, has
//! bytes and an extension type for references, and reads and writes fast.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::Durable;
use super::null::Null;
use crate::core::{AnyObject, Near, Obj, Shared, quietly};

/// The extension type of a reference to a durable object: its number, highest byte first.
pub(super) const OBJECT_EXT: i8 = 1;
/// That of the reference in a power slot: the slot's name.
pub(super) const POWER_EXT: i8 = 2;
/// That of a reference that came from a sturdy ref: the slot of the network power, a 0, the URI.
pub(super) const STURDY_EXT: i8 = 3;

/// Why a state cannot be written or read.
#[derive(Debug)]
pub(crate) struct CodecError(String);

impl CodecError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

/// An extension type, as `rmp_serde` knows it by its name.
#[derive(Serialize, Deserialize)]
#[serde(rename = "_ExtStruct")]
pub(super) struct Ext(pub(super) (i8, ByteBuf));

/// What happens to the references in a state that is looked at.
pub(super) struct Saving {
    vat: Rc<Shared>,
    /// Nothing is written yet: objects that have no number are found.
    check: bool,
    /// The numbers of the objects that the state refers to.
    pub(super) refs: Vec<u64>,
    /// Objects without a number that it refers to.
    pub(super) found: Vec<Rc<dyn AnyObject>>,
}

thread_local! {
    static SAVING: RefCell<Option<Saving>> = const { RefCell::new(None) };
    static LOADING: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// Runs `look` on a state of this vat. What it found of references comes with its result.
pub(super) fn saving<R>(vat: &Rc<Shared>, check: bool, look: impl FnOnce() -> R) -> (R, Saving) {
    let saving = Saving {
        vat: Rc::clone(vat),
        check,
        refs: Vec::new(),
        found: Vec::new(),
    };
    let outer = SAVING.replace(Some(saving));
    let restore = Restore(Some(outer));
    let result = look();
    let saving = SAVING.take();
    drop(restore);
    let none = || Saving {
        vat: Rc::clone(vat),
        check,
        refs: Vec::new(),
        found: Vec::new(),
    };
    (result, saving.unwrap_or_else(none))
}

struct Restore(Option<Option<Saving>>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(outer) = self.0.take() {
            SAVING.set(outer);
        }
    }
}

/// Runs `read`, in which references of states come to objects of this vat.
pub(super) fn loading<R>(vat: &Rc<Shared>, read: impl FnOnce() -> R) -> R {
    struct Back(Option<Rc<Shared>>);
    impl Drop for Back {
        fn drop(&mut self) {
            LOADING.set(self.0.take());
        }
    }
    let _back = Back(LOADING.replace(Some(Rc::clone(vat))));
    read()
}

/// A type's own code may panic while its state is written: that is an error like others.
pub(super) fn guarded<R>(write: impl FnOnce() -> Result<R, CodecError>) -> Result<R, CodecError> {
    catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|panic| {
        let error = crate::error::Error::panicked(panic.as_ref());
        quietly(|| drop(panic));
        Err(CodecError(format!("its code panicked: {error}")))
    })
}

/// Whether `state` can be written.
pub(super) fn check<T: Serialize>(state: &T) -> Result<(), CodecError> {
    state.serialize(Null)
}

/// Writes `state`.
pub(super) fn write<T: Serialize>(state: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    state
        .serialize(&mut serializer)
        .map_err(|error| CodecError(error.to_string()))
}

/// Reads a state.
pub(super) fn read<T: DeserializeOwned>(state: &[u8]) -> Result<T, CodecError> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(state);
    T::deserialize(&mut deserializer).map_err(|error| CodecError(error.to_string()))
}

impl Saving {
    /// A state refers to this object.
    fn refer(&mut self, object: &Rc<dyn AnyObject>) -> Result<Option<u64>, CodecError> {
        let head = object.head();
        if !std::ptr::eq(head.vat.as_ptr(), Rc::as_ptr(&self.vat)) {
            return Err(CodecError(format!("{object} is an object of another vat")));
        }
        let graph = self.vat.durable.get();
        let id = graph.and_then(|graph| graph.id_of(&**object));
        match id {
            _ if self.check => {
                if id.is_none() {
                    if head.fate.is_dead() {
                        return Err(CodecError(format!(
                            "{object} died before it was kept on disk"
                        )));
                    }
                    self.found.push(Rc::clone(object));
                }
                Ok(None)
            }
            Some(id) => {
                self.refs.push(id);
                Ok(Some(id))
            }
            None => Err(CodecError(format!("{object} has no place in the store"))),
        }
    }
}

pub(super) const NOT_ALONE: &str =
    "a reference can be written and read only as part of a durable object's state";

/// The vat whose state is being written, and whether that is only checked.
pub(super) fn saved_vat() -> Option<(Rc<Shared>, bool)> {
    SAVING.with_borrow(|saving| {
        let saving = saving.as_ref()?;
        Some((Rc::clone(&saving.vat), saving.check))
    })
}

/// The vat whose state is being read.
pub(super) fn loaded_vat() -> Option<Rc<Shared>> {
    LOADING.with_borrow(Clone::clone)
}

impl<T: Durable> Serialize for Near<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let object: Rc<dyn AnyObject> = Rc::<Obj<T>>::clone(&self.0);
        let id = SAVING.with_borrow_mut(|saving| match saving {
            Some(saving) => saving.refer(&object),
            None => Err(CodecError::new(NOT_ALONE)),
        });
        match id.map_err(S::Error::custom)? {
            Some(id) => Ext((OBJECT_EXT, ByteBuf::from(id.to_be_bytes()))).serialize(serializer),
            None => serializer.serialize_unit(),
        }
    }
}

impl<'de, T: Durable> Deserialize<'de> for Near<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let Ext((kind, bytes)) = Ext::deserialize(deserializer)?;
        let id = match (kind, <[u8; 8]>::try_from(bytes.as_slice())) {
            (OBJECT_EXT, Ok(id)) => u64::from_be_bytes(id),
            _ => return Err(D::Error::custom("this is no reference to a durable object")),
        };
        let near = loaded_vat().and_then(|vat| Some(vat.durable.get()?.object_at::<T>(&vat, id)));
        match near {
            Some(near) => near.map_err(D::Error::custom),
            None => Err(D::Error::custom(NOT_ALONE)),
        }
    }
}
