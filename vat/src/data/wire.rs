//! Writing and reading the two sections of a struct and the elements of a list: the one module that
//! names `capnp::private::layout`.
//!
//! A [`Writer`] or [`Reader`] is either a struct, addressed by the offsets of its layout, or a list,
//! addressed by index: a value is written into a field and into a list in the same way.

mod raw;
mod reader;

pub use reader::{Reader, Source};

use capnp::private::layout::ElementSize;
use captp::{Content, Elements, Slot};

use super::Bytes;
use super::error::{Error, Fault};
use super::layout::{Kind, Size};
use crate::core::Ref;

/// How deep a value may be nested, written or read: 64 levels, as in the other implementations.
pub const NESTING_LIMIT: u16 = 64;

/// How much memory the lists, texts and bytes of one received value may take: 256 MiB. A peer's
/// message is limited by itself, but a small one can stand for a large value (a list of empty
/// structs).
pub const MEMORY_LIMIT: usize = 256 << 20;

/// Elements of a list, bytes of a text with its end, or words of a list of structs.
const COUNT_LIMIT: u64 = 1 << 29;

type Result<T, E = Error> = std::result::Result<T, E>;

/// How a list holds its elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    /// Not at all but by their number.
    Void,
    /// As numbers of this many bits, as a logarithm.
    Bits(u8),
    /// As pointers.
    Pointer,
    /// As structs of this size, one behind the other.
    Struct(Size),
    /// There is no list of these.
    None,
}

impl Element {
    fn size(self) -> ElementSize {
        match self {
            Self::Void | Self::None => ElementSize::Void,
            Self::Bits(0) => ElementSize::Bit,
            Self::Bits(3) => ElementSize::Byte,
            Self::Bits(4) => ElementSize::TwoBytes,
            Self::Bits(5) => ElementSize::FourBytes,
            Self::Bits(_) => ElementSize::EightBytes,
            Self::Pointer => ElementSize::Pointer,
            Self::Struct(_) => ElementSize::InlineComposite,
        }
    }
}

/// Writes one struct or one list.
pub struct Writer<'a> {
    content: &'a mut Content,
    to: Target,
    rules: Rules,
}

/// Where it is written, by the first byte.
#[derive(Clone, Copy)]
enum Target {
    Struct { start: usize, size: Size },
    Numbers { start: usize, kind: Kind, len: u32 },
    Pointers { start: usize, len: u32 },
    Structs { start: usize, size: Size, len: u32 },
}

#[derive(Clone, Copy)]
struct Rules {
    depth: u16,
    references: bool,
}

