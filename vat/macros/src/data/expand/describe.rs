//! `Record::fields`: how a record is registered and described.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::Path;
use syn::spanned::Spanned;

use crate::data::model::{Field, Payload, Record, Shape, Variant};

/// Registers and describes the fields.
pub(super) fn fields(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let shapes: Vec<TokenStream> = match &record.shape {
        Shape::Struct(fields) => fields
            .iter()
            .map(|field| field_shape(krate, field))
            .collect(),
        Shape::Union(variants) => variants
            .iter()
            .map(|variant| variant_shape(krate, variant))
            .collect(),
    };
    let branch = matches!(record.shape, Shape::Union(_)).then(|| quote!(.branch()));
    let reserved = record.reserved.iter().map(|reserved| {
        let (ordinal, ty) = (reserved.ordinal, &reserved.ty);
        let name = format!("reserved{ordinal}");
        quote!(types.field::<#ty>(#name, "", #ordinal)#branch)
    });
    quote! {
        fn fields(
            types: &mut #krate::schema::Registry,
        ) -> ::std::vec::Vec<#krate::schema::FieldShape> {
            let _ = &types;
            ::std::vec![#(#shapes,)* #(#reserved,)*]
        }
    }
}

fn field_shape(krate: &Path, field: &Field) -> TokenStream {
    let Field {
        name,
        doc,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let default = default.as_ref().map(|value| {
        quote_spanned! {value.span()=>
            .with_default::<#ty>(&#krate::data::default_value::<#ty>(#value))
        }
    });
    quote!(types.field::<#ty>(#name, #doc, #ordinal)#default)
}

fn variant_shape(krate: &Path, variant: &Variant) -> TokenStream {
    let Variant {
        name, doc, payload, ..
    } = variant;
    match payload {
        Payload::Unit(ordinal) => quote!(types.field::<()>(#name, #doc, #ordinal).branch()),
        Payload::One(field) => {
            let (ordinal, ty) = (field.ordinal, &field.ty);
            let doc = if doc.is_empty() { &field.doc } else { doc };
            quote!(types.field::<#ty>(#name, #doc, #ordinal).branch())
        }
        Payload::Group(fields) => {
            let fields = fields.iter().map(|field| field_shape(krate, field));
            quote! {{
                let fields = ::std::vec![#(#fields),*];
                #krate::schema::FieldShape::group(#name, #doc, fields)
            }}
        }
    }
}
