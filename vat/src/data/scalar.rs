//! Values in the data section: numbers, `bool`, enumerants; and `()`, which takes no place.

use super::{Data, Element, Kind, Reader, Result, Writer};
use crate::core::{NoFields, Promise};
use crate::schema::{Registry, Type, Value};

/// A number, a `bool` or an enum without payloads: what may have a declared default.
///
/// A field with a default holds its bits XOR those of the default, so that an absent field reads as
/// the default.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` cannot have a default",
    label = "has no default",
    note = "numbers, `bool` and enums without payloads have declared defaults; anything else is \
            empty or `None` when it is absent"
)]
pub trait Scalar: Data {
    /// The logarithm of the number of bits.
    const SIZE: u8;

    /// The bits of the value.
    fn to_bits(&self) -> u64;

    /// The value of these bits.
    ///
    /// # Errors
    ///
    /// [`Fault::UnknownEnumerant`](super::Fault::UnknownEnumerant).
    fn from_bits(bits: u64) -> Result<Self>;

    /// The value for a description.
    fn to_value(&self) -> Value;

    /// Writes into a field that has a default.
    ///
    /// # Errors
    ///
    /// As [`Data::write`].
    fn write_with_default(&self, default: &Self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        to.bits(Self::SIZE, at, self.to_bits() ^ default.to_bits())
    }

    /// Reads from a field that has a default.
    ///
    /// # Errors
    ///
    /// As [`from_bits`](Self::from_bits).
    fn read_with_default(default: &Self, from: &Reader<'_>, at: u32) -> Result<Self> {
        Self::from_bits(from.bits(Self::SIZE, at) ^ default.to_bits())
    }
}

macro_rules! scalar_data {
    ($size:literal, $described:ident) => {
        type Promised = Promise<Self>;
        type Fields = NoFields;
        const KIND: Kind = Kind::Bits($size);
        const ELEMENT: Element = Element::Bits($size);

        #[inline]
        fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
            to.bits($size, at, Scalar::to_bits(self))
        }

        #[inline]
        fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
            <Self as Scalar>::from_bits(from.bits($size, at))
        }

        fn describe(_: &mut Registry) -> Type {
            Type::$described
        }
    };
}

macro_rules! integer {
    ($($ty:ident $unsigned:ident $size:literal $described:ident $value:ident)*) => {$(
        impl Data for $ty {
            scalar_data!($size, $described);
            integer!(@list $ty);
        }

        impl Scalar for $ty {
            const SIZE: u8 = $size;

            #[expect(clippy::allow_attributes, reason = "one macro for all widths")]
            #[allow(
                trivial_numeric_casts,
                clippy::cast_lossless,
                clippy::cast_sign_loss,
                clippy::unnecessary_cast,
                reason = "the bits are meant, in the width of the type"
            )]
            #[inline]
            fn to_bits(&self) -> u64 {
                *self as $unsigned as u64
            }

            #[expect(clippy::allow_attributes, reason = "one macro for all widths")]
            #[allow(
                trivial_numeric_casts,
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                clippy::unnecessary_cast,
                reason = "the bits are meant, in the width of the type"
            )]
            #[inline]
            fn from_bits(bits: u64) -> Result<Self> {
                Ok(bits as Self)
            }

            fn to_value(&self) -> Value {
                Value::$value((*self).into())
            }
        }
    )*};
    // A list of bytes is `Data`: one copy, and a type of its own in the schema.
    (@list u8) => {
        fn write_list(items: &[Self], to: &mut Writer<'_>, at: u32) -> Result<()> {
            to.data(at, items)
        }

        fn read_list(from: &Reader<'_>, at: u32) -> Result<Vec<Self>> {
            Ok(from.data(at)?.to_vec())
        }

        fn describe_list(_: &mut Registry) -> Type {
            Type::Data
        }
    };
    (@list $other:ident) => {};
}

integer! {
    u8 u8 3 UInt8 UInt
    u16 u16 4 UInt16 UInt
    u32 u32 5 UInt32 UInt
    u64 u64 6 UInt64 UInt
    i8 u8 3 Int8 Int
    i16 u16 4 Int16 Int
    i32 u32 5 Int32 Int
    i64 u64 6 Int64 Int
}

impl Data for bool {
    scalar_data!(0, Bool);
}

impl Scalar for bool {
    const SIZE: u8 = 0;

    fn to_bits(&self) -> u64 {
        (*self).into()
    }

    fn from_bits(bits: u64) -> Result<Self> {
        Ok(bits & 1 == 1)
    }

    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Data for f32 {
    scalar_data!(5, Float32);
}

impl Scalar for f32 {
    const SIZE: u8 = 5;

    fn to_bits(&self) -> u64 {
        Self::to_bits(*self).into()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the field has 32 bits")]
    fn from_bits(bits: u64) -> Result<Self> {
        Ok(Self::from_bits(bits as u32))
    }

    fn to_value(&self) -> Value {
        Value::Float32(*self)
    }
}

impl Data for f64 {
    scalar_data!(6, Float64);
}

impl Scalar for f64 {
    const SIZE: u8 = 6;

    fn to_bits(&self) -> u64 {
        Self::to_bits(*self)
    }

    fn from_bits(bits: u64) -> Result<Self> {
        Ok(Self::from_bits(bits))
    }

    fn to_value(&self) -> Value {
        Value::Float64(*self)
    }
}

impl Data for () {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Void;
    const ELEMENT: Element = Element::Void;

    fn write(&self, _: &mut Writer<'_>, _: u32) -> Result<()> {
        Ok(())
    }

    fn read(_: &Reader<'_>, _: u32) -> Result<Self> {
        Ok(())
    }

    fn describe(_: &mut Registry) -> Type {
        Type::Void
    }
}

/// A default as it is written in an attribute, with the type of its field.
pub const fn default_value<T>(value: T) -> T {
    value
}
