//! What calls and results carry here: a number and up to four references.

use capnp::any_pointer;
use capnp::private::layout::{
    PointerBuilder, PointerReader, StructBuilder, StructReader, StructSize,
};
use capnp::traits::{FromPointerBuilder, FromPointerReader};
use captp::{Content, Exception, NodeId, Payload, cap_hook, cap_index};

/// Number of places for references.
pub const SLOTS: usize = 4;

/// A place for a reference.
pub type Slot = usize;

/// References by slot.
pub type Caps = [Option<NodeId>; SLOTS];

/// The pointer fields that lead to a slot. Two slots lie in a struct inside the struct.
#[must_use]
pub fn path(slot: Slot) -> &'static [u16] {
    match slot {
        0 => &[0],
        1 => &[1],
        2 => &[2, 0],
        _ => &[2, 1],
    }
}

/// A struct of one data word and three pointers.
struct Fields<T>(T);

const SIZE: StructSize = StructSize {
    data: 1,
    pointers: 3,
};

impl<'a> FromPointerBuilder<'a> for Fields<StructBuilder<'a>> {
    fn init_pointer(builder: PointerBuilder<'a>, _: u32) -> Self {
        Self(builder.init_struct(SIZE))
    }

    fn get_from_pointer(
        builder: PointerBuilder<'a>,
        default: Option<&'a [capnp::Word]>,
    ) -> capnp::Result<Self> {
        Ok(Self(builder.get_struct(SIZE, default)?))
    }
}

impl<'a> FromPointerReader<'a> for Fields<StructReader<'a>> {
    fn get_from_pointer(
        reader: &PointerReader<'a>,
        default: Option<&'a [capnp::Word]>,
    ) -> capnp::Result<Self> {
        Ok(Self(reader.get_struct(default)?))
    }
}

impl Fields<StructBuilder<'_>> {
    fn field(&mut self, index: usize) -> any_pointer::Builder<'_> {
        any_pointer::Builder::new(self.0.reborrow().get_pointer_field(index))
    }
}

/// Writes a number and references as a whole content.
pub fn put(to: &mut Content, number: u64, caps: &Caps) {
    let written = to.build::<Exception>(WORDS, |root| {
        write(root, number, caps);
        Ok(())
    });
    written.unwrap_or_else(|reason| unreachable!("only references of this library: {reason}"));
}

/// Words that it takes, about.
const WORDS: u32 = 16;

/// Writes a number and references.
pub fn write(to: any_pointer::Builder<'_>, number: u64, caps: &Caps) {
    let mut root: Fields<StructBuilder<'_>> = to.init_as();
    root.0.set_data_field(0, number);
    let [first, second, third, fourth] = caps;
    for (index, cap) in [(0, first), (1, second)] {
        if let Some(node) = cap {
            root.field(index).set_as_capability(cap_hook(*node));
        }
    }
    if third.is_some() || fourth.is_some() {
        let mut inner: Fields<StructBuilder<'_>> = root.field(2).init_as();
        for (index, cap) in [(0, third), (1, fourth)] {
            if let Some(node) = cap {
                inner.field(index).set_as_capability(cap_hook(*node));
            }
        }
    }
}

/// The number in a payload.
///
/// # Errors
/// If it was not made by [`write()`].
pub fn number(payload: &Payload) -> capnp::Result<u64> {
    let root: Fields<StructReader<'_>> = payload.content()?.get_as()?;
    Ok(root.0.get_data_field(0))
}

/// The references in a payload, borrowed.
///
/// # Errors
/// If it was not made by [`write()`].
pub fn caps(payload: &Payload) -> capnp::Result<Caps> {
    let mut found = Caps::default();
    for (slot, place) in found.iter_mut().enumerate() {
        let ops: Vec<_> = path(slot)
            .iter()
            .map(|field| capnp::private::capability::PipelineOp::GetPointerField(*field))
            .collect();
        let Ok(hook) = payload.content()?.get_pipelined_cap(&ops) else {
            continue;
        };
        *place = cap_index(&*hook).and_then(|index| payload.caps().get(index).copied());
    }
    Ok(found)
}
