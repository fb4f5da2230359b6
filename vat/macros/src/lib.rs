//! The macros of vat: `#[vat::interface]`, the derives `Data`, `Object` and `Powers`, and `#[vat::main]`.

mod attributes;
mod data;
mod names;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum usable in arguments and results.
///
/// What it is on the wire: a struct with named fields is a struct; an enum without payloads an
/// enum; an enum with payloads a struct with one unnamed union, in which a variant with one unnamed
/// field is that field and any other a group; a struct of one unnamed field is that field. Names
/// become lowerCamelCase. Doc comments are kept in the description.
///
/// Before the type: `#[data(name = "package::Name")]` and `#[data(id = 0x…)]` replace the full name
/// and the id that follows from it; `#[data(reserved(3: u32))]` keeps the place of a removed field;
/// `#[data(crate = "path")]` says where `vat` is.
///
/// Before a field or variant: `#[data(n = 3)]` gives the ordinal, else the position counts;
/// `#[data(name = "wireName")]`; `#[data(default = 10)]`, for numbers, `bool` and plain enums,
/// gives the value that an absent field has.
///
/// # Compatibility
///
/// Appending a field, variant or enumerant is compatible, and so is renaming in Rust while the
/// `name` stays. Changing a type or an ordinal, removing without `reserved`, and inserting in the
/// middle without ordinals are not.
#[proc_macro_derive(Data, attributes(data))]
pub fn derive_data(input: TokenStream) -> TokenStream {
    data::derive(&parse_macro_input!(input as DeriveInput)).into()
}
