//! Reading what came in a message.

use std::cell::Cell;

use capnp::private::layout::{
    ElementSize, ListReader, PointerReader, PrimitiveElement, StructReader,
};
use capnp::traits::FromPointerReader;
use capnp::{any_pointer, any_pointer_list, struct_list};
use captp::{Payload, Plain};

use super::raw::{self, Pointer, Struct};
use super::{Element, MEMORY_LIMIT};
use crate::core::Ref;
use crate::data::Bytes;
use crate::data::Result;
use crate::data::error::Fault;
use crate::data::layout::Kind;

/// What reading one value needs beside its bytes.
#[derive(Debug)]
pub struct Source<'a> {
    references: &'a [Ref],
    memory: Cell<usize>,
    /// The message itself, of which parts can be kept.
    payload: Option<&'a Payload>,
}

impl<'a> Source<'a> {
    /// For a message whose capability pointers stand for these references.
    pub const fn new(references: &'a [Ref]) -> Self {
        Self {
            references,
            memory: Cell::new(MEMORY_LIMIT),
            payload: None,
        }
    }

    /// For the content of this payload: large bytes in it can be kept without copying them.
    pub(crate) const fn of(payload: &'a Payload, references: &'a [Ref]) -> Self {
        Self {
            payload: Some(payload),
            ..Self::new(references)
        }
    }
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// Reads one struct or one list.
///
/// What is not there reads as zero, false, empty or null: a struct of an older version.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    from: From<'a>,
    source: &'a Source<'a>,
}

