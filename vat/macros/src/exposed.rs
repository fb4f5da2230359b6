//! `#[derive(vat::Exposed)]`: the references a program gives, by expose name.

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::attributes::{Errors, crate_path, named_fields};

/// Expands the derive.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let krate = crate_path(&input.attrs, "exposed", &mut errors);
    let fields = named_fields(input, "what a program exposes", &mut errors);
    let ident = &input.ident;
    let exposures = fields.iter().map(|(field, name)| {
        let member = &field.ident;
        quote!(#krate::__private::Exposure::new(#name, self.#member))
    });
    let exposures: Vec<TokenStream> = exposures.collect();
    if !errors.is_empty() {
        return errors.to_tokens();
    }
    quote! {
        #[automatically_derived]
        impl #krate::__private::Exposed for #ident {
            fn expose(self) -> #krate::__private::Outcome {
                #krate::__private::Outcome::exposing(::std::vec![#(#exposures),*])
            }
        }
    }
}
