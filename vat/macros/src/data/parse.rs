//! From the tokens of a type to its model, with every error that is in them.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, Index, LitInt, LitStr, Member, Path, Type};

use super::model::{
    Enumerant, Field, Item, Payload, Plain, Record, Reserved, Shape, Transparent, Variant,
};
use super::types;
use crate::attributes::{Errors, doc};
use crate::names;

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

/// The ordinals of a type: either none are given, and the position counts, or all.
struct Ordinals<'a> {
    ident: &'a Ident,
    given: Vec<(Option<u16>, Span)>,
    assigned: Vec<u16>,
}

impl<'a> Ordinals<'a> {
    fn new(ident: &'a Ident) -> Self {
        Self {
            ident,
            given: Vec::new(),
            assigned: Vec::new(),
        }
    }

    /// Notes the next member; gives its position among all.
    fn push(&mut self, ordinal: Option<(u16, Span)>, span: Span) -> u16 {
        let position = u16::try_from(self.given.len()).unwrap_or(u16::MAX);
        self.given.push((
            ordinal.map(|(ordinal, _)| ordinal),
            ordinal.map_or(span, |(_, at)| at),
        ));
        position
    }

    fn explicit(&self) -> bool {
        self.given.iter().any(|(ordinal, _)| ordinal.is_some())
    }

    fn of(&self, position: usize) -> u16 {
        self.assigned.get(position).copied().unwrap_or_default()
    }

    /// Checks that the ordinals are 0, 1, 2, … without holes, the reserved ones included.
    fn finish(&mut self, reserved: &[Reserved], errors: &mut Errors) {
        if self.given.len() + reserved.len() >= usize::from(u16::MAX) {
            let span = self
                .given
                .first()
                .map_or_else(Span::call_site, |(_, span)| *span);
            errors.add(syn::Error::new(span, "a type has at most 65535 ordinals"));
            return;
        }
        if !self.explicit() {
            self.count(reserved);
        }
        let mut taken: Vec<Option<()>> = vec![None; self.given.len() + reserved.len()];
        let gone = reserved
            .iter()
            .map(|gone| (Some(gone.ordinal), gone.ty.span()));
        for (ordinal, span) in self.given.iter().copied().chain(gone) {
            let Some(ordinal) = ordinal else {
                let message = "this has no ordinal while others have one: give all of them one";
                errors.add(syn::Error::new(span, message));
                continue;
            };
            match taken.get_mut(usize::from(ordinal)) {
                Some(place @ None) => *place = Some(()),
                Some(Some(())) => {
                    errors.add(syn::Error::new(span, format!("ordinal {ordinal} is taken")));
                }
                None => {
                    let message = format!(
                        "ordinal {ordinal} leaves a hole: ordinals count 0, 1, 2, …; for a removed \
                         field write `#[data(reserved(n: Type))]` before the type"
                    );
                    errors.add(syn::Error::new(span, message));
                }
            }
        }
        self.assigned = self
            .given
            .iter()
            .map(|(ordinal, _)| ordinal.unwrap_or_default())
            .collect();
    }

    /// Gives everything its position as ordinal, passing over the reserved ones.
    fn count(&mut self, reserved: &[Reserved]) {
        let free = (0..=u16::MAX).filter(|n| reserved.iter().all(|gone| gone.ordinal != *n));
        for ((ordinal, _), n) in self.given.iter_mut().zip(free) {
            *ordinal = Some(n);
        }
    }
}

/// `#[data(…)]` before a type.
struct TypeAttributes {
    krate: Path,
    named: Option<(String, Span)>,
    id: Option<u64>,
    reserved: Vec<Reserved>,
}

impl TypeAttributes {
    fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self {
            krate: super::default_crate(),
            named: None,
            id: None,
            reserved: Vec::new(),
        };
        for attribute in attributes.iter().filter(|a| a.path().is_ident("data")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("crate") {
                    read.krate = meta.value()?.parse::<LitStr>()?.parse()?;
                } else if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    read.named = Some((name.value(), name.span()));
                } else if meta.path.is_ident("id") {
                    read.id = Some(id(&meta.value()?.parse()?)?);
                } else if meta.path.is_ident("reserved") {
                    reserved(&meta, &mut read.reserved)?;
                } else {
                    let message = "unknown; before a type there may be `name = \"package::Name\"`, \
                                   `id = 0x…`, `reserved(n: Type, …)` and `crate = \"…\"`";
                    return Err(meta.error(message));
                }
                Ok(())
            });
            errors.keep(parsed);
        }
        read
    }

    fn identity(&self, ident: &Ident, errors: &mut Errors) -> (String, u64) {
        let (name, span) = self
            .named
            .clone()
            .unwrap_or_else(|| (names::full_name(ident), ident.span()));
        errors.keep(names::check_type(&name, span));
        let id = self.id.unwrap_or_else(|| names::id_of(&name));
        (name, id)
    }
}

/// An id given by hand.
pub(crate) fn id(literal: &LitInt) -> syn::Result<u64> {
    let id: u64 = literal.base10_parse()?;
    if id >> 63 == 0 {
        return Err(syn::Error::new(
            literal.span(),
            "an id has its top bit set: it is at least 0x8000000000000000",
        ));
    }
    Ok(id)
}

fn reserved(meta: &syn::meta::ParseNestedMeta<'_>, all: &mut Vec<Reserved>) -> syn::Result<()> {
    let inside;
    syn::parenthesized!(inside in meta.input);
    while !inside.is_empty() {
        let ordinal = inside.parse::<LitInt>()?.base10_parse()?;
        inside.parse::<syn::Token![:]>()?;
        let ty: Type = inside.parse()?;
        all.push(Reserved { ordinal, ty });
        if !inside.is_empty() {
            inside.parse::<syn::Token![,]>()?;
        }
    }
    Ok(())
}

/// `#[data(…)]` before a field or a variant.
#[derive(Default)]
struct FieldAttributes {
    ordinal: Option<(u16, Span)>,
    name: Option<(String, Span)>,
    default: Option<Expr>,
}

impl FieldAttributes {
    fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("data")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("n") {
                    let literal: LitInt = meta.value()?.parse()?;
                    read.ordinal = Some((literal.base10_parse()?, literal.span()));
                } else if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    names::check_member(&name.value(), name.span())?;
                    read.name = Some((name.value(), name.span()));
                } else if meta.path.is_ident("default") {
                    read.default = Some(meta.value()?.parse()?);
                } else {
                    let message = "unknown; here there may be `n = 7` (the ordinal), \
                                   `name = \"wireName\"` and `default = value`";
                    return Err(meta.error(message));
                }
                Ok(())
            });
            errors.keep(parsed);
        }
        read
    }

    fn name(&self, ident: &Ident, errors: &mut Errors) -> String {
        match &self.name {
            Some((name, _)) => name.clone(),
            None => errors.keep(names::lower_camel(ident)).unwrap_or_default(),
        }
    }

    fn refuse_default(&self, errors: &mut Errors) {
        if let Some(default) = &self.default {
            errors.at(default.to_token_stream(), "only a field has a default");
        }
    }
}
