//! What a caller gets at once for a record: the struct of the references inside a promised one.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};

use super::offset;
use crate::data::model::{Field, Record};

/// The associated types that say what a caller gets at once.
pub(super) fn promised_types(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let fields = if record.references().is_empty() {
        quote!(#krate::__private::NoFields)
    } else {
        promised_ident(record).to_token_stream()
    };
    quote! {
        type Promised = #krate::Promise<Self>;
        type Fields = #fields;
    }
}

fn promised_ident(record: &Record) -> Ident {
    format_ident!("{}Promised", record.ident)
}

/// The struct of the references inside a promised value, and its impl.
pub(super) fn promised(record: &Record) -> (TokenStream, TokenStream) {
    let references = record.references();
    if references.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let Record {
        ident, vis, krate, ..
    } = record;
    let name = promised_ident(record);
    let doc = format!(
        "The references inside a promised [`{ident}`], which can be called before it is there."
    );
    let declared = references.iter().map(|field| {
        let Field {
            vis,
            member,
            ty,
            doc,
            ..
        } = field;
        quote!(#[doc = #doc] #vis #member: #ty)
    });
    let members: Vec<_> = references.iter().map(|field| &field.member).collect();
    let paths = references.iter().map(|field| {
        let at = offset(field.ordinal);
        quote!(&[#at as u16])
    });
    let indexes = 0..references.len();
    let structure = quote! {
        #[doc = #doc]
        #[allow(dead_code, reason = "a program need not call every reference ahead")]
        #[derive(Debug)]
        #vis struct #name { #(#declared),* }
    };
    let expanded = quote! {
        impl #krate::__private::Fields<#ident> for #name {
            const PATHS: &'static [&'static [u16]] = &[#(#paths),*];

            fn new(promised: &[#krate::Ref]) -> Self {
                Self {
                    #(#members: ::core::convert::From::from(
                        ::core::clone::Clone::clone(&promised[#indexes])
                    )),*
                }
            }

            fn of(value: &#ident) -> ::std::vec::Vec<::core::option::Option<#krate::Ref>> {
                ::std::vec![#(::core::option::Option::Some(
                    ::core::convert::Into::into(::core::clone::Clone::clone(&value.#members))
                )),*]
            }
        }
    };
    (structure, expanded)
}
