//! From the tokens of a type to its model, with every error that is in them.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Index, Member};

mod attributes;
mod ordinals;

pub(crate) use attributes::id;
use attributes::{FieldAttributes, TypeAttributes};
use ordinals::Ordinals;

use super::model::{
    Enumerant, Field, Item, Payload, Plain, Record, Reserved, Shape, Transparent, Variant,
};
use super::types;
use crate::attributes::{Errors, doc};

/// The model of a type, if it can be made out; errors are added.
pub(crate) fn item(input: &DeriveInput, errors: &mut Errors) -> Option<Item> {
    if !input.generics.params.is_empty() {
        errors.at(
            &input.generics,
            "a generic type cannot be data: what its parameters stand for is not known on the \
             wire; write a type for each use",
        );
        return None;
    }
    let attributes = TypeAttributes::read(&input.attrs, errors);
    match &input.data {
        Data::Struct(data) => structure(input, &data.fields, attributes, errors),
        Data::Enum(data) => {
            let variants: Vec<_> = data.variants.iter().collect();
            enumeration(input, &variants, attributes, errors)
        }
        Data::Union(data) => {
            errors.at(
                data.union_token,
                "a `union` does not say which of its fields it holds; use an enum",
            );
            None
        }
    }
}

fn structure(
    input: &DeriveInput,
    fields: &Fields,
    attributes: TypeAttributes,
    errors: &mut Errors,
) -> Option<Item> {
    let fields = match fields {
        Fields::Unnamed(unnamed) => return transparent(input, unnamed, &attributes, errors),
        Fields::Named(_) | Fields::Unit => fields,
    };
    let mut ordinals = Ordinals::new(&input.ident);
    let mut read = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        read.push(self::field(field, position, &mut ordinals, errors));
    }
    ordinals.finish(&attributes.reserved, errors);
    for field in &mut read {
        field.ordinal = ordinals.of(usize::from(field.ordinal));
    }
    unique(
        read.iter()
            .map(|field| (field.name.as_str(), field.member.span())),
        errors,
    );
    Some(Item::Record(record(
        input,
        attributes,
        Shape::Struct(read),
        errors,
    )))
}

fn record(
    input: &DeriveInput,
    attributes: TypeAttributes,
    shape: Shape,
    errors: &mut Errors,
) -> Record {
    let (name, id) = attributes.identity(&input.ident, errors);
    Record {
        ident: input.ident.clone(),
        vis: input.vis.clone(),
        krate: attributes.krate,
        name,
        id,
        doc: doc(&input.attrs),
        shape,
        reserved: attributes.reserved,
        promised: true,
    }
}

fn transparent(
    input: &DeriveInput,
    fields: &syn::FieldsUnnamed,
    attributes: &TypeAttributes,
    errors: &mut Errors,
) -> Option<Item> {
    let mut unnamed = fields.unnamed.iter();
    let (Some(field), None) = (unnamed.next(), unnamed.next()) else {
        errors.at(
            fields,
            "the fields need names: they are what callers in other languages see; a struct of one \
             unnamed field is allowed and stands for that field",
        );
        return None;
    };
    if attributes.named.is_some() || !attributes.reserved.is_empty() {
        errors.at(
            &input.ident,
            "a struct of one unnamed field is that field on the wire: it has no name, id or \
             ordinals of its own",
        );
    }
    types::check(&field.ty, errors);
    Some(Item::Transparent(Transparent {
        ident: input.ident.clone(),
        krate: attributes.krate.clone(),
        ty: field.ty.clone(),
    }))
}

fn enumeration(
    input: &DeriveInput,
    variants: &[&syn::Variant],
    attributes: TypeAttributes,
    errors: &mut Errors,
) -> Option<Item> {
    for variant in variants {
        if let Some((_, value)) = &variant.discriminant {
            errors.at(
                value,
                "the number on the wire is the position, not Rust's discriminant; give another one \
                 with `#[data(n = …)]`",
            );
        }
    }
    if variants.is_empty() {
        errors.at(&input.ident, "an enum without variants has no values");
        return None;
    }
    if variants
        .iter()
        .all(|variant| matches!(variant.fields, Fields::Unit))
    {
        return Some(Item::Plain(plain(input, variants, attributes, errors)));
    }
    if variants.len() + attributes.reserved.len() < 2 {
        errors.at(
            &input.ident,
            "an enum with payloads needs two variants or more: Cap'n Proto has no union of one; \
             use a struct, or add the variant that is to come",
        );
    }
    let shape = Shape::Union(union(input, variants, &attributes.reserved, errors));
    Some(Item::Record(record(input, attributes, shape, errors)))
}

