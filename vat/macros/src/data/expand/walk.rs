//! What goes over all fields of a record: `Data::refs` and `Data::words`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

use super::locals;
use crate::data::model::{Field, Record, Shape};

/// `refs`: visits the references inside a value.
pub(super) fn visit_references(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let body = each_field(record, &quote!(&mut self), |field, value| {
        let ty = &field.ty;
        quote!(<#ty as #krate::data::Data>::refs(#value, visit);)
    });
    quote! {
        fn refs(&mut self, visit: &mut dyn ::core::ops::FnMut(&mut #krate::Ref)) {
            let _ = &visit;
            #body
        }
    }
}

/// `words`: the size of a value that is written.
pub(super) fn count_words(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let body = each_field(record, &quote!(&self), |field, value| {
        let ty = &field.ty;
        quote!(words += <#ty as #krate::data::Data>::words(#value);)
    });
    quote! {
        #[allow(unused_mut, reason = "a struct may have no fields")]
        fn words(&self) -> usize {
            let mut words = <Self as #krate::data::Record>::LAYOUT.size.words();
            #body
            words
        }
    }
}

/// What `act` makes of each field that is there, given a reference to its value; `this` is the
/// reference to the record.
fn each_field(
    record: &Record,
    this: &TokenStream,
    act: impl Fn(&Field, TokenStream) -> TokenStream,
) -> TokenStream {
    match &record.shape {
        Shape::Struct(fields) => {
            let acts = fields.iter().map(|field| {
                let member = &field.member;
                act(field, quote!(#this.#member))
            });
            quote!(#(#acts)*)
        }
        Shape::Union(variants) => {
            let arms = variants.iter().map(|variant| {
                let ident = &variant.ident;
                let fields = variant.fields();
                let members = fields.iter().map(|field| &field.member);
                let locals = locals(fields.len());
                let acts = fields
                    .iter()
                    .zip(&locals)
                    .map(|(field, local)| act(field, local.to_token_stream()));
                quote!(Self::#ident { #(#members: #locals),* } => { #(#acts)* })
            });
            quote!(match self { #(#arms)* })
        }
    }
}
