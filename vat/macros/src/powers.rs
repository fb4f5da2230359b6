//! `#[derive(vat::Powers)]`: what a program must be granted, by slot name.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::attributes::{Errors, crate_path, doc, named_fields};

/// Expands the derive.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let krate = crate_path(&input.attrs, "powers", &mut errors);
    let fields = named_fields(input, "the powers of a program", &mut errors);
    let ident = &input.ident;
    let (mut slots, mut takes) = (Vec::new(), Vec::new());
    for (field, name) in fields {
        let (member, ty, doc) = (&field.ident, &field.ty, doc(&field.attrs));
        slots.push(quote!(#krate::__private::Slot::of::<#ty>(#name, #doc)));
        takes.push(quote!(#member: #krate::__private::Grants::take::<#ty>(grants, #name)?));
    }
    if !errors.is_empty() {
        return errors.to_tokens();
    }
    quote! {
        #[automatically_derived]
        impl #krate::__private::Powers for #ident {
            fn slots() -> ::std::vec::Vec<#krate::__private::Slot> {
                ::std::vec![#(#slots),*]
            }

            fn take(
                grants: &mut #krate::__private::Grants,
            ) -> #krate::__private::Result<Self> {
                let _ = &grants;
                ::core::result::Result::Ok(Self { #(#takes),* })
            }
        }
    }
}
