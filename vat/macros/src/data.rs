//! `#[derive(Data)]`, and the same expansion for the hidden parameter structs of an interface.
//!
//! A derive goes `parse` (tokens to a [`model::Item`], all errors collected) → `expand` (one function
//! per emitted impl). The interface macro builds the model itself and calls [`expand_record`]:
//!
//! ```text
//! // pub struct __Sign { name: String, text: String }      emitted by the caller, with `Clone`
//! let mut errors = Errors::default();
//! let fields = vec![
//!     Field::parameter(&mut errors, name_ident, &name_type, 0, doc, default_expression),
//!     …
//! ];
//! let record = Record::parameters(ident, krate, fields);
//! tokens.extend(expand_record(&record));
//! ```
//!
//! `expand_reference` emits what makes a reference type (`FileRef`) a `Data`.

mod expand;
mod model;
mod parse;
mod types;

use proc_macro2::TokenStream;
use syn::{DeriveInput, Path};

pub(crate) use expand::{expand_record, expand_reference};
pub(crate) use model::{Field, Record};
pub(crate) use parse::id as explicit_id;
pub(crate) use types::{check as check_type, is_reference};

use crate::attributes::Errors;

/// The path to the crate `vat`: what an attribute says, or `::vat`.
pub(crate) fn default_crate() -> Path {
    syn::parse_quote!(::vat)
}

/// Expands the derive. Errors become compile errors at the user's tokens.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    match parse::item(input, &mut errors) {
        Some(item) if errors.is_empty() => expand::item(&item),
        _ => errors.to_tokens(),
    }
}
