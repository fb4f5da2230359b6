//! References as arguments and results.

use super::{Data, Element, Kind, Reader, Result, Writer};
use crate::core::{NoFields, Ref};
use crate::schema::{Registry, Type};

/// A reference of any interface. It is never absent: a parameter that may be is an `Option`.
impl Data for Ref {
    type Promised = Self;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        to.reference(at, self)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        from.reference(at)
    }

    fn describe(_: &mut Registry) -> Type {
        Type::Capability
    }

    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        visit(self);
    }
}
