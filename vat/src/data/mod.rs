//! Arguments and results: Rust types in Cap'n Proto's own layout.
//!
//! A type that implements [`Data`] may be an argument or a result of an interface's method. Inside a
//! vat its values stay Rust values; when one leaves, it is written as the Cap'n Proto struct, list
//! or number that the type stands for, so that any other implementation can read it.
//!
//! | Rust | Cap'n Proto |
//! |---|---|
//! | `u8` … `u64`, `i8` … `i64`, `f32`, `f64`, `bool`, `()` | `UInt8` … `Bool`, `Void` |
//! | `String` | `Text` |
//! | `Vec<u8>`, [`Bytes`], `[u8; N]` | `Data` |
//! | `Vec<T>` | `List(T)` |
//! | `BTreeMap<K, V>` | a list of `(key, value)`, sorted by key |
//! | `Option<T>` of a text, list, struct or reference | the same pointer, null for `None` |
//! | `Option<T>` of a number or plain enum | a pointer to a struct with the one field `value` |
//! | `Box<T>` | as `T` |
//! | a struct with `#[derive(Data)]` | a struct |
//! | an enum without payloads | an enum |
//! | an enum with payloads | a struct with an unnamed union |
//! | a reference (`FileRef`, `Ref`) | an interface, `Capability` |
//!
//! Reading is safe and strict: nothing that a peer sends makes it panic or take unbounded memory.
//! What is absent, as an older peer does not know it, reads as zero, empty or `None`, or as the
//! field's declared default; an enumerant or variant that this version does not know is an error
//! that gives its number.

mod bytes;
mod compound;
#[cfg(test)]
mod derived;
mod error;
mod layout;
mod reference;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod wire;

pub use bytes::Bytes;
pub use compound::{must_be_listable, must_not_be_optional};
pub use error::{Error, Fault};
#[cfg(test)]
pub(crate) use layout::solve_leaked;
pub use layout::{Branch, Kind, Layout, Member, Size, Slot, Solved, solve};
pub use scalar::{Scalar, default_value};
pub use wire::{Element, MEMORY_LIMIT, NESTING_LIMIT, Reader, Source, Writer};

use capnp::any_pointer;
use captp::Content;

use crate::core::{Fields, Promisable, Ref};
use crate::schema::{FieldShape, Registry, Type};

/// What reading and writing give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What may be an argument or a result.
///
/// Implemented for the types in the [module's table](self), and by `#[derive(vat::Data)]`; an
/// implementation by hand has to keep `KIND`, `ELEMENT`, `write`, `read` and `describe` consistent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result",
    label = "not data",
    note = "put `#[derive(Clone, vat::Data)]` before a struct or enum of your own; the documentation \
            of `vat::data` lists what else is data"
)]
pub trait Data: Clone + Sized + 'static {
    /// What a caller gets at once for a result of this type: a promise for values, the reference
    /// itself for references.
    type Promised: Promisable<Self>;

    /// The references inside that can be called before the value is there.
    type Fields: Fields<Self>;

    /// Where a value lies in a struct.
    const KIND: Kind;

    /// How a list holds values of this type.
    const ELEMENT: Element;

    /// Whether absence is a value of its own.
    const OPTIONAL: bool = false;

    /// Writes into a field or a list; `at` is in units of the value's own size, or the index of a
    /// pointer or an element.
    ///
    /// # Errors
    ///
    /// What [`Fault`] lists for sizes and depths.
    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()>;

    /// Reads what [`write`](Self::write) wrote, in this version of the type or another.
    ///
    /// # Errors
    ///
    /// What [`Fault`] lists.
    fn read(from: &Reader<'_>, at: u32) -> Result<Self>;

    /// Registers the type and what it reaches, and says how Cap'n Proto calls it.
    fn describe(types: &mut Registry) -> Type;

    /// How many words the value takes behind its pointer when it is written, for a buffer of the
    /// right size; nothing for what lies in its struct itself.
    #[inline]
    fn words(&self) -> usize {
        0
    }

    /// Visits the references inside the value, in a fixed order.
    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        let _ = visit;
    }

    /// As [`words`](Self::words), for a list of values.
    fn list_words(items: &[Self]) -> usize {
        let behind = || items.iter().map(Self::words).sum::<usize>();
        match Self::ELEMENT {
            Element::Void | Element::None => 0,
            Element::Bits(size) => (items.len() << size).div_ceil(64),
            Element::Pointer => items.len() + behind(),
            Element::Struct(_) => 1 + behind(),
        }
    }

    /// Writes a list of values.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    fn write_list(items: &[Self], to: &mut Writer<'_>, at: u32) -> Result<()> {
        let mut list = to.list(at, Self::ELEMENT, items.len())?;
        for (item, at) in items.iter().zip(0..) {
            item.write(&mut list, at)
                .map_err(|error| error.in_element(at))?;
        }
        Ok(())
    }

    /// Reads a list of values.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn read_list(from: &Reader<'_>, at: u32) -> Result<Vec<Self>> {
        let list = from.list(at, Self::ELEMENT, size_of::<Self>())?;
        (0..list.len())
            .map(|at| Self::read(&list, at).map_err(|error| error.in_element(at)))
            .collect()
    }

    /// As [`describe`](Self::describe), for a list of values.
    fn describe_list(types: &mut Registry) -> Type {
        Type::List(Box::new(Self::describe(types)))
    }
}

/// What was written, framed as a stream has it.
#[cfg(test)]
pub(crate) fn framed(content: &Content) -> Vec<u8> {
    let segment = content.segment();
    let words = u32::try_from(segment.len() / 8).unwrap();
    [&[0; 4], &words.to_le_bytes()[..], segment].concat()
}

/// What was written, as a message to read.
#[cfg(test)]
pub(crate) fn message_of(
    content: &Content,
) -> capnp::message::Reader<capnp::serialize::OwnedSegments> {
    let bytes = framed(content);
    let options = capnp::message::ReaderOptions::new();
    capnp::serialize::read_message(&mut &bytes[..], options).unwrap()
}

/// A type that is a struct on the wire: a derived struct or an enum with payloads.
pub trait Record: Data {
    /// Its id.
    const ID: u64;

    /// `package::Type`.
    const NAME: &'static str;

    /// Its doc comment.
    const DOC: &'static str;

    /// Where its fields are.
    const LAYOUT: Layout;

    /// Registers what the fields reach, and describes them in source order.
    fn fields(types: &mut Registry) -> Vec<FieldShape>;

    /// Writes the fields into a fresh struct.
    ///
    /// # Errors
    ///
    /// As [`Data::write`].
    fn write_fields(&self, to: &mut Writer<'_>) -> Result<()>;

    /// Reads the fields.
    ///
    /// # Errors
    ///
    /// As [`Data::read`].
    fn read_fields(from: &Reader<'_>) -> Result<Self>;

    /// How many words the value takes as the root of a message, the root pointer apart.
    #[inline]
    fn root_words(&self) -> u32 {
        u32::try_from(self.words()).unwrap_or(u32::MAX)
    }

    /// Writes the value as the root of a message.
    ///
    /// # Errors
    ///
    /// As [`Data::write`].
    fn write_root(&self, to: &mut Content) -> Result<()> {
        self.write_fields(&mut Writer::root(to, Self::LAYOUT.size)?)
    }

    /// Reads the value from the root of a message whose capability pointers stand for these
    /// references.
    ///
    /// # Errors
    ///
    /// As [`Data::read`].
    fn read_root(from: any_pointer::Reader<'_>, references: &[Ref]) -> Result<Self> {
        Self::read_fields(&Reader::root(from, &Source::new(references))?)
    }
}