fn plain(
    input: &DeriveInput,
    variants: &[&syn::Variant],
    attributes: TypeAttributes,
    errors: &mut Errors,
) -> Plain {
    let mut ordinals = Ordinals::new(&input.ident);
    let mut enumerants = Vec::new();
    for variant in variants {
        let own = FieldAttributes::read(&variant.attrs, errors);
        own.refuse_default(errors);
        ordinals.push(own.ordinal, variant.ident.span());
        enumerants.push(Enumerant {
            ident: Some(variant.ident.clone()),
            name: own.name(&variant.ident, errors),
            doc: doc(&variant.attrs),
            ordinal: 0,
        });
    }
    ordinals.finish(&attributes.reserved, errors);
    for (position, enumerant) in enumerants.iter_mut().enumerate() {
        enumerant.ordinal = ordinals.of(position);
    }
    let gone = attributes.reserved.iter().map(|reserved| Enumerant {
        ident: None,
        name: format!("reserved{}", reserved.ordinal),
        doc: String::new(),
        ordinal: reserved.ordinal,
    });
    enumerants.extend(gone);
    enumerants.sort_by_key(|enumerant| enumerant.ordinal);
    let spans = enumerants.iter().map(|enumerant| {
        let span = enumerant
            .ident
            .as_ref()
            .map_or_else(Span::call_site, Ident::span);
        (enumerant.name.as_str(), span)
    });
    unique(spans, errors);
    let (name, id) = attributes.identity(&input.ident, errors);
    Plain {
        ident: input.ident.clone(),
        krate: attributes.krate,
        name,
        id,
        doc: doc(&input.attrs),
        enumerants,
    }
}

fn union(
    input: &DeriveInput,
    variants: &[&syn::Variant],
    reserved: &[Reserved],
    errors: &mut Errors,
) -> Vec<Variant> {
    let mut ordinals = Ordinals::new(&input.ident);
    let mut read: Vec<Variant> = variants
        .iter()
        .map(|variant| self::variant(variant, &mut ordinals, errors))
        .collect();
    let grouped = read
        .iter()
        .find(|variant| matches!(variant.payload, Payload::Group(_)));
    if let Some(grouped) = grouped
        && !ordinals.explicit()
    {
        errors.at(
            &grouped.ident,
            "a variant with several fields needs ordinals: without them a field added to it later \
             would move those of the variants behind; write `#[data(n = 0)]`, `#[data(n = 1)]`, … \
             before every field, and before every variant without fields",
        );
    }
    ordinals.finish(reserved, errors);
    for variant in &mut read {
        match &mut variant.payload {
            Payload::Unit(ordinal) => *ordinal = ordinals.of(usize::from(*ordinal)),
            Payload::One(field) => field.ordinal = ordinals.of(usize::from(field.ordinal)),
            Payload::Group(fields) => {
                for field in fields {
                    field.ordinal = ordinals.of(usize::from(field.ordinal));
                }
            }
        }
    }
    unique(
        read.iter()
            .map(|variant| (variant.name.as_str(), variant.ident.span())),
        errors,
    );
    read
}

fn variant(variant: &syn::Variant, ordinals: &mut Ordinals<'_>, errors: &mut Errors) -> Variant {
    let own = FieldAttributes::read(&variant.attrs, errors);
    own.refuse_default(errors);
    let name = own.name(&variant.ident, errors);
    let one = matches!(&variant.fields, Fields::Unnamed(fields) if fields.unnamed.len() == 1);
    let payload = if variant.fields.is_empty() {
        if !matches!(variant.fields, Fields::Unit) {
            errors.at(
                &variant.fields,
                "a variant without fields is written without brackets",
            );
        }
        Payload::Unit(ordinals.push(own.ordinal, variant.ident.span()))
    } else if one && let Some(field) = variant.fields.iter().next() {
        let mut field = field.clone();
        // The ordinal may stand before the variant or before its only field.
        field.attrs.extend(
            variant
                .attrs
                .iter()
                .filter(|a| a.path().is_ident("data"))
                .cloned(),
        );
        let mut field = self::field(&field, 0, ordinals, errors);
        field.name.clone_from(&name);
        Payload::One(Box::new(field))
    } else {
        if let Some((_, span)) = own.ordinal {
            errors.add(syn::Error::new(
                span,
                "the fields of this variant have ordinals, the variant itself has none",
            ));
        }
        let mut fields = Vec::new();
        for (position, field) in variant.fields.iter().enumerate() {
            fields.push(self::field(field, position, ordinals, errors));
        }
        unique(
            fields
                .iter()
                .map(|field| (field.name.as_str(), field.member.span())),
            errors,
        );
        Payload::Group(fields)
    };
    Variant {
        ident: variant.ident.clone(),
        name,
        doc: doc(&variant.attrs),
        payload,
    }
}

/// A field; its `ordinal` is only the position in `ordinals` until these are finished.
fn field(
    field: &syn::Field,
    position: usize,
    ordinals: &mut Ordinals<'_>,
    errors: &mut Errors,
) -> Field {
    let own = FieldAttributes::read(&field.attrs, errors);
    types::check(&field.ty, errors);
    let (member, name) = match &field.ident {
        Some(ident) => (Member::Named(ident.clone()), own.name(ident, errors)),
        None => (
            Member::Unnamed(Index::from(position)),
            format!("f{position}"),
        ),
    };
    Field {
        member,
        vis: field.vis.clone(),
        name,
        doc: doc(&field.attrs),
        ordinal: ordinals.push(own.ordinal, field.span()),
        ty: types::without_self(&field.ty, ordinals.ident),
        default: own.default,
    }
}

fn unique<'a>(names: impl Iterator<Item = (&'a str, Span)>, errors: &mut Errors) {
    let mut seen = std::collections::BTreeSet::new();
    for (name, span) in names {
        if !name.is_empty() && !seen.insert(name) {
            let message = format!(
                "two members are called `{name}` on the wire; rename one with \
                 `#[data(name = \"…\")]`"
            );
            errors.add(syn::Error::new(span, message));
        }
    }
}
