//! The model: interfaces, structs and enums as plain values, with every slot and offset worked out.
//!
//! A [`Description`] is complete: every id that occurs in it is described in it. It is what a vat
//! answers to `describe()`, what the `.capnp` text is printed from, and what calls without a
//! compiled interface are encoded by, so that nobody else has to compute a layout.

use std::collections::{BTreeSet, VecDeque};

/// An interface with everything it reaches.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Description {
    /// Id of the interface (or, when a type alone was asked for, of the struct or enum) that was
    /// described. The others are here because it reaches them.
    pub root: u64,
    /// All interfaces, by ascending id.
    pub interfaces: Vec<Interface>,
    /// All structs, groups and implicit parameter and result structs, by ascending id.
    pub structs: Vec<Struct>,
    /// All enums, by ascending id.
    pub enums: Vec<Enum>,
}

/// An interface: a Rust trait as it is on the wire.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Interface {
    /// What a call names it by.
    pub id: u64,
    /// `package::Trait`.
    pub name: String,
    /// The doc comment, lines separated by `\n`; empty if there is none.
    pub doc: String,
    /// Ids of the interfaces it extends, in source order.
    pub extends: Vec<u64>,
    /// Own methods (not the inherited ones); the position is the ordinal.
    pub methods: Vec<Method>,
}

/// A method of an interface.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Method {
    /// lowerCamelCase, unique in its interface.
    pub name: String,
    /// The doc comment.
    pub doc: String,
    /// Id of the struct that holds the parameters.
    pub params: u64,
    /// Id of the struct that holds the results.
    pub results: u64,
    /// Whether it only reads, as its interface declares: a `&self` method in Rust. A `.capnp` text
    /// does not say it.
    pub reads: bool,
    /// Whether it stops when its caller gives the call up, as its interface declares. A `.capnp` text
    /// does not say it.
    pub cancellable: bool,
}

/// A struct, a group of one, or the implicit struct of a parameter or result list.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Struct {
    /// Its id; for a group and an implicit struct the one that the `capnp` compiler computes.
    pub id: u64,
    /// `package::Type`; for an implicit struct `package::Trait.method$Params` or `$Results`, for a
    /// group `package::Type.group`.
    pub name: String,
    /// The doc comment.
    pub doc: String,
    /// Size of the data section in words of 8 bytes. A group repeats the size of its struct.
    pub data_words: u16,
    /// Number of pointers. A group repeats the number of its struct.
    pub pointers: u16,
    /// Where the discriminant of the unnamed union is, in units of 16 bits, if there is one.
    pub discriminant: Option<u32>,
    /// All fields, those of the unnamed union included, in the order of their source; their
    /// position in the node's own list (which group ids depend on) is the one by ordinal.
    pub fields: Vec<Field>,
}

/// A field of a struct.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Field {
    /// lowerCamelCase, unique in its struct.
    pub name: String,
    /// The doc comment.
    pub doc: String,
    /// The number after `@`. For a group: the lowest one inside it.
    pub ordinal: u16,
    /// What it holds.
    pub ty: Type,
    /// Where it is, in units of its own size: bits for `Bool`, bytes for `UInt8`, …; index in the
    /// pointer section for pointers; 0 for `Void` and groups.
    pub offset: u32,
    /// Its discriminant value if it is a branch of the unnamed union.
    pub variant: Option<u16>,
    /// The value that the source declares for an absent field, zero included. Only scalars have
    /// one. A field without it that is not optional has to be given by a caller; on the wire an
    /// absent one reads as zero all the same.
    pub default: Option<Value>,
    /// Whether absence is a value of its own: an `Option` in Rust. Such a field is a pointer, and
    /// null means absent; an optional scalar is a pointer to a struct with the one field `value`.
    pub optional: bool,
}

/// An enum without payloads.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Enum {
    /// Its id.
    pub id: u64,
    /// `package::Type`.
    pub name: String,
    /// The doc comment.
    pub doc: String,
    /// The position is the value on the wire.
    pub enumerants: Vec<Enumerant>,
}

/// A value of an enum.
#[derive(Clone, Debug, Default, PartialEq, vat_macros::Data)]
pub struct Enumerant {
    /// lowerCamelCase, unique in its enum.
    pub name: String,
    /// The doc comment.
    pub doc: String,
}

/// What a field, a list element, a parameter or a result holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, vat_macros::Data)]
pub enum Type {
    /// Nothing.
    #[default]
    Void,
    /// One bit.
    Bool,
    /// A signed number of 8 bits.
    Int8,
    /// A signed number of 16 bits.
    Int16,
    /// A signed number of 32 bits.
    Int32,
    /// A signed number of 64 bits.
    Int64,
    /// An unsigned number of 8 bits.
    UInt8,
    /// An unsigned number of 16 bits.
    UInt16,
    /// An unsigned number of 32 bits.
    UInt32,
    /// An unsigned number of 64 bits.
    UInt64,
    /// An IEEE 754 number of 32 bits.
    Float32,
    /// An IEEE 754 number of 64 bits.
    Float64,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Data,
    /// A list.
    List(Box<Self>),
    /// An enum, by id.
    Enum(u64),
    /// A struct, by id.
    Struct(u64),
    /// A group of the same struct, by id: not a pointer, its fields lie in the struct itself.
    Group(u64),
    /// A reference that has this interface.
    Interface(u64),
    /// A reference of any interface.
    Capability,
}

/// A default value.
#[derive(Clone, Debug, PartialEq, vat_macros::Data)]
pub enum Value {
    /// Of a `Bool`.
    Bool(bool),
    /// Of a signed number.
    Int(i64),
    /// Of an unsigned number.
    UInt(u64),
    /// Of a `Float32`.
    Float32(f32),
    /// Of a `Float64`.
    Float64(f64),
    /// Of an enum: the number of the enumerant.
    Enum(u16),
}

/// The interface with this id and all it extends, nearest first, each once; those that cannot be
/// found are left out.
pub(crate) fn lineage<'a>(
    interface: u64,
    find: impl Fn(u64) -> Option<&'a Interface>,
) -> Vec<&'a Interface> {
    let mut order: Vec<&Interface> = Vec::new();
    let mut seen = BTreeSet::from([interface]);
    let mut waiting = VecDeque::from([interface]);
    while let Some(id) = waiting.pop_front() {
        if let Some(interface) = find(id) {
            order.push(interface);
            waiting.extend(interface.extends.iter().filter(|id| seen.insert(**id)));
        }
    }
    order
}

impl Description {
    /// The interface with this id.
    pub fn interface(&self, id: u64) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.id == id)
    }

    /// The struct, group or implicit struct with this id.
    pub fn structure(&self, id: u64) -> Option<&Struct> {
        self.structs.iter().find(|structure| structure.id == id)
    }

    /// The enum with this id.
    pub fn enumeration(&self, id: u64) -> Option<&Enum> {
        self.enums.iter().find(|enumeration| enumeration.id == id)
    }
}

impl Type {
    /// Whether a value of this type lies in the pointer section.
    pub const fn is_pointer(&self) -> bool {
        matches!(
            self,
            Self::Text
                | Self::Data
                | Self::List(_)
                | Self::Struct(_)
                | Self::Interface(_)
                | Self::Capability
        )
    }

    /// Whether a value of this type is a reference.
    pub const fn is_reference(&self) -> bool {
        matches!(self, Self::Interface(_) | Self::Capability)
    }
}