impl Rules {
    fn deeper(self) -> Result<Self> {
        if self.depth >= NESTING_LIMIT {
            return Err(Fault::TooDeep {
                limit: NESTING_LIMIT,
            }
            .into());
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'a> Writer<'a> {
    /// Makes the root struct of a message.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] if the message is full.
    pub fn root(content: &'a mut Content, size: Size) -> Result<Self> {
        Self::root_with(content, size, true)
    }

    /// The same for bytes that cannot carry references: a stored value.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] if the message is full.
    pub fn root_without_references(content: &'a mut Content, size: Size) -> Result<Self> {
        Self::root_with(content, size, false)
    }

    fn root_with(content: &'a mut Content, size: Size, references: bool) -> Result<Self> {
        let start = content.structure(content.root(), size.data, size.pointers);
        let start = start.ok_or_else(|| full(size.words() as u64))?;
        let rules = Rules {
            depth: 1,
            references,
        };
        Ok(Self {
            content,
            to: Target::Struct { start, size },
            rules,
        })
    }

    /// Writes a number of 2 to the power of `size` bits: a `bool`, an integer, an enumerant, the
    /// bits of a float. Higher bits are cut off.
    ///
    /// # Errors
    ///
    /// [`Fault::NoSlot`] if the struct or list has no such place.
    #[inline]
    pub fn bits(&mut self, size: u8, at: u32, value: u64) -> Result<()> {
        let start = match self.to {
            Target::Struct { start, size: has }
                if (u64::from(at) + 1) << size <= u64::from(has.data) * 64 =>
            {
                start
            }
            Target::Numbers { start, kind, len } if at < len && kind == Kind::Bits(size) => start,
            Target::Struct { .. }
            | Target::Numbers { .. }
            | Target::Pointers { .. }
            | Target::Structs { .. } => return Err(Fault::NoSlot { at }.into()),
        };
        self.content.set_number(start, size, at, value);
        Ok(())
    }

    /// Writes a text.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] and [`Fault::NoSlot`].
    pub fn text(&mut self, at: u32, value: &str) -> Result<()> {
        let count = value.len() as u64 + 1;
        fits(count)?;
        let written = self.content.text(self.to.pointer(at)?, value);
        written.ok_or_else(|| full(count))
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] and [`Fault::NoSlot`].
    pub fn data(&mut self, at: u32, value: &[u8]) -> Result<()> {
        let count = value.len() as u64;
        fits(count)?;
        let written = self.content.data(self.to.pointer(at)?, value);
        written.ok_or_else(|| full(count))
    }

    /// Writes bytes that are shared. Many are sent from where they lie: see [`Bytes`].
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] and [`Fault::NoSlot`].
    pub fn shared_data(&mut self, at: u32, value: &Bytes) -> Result<()> {
        let count = value.len() as u64;
        fits(count)?;
        let slot = self.to.pointer(at)?;
        let written = self.content.shared_data(slot, value.inner(), value.holds());
        written.ok_or_else(|| full(count))
    }

    /// Writes a reference: a capability pointer to its node of the engine that sends the message.
    ///
    /// # Errors
    ///
    /// [`Fault::NoReferencesHere`], [`Fault::ForeignReference`] and [`Fault::NoSlot`].
    pub fn reference(&mut self, at: u32, reference: &Ref) -> Result<()> {
        if !self.rules.references {
            return Err(Fault::NoReferencesHere.into());
        }
        let node = reference.leaving_node().ok_or(Fault::ForeignReference)?;
        self.content.reference(self.to.pointer(at)?, node);
        Ok(())
    }

    /// Makes a struct: behind a pointer, or as the element of a list of structs.
    ///
    /// # Errors
    ///
    /// [`Fault::TooDeep`] and [`Fault::NoSlot`].
    pub fn structure(&mut self, at: u32, size: Size) -> Result<Writer<'_>> {
        let rules = self.rules.deeper()?;
        let to = match self.to {
            Target::Structs { start, size, len } if at < len => Target::Struct {
                start: start + at as usize * size.words() * 8,
                size,
            },
            to => {
                let start = self
                    .content
                    .structure(to.pointer(at)?, size.data, size.pointers);
                let start = start.ok_or_else(|| full(size.words() as u64))?;
                Target::Struct { start, size }
            }
        };
        Ok(self.inner(to, rules))
    }

    /// Makes a list of `len` elements that are zero.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`], [`Fault::TooDeep`] and [`Fault::NoSlot`].
    pub fn list(&mut self, at: u32, element: Element, len: usize) -> Result<Writer<'_>> {
        let rules = self.rules.deeper()?;
        let count = fits(len as u64)?;
        let slot = self.to.pointer(at)?;
        let full = || full(count.into());
        let to = match element {
            Element::None => return Err(Fault::NoSlot { at }.into()),
            Element::Struct(size) => {
                fits(u64::from(count) * (u64::from(size.data) + u64::from(size.pointers)))?;
                let made = self.content.structs(slot, count, size.data, size.pointers);
                Target::Structs {
                    start: made.ok_or_else(full)?,
                    size,
                    len: count,
                }
            }
            Element::Pointer => Target::Pointers {
                start: self
                    .content
                    .list(slot, Elements::Pointer, count)
                    .ok_or_else(full)?,
                len: count,
            },
            Element::Void | Element::Bits(_) => {
                let (kind, elements) = match element {
                    Element::Bits(size) => (Kind::Bits(size), Elements::Bits(size)),
                    _ => (Kind::Void, Elements::Void),
                };
                Target::Numbers {
                    start: self.content.list(slot, elements, count).ok_or_else(full)?,
                    kind,
                    len: count,
                }
            }
        };
        Ok(self.inner(to, rules))
    }

    fn inner(&mut self, to: Target, rules: Rules) -> Writer<'_> {
        Writer {
            content: self.content,
            to,
            rules,
        }
    }
}

impl Target {
    fn pointer(self, at: u32) -> Result<Slot> {
        match self {
            Self::Struct { start, size } if at < u32::from(size.pointers) => {
                Ok(Slot::new(start, usize::from(size.data) + at as usize))
            }
            Self::Pointers { start, len } if at < len => Ok(Slot::new(start, at as usize)),
            Self::Struct { .. }
            | Self::Pointers { .. }
            | Self::Numbers { .. }
            | Self::Structs { .. } => Err(Fault::NoSlot { at }.into()),
        }
    }
}

impl std::fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match &self.to {
            Target::Struct { size, .. } => format!("a struct of {size:?}"),
            Target::Numbers { len, kind, .. } => format!("a list of {len} {kind:?}"),
            Target::Pointers { len, .. } => format!("a list of {len} pointers"),
            Target::Structs { len, .. } => format!("a list of {len} structs"),
        };
        write!(f, "Writer({what})")
    }
}

fn fits(count: u64) -> Result<u32> {
    match u32::try_from(count) {
        Ok(fitting) if count < COUNT_LIMIT => Ok(fitting),
        _ => Err(Fault::TooLong { count }.into()),
    }
}

/// The message would be larger than messages can be.
fn full(count: u64) -> Error {
    Fault::TooLong { count }.into()
}