#[derive(Clone, Copy)]
enum From<'a> {
    /// The root struct, if everything in it is plain to see.
    Plain(Plain<'a>),
    Struct(StructReader<'a>),
    Numbers(ListReader<'a>, Kind),
    Pointers(any_pointer_list::Reader<'a>),
    Structs(struct_list::Reader<'a, Struct>),
}

impl<'a> Reader<'a> {
    /// The root struct of a message.
    ///
    /// # Errors
    ///
    /// [`Fault::Malformed`] if it is not a struct.
    pub fn root(from: any_pointer::Reader<'a>, source: &'a Source<'a>) -> Result<Self> {
        let Pointer(pointer) = from.get_as()?;
        Ok(Self {
            from: From::Struct(pointer.get_struct(None)?),
            source,
        })
    }

    /// The root struct of a payload, if it is [plain](Payload::plain). `source` is of this payload.
    pub(crate) fn plain(payload: &'a Payload, source: &'a Source<'a>) -> Option<Self> {
        let from = From::Plain(payload.plain()?);
        Some(Self { from, source })
    }

    /// Reads a number of 2 to the power of `size` bits.
    #[inline]
    pub fn bits(&self, size: u8, at: u32) -> u64 {
        match &self.from {
            From::Plain(plain) => raw::bits(plain.data(), size, at as usize),
            From::Struct(reader) => {
                let at = at as usize;
                match size {
                    0 => reader.get_bool_field(at).into(),
                    3 => reader.get_data_field::<u8>(at).into(),
                    4 => reader.get_data_field::<u16>(at).into(),
                    5 => reader.get_data_field::<u32>(at).into(),
                    _ => reader.get_data_field::<u64>(at),
                }
            }
            From::Numbers(reader, Kind::Bits(has)) if at < reader.len() && size == *has => {
                match size {
                    0 => <bool as PrimitiveElement>::get(reader, at).into(),
                    3 => <u8 as PrimitiveElement>::get(reader, at).into(),
                    4 => <u16 as PrimitiveElement>::get(reader, at).into(),
                    5 => <u32 as PrimitiveElement>::get(reader, at).into(),
                    _ => <u64 as PrimitiveElement>::get(reader, at),
                }
            }
            From::Numbers(..) | From::Pointers(_) | From::Structs(_) => 0,
        }
    }

    /// Whether a pointer is null. An element of a list of structs never is.
    pub fn is_null(&self, at: u32) -> bool {
        if self.is_absent(at) {
            return true;
        }
        !matches!(self.from, From::Structs(_)) && self.pointer(at).is_none_or(|p| p.is_null())
    }

    /// Reads a text; empty if the pointer is null.
    ///
    /// # Errors
    ///
    /// [`Fault::NotUtf8`], [`Fault::TooLarge`] and [`Fault::Malformed`].
    pub fn text(&self, at: u32) -> Result<&'a str> {
        if self.is_absent(at) {
            return Ok("");
        }
        let pointer = self.pointer(at).ok_or(Fault::NoSlot { at })?;
        let bytes = pointer.get_text(None)?.0;
        self.take_memory(bytes.len())?;
        std::str::from_utf8(bytes).map_err(|error| {
            Fault::NotUtf8 {
                valid: error.valid_up_to(),
            }
            .into()
        })
    }

    /// Reads bytes; empty if the pointer is null.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`] and [`Fault::Malformed`].
    pub fn data(&self, at: u32) -> Result<&'a [u8]> {
        if self.is_absent(at) {
            return Ok(&[]);
        }
        let pointer = self.pointer(at).ok_or(Fault::NoSlot { at })?;
        let bytes = pointer.get_data(None)?;
        self.take_memory(bytes.len())?;
        Ok(bytes)
    }

    /// Reads bytes to be kept; empty if the pointer is null. Many are not copied, if they are a large
    /// part of their message: see [`Bytes`].
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`] and [`Fault::Malformed`].
    pub fn shared_data(&self, at: u32) -> Result<Bytes> {
        let data = self.data(at)?;
        let shared = self.source.payload.and_then(|payload| {
            let shared = payload.share(data)?;
            Some(Bytes::part(shared, payload.bytes()))
        });
        Ok(shared.unwrap_or_else(|| Bytes::copy_from_slice(data)))
    }

    /// Reads a reference.
    ///
    /// # Errors
    ///
    /// [`Fault::MissingReference`] if the pointer is null, [`Fault::UnknownReference`] and
    /// [`Fault::Malformed`].
    pub fn reference(&self, at: u32) -> Result<Ref> {
        if let From::Plain(plain) = &self.from {
            let index = plain.reference(at).ok_or(Fault::MissingReference)?;
            let reference = self.source.references.get(index);
            return Ok(reference.ok_or(Fault::UnknownReference)?.clone());
        }
        let pointer = self.pointer(at).ok_or(Fault::NoSlot { at })?;
        if pointer.is_null() {
            return Err(Fault::MissingReference.into());
        }
        let hook = pointer.get_capability()?;
        let index = captp::cap_index(&*hook).ok_or(Fault::UnknownReference)?;
        let reference = self
            .source
            .references
            .get(index)
            .ok_or(Fault::UnknownReference)?;
        Ok(reference.clone())
    }

    /// A struct: behind a pointer, or an element of a list of structs. Null is the struct whose
    /// fields are all absent.
    ///
    /// # Errors
    ///
    /// [`Fault::Malformed`] if it is something else, or nested too deeply.
    pub fn structure(&self, at: u32) -> Result<Self> {
        if self.is_absent(at) {
            return Ok(self.nothing());
        }
        let reader = match self.from {
            From::Structs(list) => list.try_get(at).ok_or(Fault::NoSlot { at })?.0,
            From::Plain(_) | From::Struct(_) | From::Pointers(_) | From::Numbers(..) => {
                let pointer = self.pointer(at).ok_or(Fault::NoSlot { at })?;
                pointer.get_struct(None)?
            }
        };
        Ok(Self {
            from: From::Struct(reader),
            ..*self
        })
    }

    /// A list whose elements can be read as `element`; empty if the pointer is null. `memory` is
    /// what one element takes once it is read.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLarge`], and [`Fault::Malformed`] if it is not a list of such elements.
    pub fn list(&self, at: u32, element: Element, memory: usize) -> Result<Self> {
        if self.is_absent(at) && element != Element::None {
            return Ok(self.nothing());
        }
        let pointer = self.pointer(at).ok_or(Fault::NoSlot { at })?;
        let from = match element {
            Element::Struct(_) => {
                From::Structs(FromPointerReader::get_from_pointer(&pointer, None)?)
            }
            Element::Pointer => {
                From::Pointers(FromPointerReader::get_from_pointer(&pointer, None)?)
            }
            Element::Bits(size) => {
                From::Numbers(pointer.get_list(element.size(), None)?, Kind::Bits(size))
            }
            Element::Void => From::Numbers(pointer.get_list(ElementSize::Void, None)?, Kind::Void),
            Element::None => return Err(Fault::NoSlot { at }.into()),
        };
        let list = Self { from, ..*self };
        self.take_memory(memory.saturating_mul(list.len() as usize))?;
        Ok(list)
    }

    /// The number of elements of a list; 0 for a struct.
    pub fn len(&self) -> u32 {
        match &self.from {
            From::Plain(_) | From::Struct(_) => 0,
            From::Numbers(list, _) => list.len(),
            From::Pointers(list) => list.len(),
            From::Structs(list) => list.len(),
        }
    }

    /// Whether it is a struct or an empty list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is plain to see that a pointer is null.
    fn is_absent(&self, at: u32) -> bool {
        matches!(self.from, From::Plain(plain) if plain.reference(at).is_none())
    }

    /// A struct without fields, or an empty list.
    fn nothing(&self) -> Self {
        Self {
            from: From::Plain(Plain::default()),
            ..*self
        }
    }

    fn pointer(&self, at: u32) -> Option<PointerReader<'a>> {
        match self.from {
            // A reference where none is expected: what reads it says so.
            From::Plain(_) => {
                let content = self.source.payload?.content().ok()?;
                let Pointer(root) = content.get_as().ok()?;
                let root = root.get_struct(None).ok()?;
                Some(root.get_pointer_field(at as usize))
            }
            From::Struct(reader) => Some(reader.get_pointer_field(at as usize)),
            From::Pointers(list) => {
                let element = list.try_get(at)?;
                element
                    .get_as::<Pointer<'a>>()
                    .ok()
                    .map(|Pointer(pointer)| pointer)
            }
            From::Numbers(..) | From::Structs(_) => None,
        }
    }

    fn take_memory(&self, bytes: usize) -> Result<()> {
        let Some(left) = self.source.memory.get().checked_sub(bytes) else {
            return Err(Fault::TooLarge {
                limit: MEMORY_LIMIT,
            }
            .into());
        };
        self.source.memory.set(left);
        Ok(())
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.from {
            From::Plain(_) | From::Struct(_) => write!(f, "Reader(a struct)"),
            From::Numbers(..) | From::Pointers(_) | From::Structs(_) => {
                write!(f, "Reader(a list of {})", self.len())
            }
        }
    }
}
