//! Checked arguments onto the wire.

use captp::Content;

use super::body::{Arguments, Record, Size, Slot, Target};
use crate::core::Ref;
use crate::data::{self, Element, Error, Writer};

impl<R> Arguments<R> {
    /// Writes the parameters struct; `reference` gives the reference that an `R` stands for.
    ///
    /// # Errors
    ///
    /// None that follow from the arguments: they were checked when they were made.
    pub fn write(&self, to: &mut Content, reference: &dyn Fn(&R) -> &Ref) -> Result<(), Error> {
        let Record { size, slots } = &self.root;
        fill(&mut Writer::root(to, (*size).into())?, slots, reference)
    }
}

fn fill<R>(
    writer: &mut Writer<'_>,
    slots: &[Slot<R>],
    reference: &dyn Fn(&R) -> &Ref,
) -> Result<(), Error> {
    for slot in slots {
        match slot {
            Slot::Bits { log2, offset, bits } => writer.bits(*log2, *offset, *bits)?,
            Slot::Pointer { index, to } => point(writer, *index, to, reference)?,
        }
    }
    Ok(())
}

fn point<R>(
    writer: &mut Writer<'_>,
    at: u32,
    to: &Target<R>,
    reference: &dyn Fn(&R) -> &Ref,
) -> Result<(), Error> {
    match to {
        Target::Null => Ok(()),
        Target::Text(text) => writer.text(at, text),
        Target::Data(bytes) => writer.data(at, bytes),
        Target::Reference(target) => writer.reference(at, reference(target)),
        Target::Record(Record { size, slots }) => {
            fill(&mut writer.structure(at, (*size).into())?, slots, reference)
        }
        Target::Voids(count) => writer.list(at, Element::Void, *count as usize).map(|_| ()),
        Target::Bits { log2, values } => {
            let mut list = writer.list(at, Element::Bits(*log2), values.len())?;
            (0_u32..)
                .zip(values)
                .try_for_each(|(at, value)| list.bits(*log2, at, *value))
        }
        Target::Pointers(targets) => {
            let mut list = writer.list(at, Element::Pointer, targets.len())?;
            (0_u32..)
                .zip(targets)
                .try_for_each(|(at, to)| point(&mut list, at, to, reference))
        }
        Target::Records { size, slots } => {
            let mut list = writer.list(at, Element::Struct((*size).into()), slots.len())?;
            (0_u32..).zip(slots).try_for_each(|(at, slots)| {
                fill(&mut list.structure(at, (*size).into())?, slots, reference)
            })
        }
    }
}

impl From<Size> for data::Size {
    fn from(size: Size) -> Self {
        Self {
            data: size.data_words,
            pointers: size.pointers,
        }
    }
}
