//! The results struct of a method: one field `value`, or none.

use crate::data::{
    self, Data, Element, Kind, Layout, Member, Reader, Record, Solved, Writer, solve,
};
use crate::schema::{FieldShape, Registry, Type};

use super::promise::{NoFields, Promise};

/// What a method that answers a `T` has as its results struct: `(value :T)`, or nothing for `()`.
#[derive(Clone, Debug)]
pub struct Results<T> {
    pub(crate) value: T,
}

impl<T: Data> Results<T> {
    const SOLVED: Solved<1> = solve::<1, 0>(&[Member {
        kind: T::KIND,
        branch: None,
    }]);
}

impl<T: Data> Data for Results<T> {
    type Promised = Promise<Self>;
    type Fields = NoFields;

    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Struct(<Self as Record>::LAYOUT.size);

    fn write(&self, to: &mut Writer<'_>, at: u32) -> data::Result<()> {
        self.write_fields(&mut to.structure(at, <Self as Record>::LAYOUT.size)?)
    }

    fn read(from: &Reader<'_>, at: u32) -> data::Result<Self> {
        Self::read_fields(&from.structure(at)?)
    }

    fn describe(types: &mut Registry) -> Type {
        types.record::<Self>()
    }

    #[inline]
    fn words(&self) -> usize {
        <Self as Record>::LAYOUT.size.words() + self.value.words()
    }
}

impl<T: Data> Record for Results<T> {
    /// Described under the id of its method only.
    const ID: u64 = 0;
    const NAME: &'static str = "vat::Results";
    const DOC: &'static str = "";
    const LAYOUT: Layout = Self::SOLVED.layout();

    fn fields(types: &mut Registry) -> Vec<FieldShape> {
        if matches!(T::KIND, Kind::Void) {
            return Vec::new();
        }
        vec![types.field::<T>("value", "", 0)]
    }

    fn write_fields(&self, to: &mut Writer<'_>) -> data::Result<()> {
        self.value
            .write(to, Self::at())
            .map_err(|error| error.in_field("value"))
    }

    fn read_fields(from: &Reader<'_>) -> data::Result<Self> {
        let value = T::read(from, Self::at()).map_err(|error| error.in_field("value"))?;
        Ok(Self { value })
    }
}

impl<T: Data> Results<T> {
    fn at() -> u32 {
        <Self as Record>::LAYOUT
            .slots
            .first()
            .map_or(0, |slot| slot.offset)
    }
}
