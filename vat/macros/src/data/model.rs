//! What a derive knows of a type once its tokens are read and checked.

use proc_macro2::{Ident, TokenStream};
use syn::{Expr, Member, Path, Type, Visibility};

use super::types;
use crate::attributes::Errors;
use crate::names;

/// A type with `#[derive(Data)]`.
pub(crate) enum Item {
    /// A struct, or an enum with payloads.
    Record(Record),
    /// An enum without payloads.
    Plain(Plain),
    /// A struct of one unnamed field: on the wire as that field.
    Transparent(Transparent),
}

/// A struct on the wire.
pub(crate) struct Record {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) krate: Path,
    /// `package::Name`.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) doc: String,
    pub(crate) shape: Shape,
    pub(crate) reserved: Vec<Reserved>,
    /// Whether the references inside a promised value can be called ahead.
    pub(crate) promised: bool,
}

pub(crate) enum Shape {
    Struct(Vec<Field>),
    Union(Vec<Variant>),
}

/// A field of a struct or of a variant.
pub(crate) struct Field {
    pub(crate) member: Member,
    pub(crate) vis: Visibility,
    /// lowerCamelCase.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ordinal: u16,
    pub(crate) ty: Type,
    pub(crate) default: Option<Expr>,
}

/// A variant of an enum with payloads.
pub(crate) struct Variant {
    pub(crate) ident: Ident,
    /// lowerCamelCase.
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) payload: Payload,
}

pub(crate) enum Payload {
    /// Nothing: a `Void` field with this ordinal.
    Unit(u16),
    /// One unnamed field: the branch itself.
    One(Box<Field>),
    /// Several or named fields: a group.
    Group(Vec<Field>),
}

/// An ordinal whose field was removed; its type still takes its place.
pub(crate) struct Reserved {
    pub(crate) ordinal: u16,
    pub(crate) ty: Type,
}

/// An enum on the wire.
pub(crate) struct Plain {
    pub(crate) ident: Ident,
    pub(crate) krate: Path,
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) doc: String,
    pub(crate) enumerants: Vec<Enumerant>,
}

/// A value of an enum; without an ident it is reserved.
pub(crate) struct Enumerant {
    pub(crate) ident: Option<Ident>,
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ordinal: u16,
}

/// A struct that is on the wire as its only field.
pub(crate) struct Transparent {
    pub(crate) ident: Ident,
    pub(crate) krate: Path,
    pub(crate) ty: Type,
}

impl Record {
    /// The hidden struct that holds the parameters of a method.
    pub(crate) fn parameters(ident: Ident, krate: Path, fields: Vec<Field>) -> Self {
        let name = names::full_name(&ident);
        Self {
            vis: Visibility::Inherited,
            krate,
            id: names::id_of(&name),
            name,
            doc: String::new(),
            shape: Shape::Struct(fields),
            reserved: Vec::new(),
            promised: false,
            ident,
        }
    }

    /// All fields that take a place, with their branch, by ordinal.
    pub(crate) fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        match &self.shape {
            Shape::Struct(fields) => {
                leaves.extend(fields.iter().map(|field| Leaf::of(field, None)));
                leaves.extend(self.reserved.iter().map(|gone| Leaf::reserved(gone, None)));
            }
            Shape::Union(variants) => {
                let branches = variants.iter().zip(0..);
                leaves.extend(branches.flat_map(|(variant, branch)| variant.leaves(branch)));
                let behind = (0..).skip(variants.len());
                let gone = self.reserved.iter().zip(behind);
                leaves.extend(gone.map(|(gone, branch)| Leaf::reserved(gone, Some(branch))));
            }
        }
        leaves.sort_by_key(|leaf| leaf.ordinal);
        leaves
    }

    /// The number of branches of the unnamed union.
    pub(crate) fn branches(&self) -> usize {
        match &self.shape {
            Shape::Struct(_) => 0,
            Shape::Union(variants) => variants.len() + self.reserved.len(),
        }
    }

    /// The fields that hold a reference by themselves.
    pub(crate) fn references(&self) -> Vec<&Field> {
        match &self.shape {
            Shape::Struct(fields) if self.promised => fields
                .iter()
                .filter(|field| types::is_reference(&field.ty))
                .collect(),
            Shape::Struct(_) | Shape::Union(_) => Vec::new(),
        }
    }
}

impl Field {
    /// A parameter of a method.
    pub(crate) fn parameter(
        errors: &mut Errors,
        ident: &Ident,
        ty: &Type,
        ordinal: u16,
        doc: String,
        default: Option<Expr>,
    ) -> Self {
        types::check(ty, errors);
        Self {
            member: Member::Named(ident.clone()),
            vis: Visibility::Inherited,
            name: errors.keep(names::lower_camel(ident)).unwrap_or_default(),
            doc,
            ordinal,
            ty: ty.clone(),
            default,
        }
    }
}

impl Variant {
    pub(crate) fn fields(&self) -> &[Field] {
        match &self.payload {
            Payload::Unit(_) => &[],
            Payload::One(field) => std::slice::from_ref(field),
            Payload::Group(fields) => fields,
        }
    }

    /// The ordinal of one of its leaves, through which the discriminant value is found.
    pub(crate) fn some_ordinal(&self) -> u16 {
        match &self.payload {
            Payload::Unit(ordinal) => *ordinal,
            Payload::One(_) | Payload::Group(_) => self
                .fields()
                .first()
                .map(|field| field.ordinal)
                .unwrap_or_default(),
        }
    }

    fn leaves(&self, branch: u16) -> Vec<Leaf> {
        match &self.payload {
            Payload::Unit(ordinal) => {
                vec![Leaf {
                    ordinal: *ordinal,
                    ty: quote::quote!(()),
                    branch: Some(branch),
                }]
            }
            Payload::One(_) | Payload::Group(_) => self
                .fields()
                .iter()
                .map(|field| Leaf::of(field, Some(branch)))
                .collect(),
        }
    }
}

/// What takes a place in the struct.
pub(crate) struct Leaf {
    pub(crate) ordinal: u16,
    pub(crate) ty: TokenStream,
    pub(crate) branch: Option<u16>,
}

impl Leaf {
    fn of(field: &Field, branch: Option<u16>) -> Self {
        let ty = &field.ty;
        Self {
            ordinal: field.ordinal,
            ty: quote::quote!(#ty),
            branch,
        }
    }

    fn reserved(reserved: &Reserved, branch: Option<u16>) -> Self {
        let ty = &reserved.ty;
        Self {
            ordinal: reserved.ordinal,
            ty: quote::quote!(#ty),
            branch,
        }
    }
}
