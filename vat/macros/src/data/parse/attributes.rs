//! What is written in `#[data(…)]`.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{Attribute, Expr, LitInt, LitStr, Path, Type};

use crate::attributes::Errors;
use crate::data::model::Reserved;
use crate::names;

/// `#[data(…)]` before a type.
pub(super) struct TypeAttributes {
    pub(super) krate: Path,
    pub(super) named: Option<(String, Span)>,
    pub(super) id: Option<u64>,
    pub(super) reserved: Vec<Reserved>,
}

impl TypeAttributes {
    pub(super) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut read = Self {
            krate: crate::data::default_crate(),
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

    pub(super) fn identity(&self, ident: &Ident, errors: &mut Errors) -> (String, u64) {
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
pub(super) struct FieldAttributes {
    pub(super) ordinal: Option<(u16, Span)>,
    pub(super) name: Option<(String, Span)>,
    pub(super) default: Option<Expr>,
}

impl FieldAttributes {
    pub(super) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
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

    pub(super) fn name(&self, ident: &Ident, errors: &mut Errors) -> String {
        match &self.name {
            Some((name, _)) => name.clone(),
            None => errors.keep(names::lower_camel(ident)).unwrap_or_default(),
        }
    }

    pub(super) fn refuse_default(&self, errors: &mut Errors) {
        if let Some(default) = &self.default {
            errors.at(default.to_token_stream(), "only a field has a default");
        }
    }
}
