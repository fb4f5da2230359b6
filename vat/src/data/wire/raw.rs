//! The smallest types that `capnp`'s typed interfaces accept: a struct and a pointer of any shape.

use std::marker::PhantomData;

use capnp::introspect::{Introspect, Type, TypeVariant};
use capnp::private::layout::{
    PointerBuilder, PointerReader, StructBuilder, StructReader, StructSize,
};
use capnp::traits::{
    FromPointerReader, HasStructSize, IntoInternalStructReader, OwnedStruct, SetterInput,
};
use capnp::{Result, Word};

/// Any struct, in a list.
#[derive(Clone, Copy)]
pub(super) struct Struct;

#[derive(Clone, Copy)]
pub(super) struct Element<'a>(pub(super) StructReader<'a>);

/// Nothing is written with it.
pub(super) struct ElementBuilder<'a>(PhantomData<StructBuilder<'a>>);

impl Introspect for Struct {
    fn introspect() -> Type {
        TypeVariant::AnyPointer.into()
    }
}

impl OwnedStruct for Struct {
    type Reader<'a> = Element<'a>;
    type Builder<'a> = ElementBuilder<'a>;
}

impl<'a> From<StructReader<'a>> for Element<'a> {
    fn from(reader: StructReader<'a>) -> Self {
        Self(reader)
    }
}

impl<'a> IntoInternalStructReader<'a> for Element<'a> {
    fn into_internal_struct_reader(self) -> StructReader<'a> {
        self.0
    }
}

impl SetterInput<Struct> for Element<'_> {
    fn set_pointer_builder(
        mut pointer: PointerBuilder<'_>,
        value: Self,
        canonicalize: bool,
    ) -> Result<()> {
        pointer.set_struct(&value.0, canonicalize)
    }
}

impl<'a> From<StructBuilder<'a>> for ElementBuilder<'a> {
    fn from(_: StructBuilder<'a>) -> Self {
        Self(PhantomData)
    }
}

impl HasStructSize for ElementBuilder<'_> {
    /// None: a list that was made stays as it was made.
    const STRUCT_SIZE: StructSize = StructSize {
        data: 0,
        pointers: 0,
    };
}

/// A pointer that is read.
pub(super) struct Pointer<'a>(pub(super) PointerReader<'a>);

impl<'a> FromPointerReader<'a> for Pointer<'a> {
    fn get_from_pointer(reader: &PointerReader<'a>, _: Option<&'a [Word]>) -> Result<Self> {
        Ok(Self(*reader))
    }
}

/// A number of 2 to the power of `size` bits in a data section; zero beyond its end.
#[inline]
pub(super) fn bits(data: &[u8], size: u8, at: usize) -> u64 {
    match size {
        0 => {
            let byte = data.get(at / 8).copied().unwrap_or_default();
            u64::from(byte >> (at % 8) & 1)
        }
        3 => data.get(at).copied().unwrap_or_default().into(),
        4 => u16::from_le_bytes(number(data, at)).into(),
        5 => u32::from_le_bytes(number(data, at)).into(),
        _ => u64::from_le_bytes(number(data, at)),
    }
}

fn number<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data.as_chunks().0.get(at).copied().unwrap_or([0; N])
}
