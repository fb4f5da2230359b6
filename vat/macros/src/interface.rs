//! `#[vat::interface]`: a trait becomes an interface.
//!
//! `parse` (tokens to a [`model::Interface`], all errors collected) → `expand` (one function per
//! emitted item). For `trait Greeter` there come out:
//!
//! - the trait itself, with `async fn` methods as functions that give a future;
//! - `GreeterRef`, the reference, with one sender per method;
//! - inside a `const _`, out of everybody's way: per method the struct of its parameters and a
//!   marker; what makes `GreeterRef` data; the dispatch of messages to an object; and `Greeter` for
//!   `Near<T>`, so that near calls are plain method calls.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;
use syn::ItemTrait;

use crate::attributes::Errors;

/// Expands the attribute. Errors become compile errors at the user's tokens, all at once.
pub(crate) fn interface(arguments: TokenStream, item: &ItemTrait) -> TokenStream {
    let mut errors = Errors::default();
    let interface = parse::interface(arguments, item, &mut errors);
    match interface {
        Some(interface) if errors.is_empty() => {
            let expanded = expand::interface(&interface, &mut errors);
            if errors.is_empty() {
                expanded
            } else {
                errors.to_tokens()
            }
        }
        _ => errors.to_tokens(),
    }
}
