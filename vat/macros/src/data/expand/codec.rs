//! `Record::write_fields` and `Record::read_fields`.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::spanned::Spanned;

use super::{locals, offset};
use crate::data::model::{Field, Record, Shape, Variant};

pub(super) fn write_fields(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let writes = fields.iter().map(|field| {
                let member = &field.member;
                write_field(krate, field, &quote!(&self.#member))
            });
            quote!(#(#writes)*)
        }
        Shape::Union(variants) => {
            let arms = variants.iter().map(|variant| write_variant(krate, variant));
            quote!(match self { #(#arms)* })
        }
    };
    quote! {
        fn write_fields(&self, to: &mut #krate::data::Writer<'_>) -> #krate::data::Result<()> {
            let _ = &to;
            #body
            ::core::result::Result::Ok(())
        }
    }
}

fn write_field(krate: &Path, field: &Field, value: &TokenStream) -> TokenStream {
    let Field {
        name,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let at = offset(*ordinal);
    let written = match default {
        None => quote!(<#ty as #krate::data::Data>::write(#value, to, #at)),
        Some(default) => quote_spanned! {default.span()=>
            <#ty as #krate::data::Scalar>::write_with_default(
                #value,
                &#krate::data::default_value::<#ty>(#default),
                to,
                #at,
            )
        },
    };
    quote!(#written.map_err(|error| error.in_field(#name))?;)
}

fn write_variant(krate: &Path, variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    let ordinal = usize::from(variant.some_ordinal());
    let fields = variant.fields();
    let members = fields.iter().map(|field| &field.member);
    let locals: Vec<Ident> = locals(fields.len());
    let writes = fields
        .iter()
        .zip(&locals)
        .map(|(field, local)| write_field(krate, field, &local.to_token_stream()));
    quote! {
        Self::#ident { #(#members: #locals),* } => {
            to.bits(
                4,
                const { __VAT_SOLVED.discriminant() },
                const { __VAT_SOLVED.slot(#ordinal).variant as u64 },
            )?;
            #(#writes)*
        }
    }
}

pub(super) fn read_fields(record: &Record) -> TokenStream {
    let Record { krate, ident, .. } = record;
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let members = fields.iter().map(|field| &field.member);
            let reads = fields.iter().map(|field| read_field(krate, field));
            quote!(::core::result::Result::Ok(Self { #(#members: #reads),* }))
        }
        Shape::Union(variants) => {
            let known = record.branches();
            let name = ident.to_string();
            let arms = variants.iter().map(|variant| read_variant(krate, variant));
            quote! {
                let value = from.bits(4, const { __VAT_SOLVED.discriminant() }) as u16;
                #(#arms)*
                ::core::result::Result::Err(#krate::data::Fault::UnknownVariant {
                    ty: #name,
                    value,
                    known: #known as u16,
                }.into_error())
            }
        }
    };
    quote! {
        fn read_fields(from: &#krate::data::Reader<'_>) -> #krate::data::Result<Self> {
            let _ = from;
            #body
        }
    }
}

fn read_field(krate: &Path, field: &Field) -> TokenStream {
    let Field {
        name,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let at = offset(*ordinal);
    let read = match default {
        None => quote!(<#ty as #krate::data::Data>::read(from, #at)),
        Some(default) => quote_spanned! {default.span()=>
            <#ty as #krate::data::Scalar>::read_with_default(
                &#krate::data::default_value::<#ty>(#default),
                from,
                #at,
            )
        },
    };
    quote!(#read.map_err(|error| error.in_field(#name))?)
}

fn read_variant(krate: &Path, variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    let ordinal = usize::from(variant.some_ordinal());
    let members = variant.fields().iter().map(|field| &field.member);
    let reads = variant
        .fields()
        .iter()
        .map(|field| read_field(krate, field));
    quote! {
        if value == const { __VAT_SOLVED.slot(#ordinal).variant } {
            return ::core::result::Result::Ok(Self::#ident { #(#members: #reads),* });
        }
    }
}
