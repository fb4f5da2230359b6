//! The macros of vat: `#[vat::interface]`, the derives `Data`, `Object`, `Powers` and `Exposed`, and
//! `#[vat::main]`.
#![forbid(unsafe_code)]

mod attributes;
mod data;
mod exposed;
mod interface;
mod main_;
mod names;
mod object;
mod powers;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, ItemTrait, parse_macro_input};

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

/// Makes a trait an interface that objects offer and references call.
///
/// For `trait Greeter` it gives `GreeterRef`, a cloneable reference to a `Greeter` wherever it is,
/// with one sender per method, and `Greeter` for every `Near<T>` whose `T` is a `Greeter`.
///
/// A method has one of three forms and gives `Result<T>`, where `T` is data, a reference, or a
/// promise of one:
///
/// ```text
/// fn page(&self, turn: &Turn, from: u64, #[default(10)] count: u64) -> Result<Vec<Entry>>;
/// fn watch(&mut self, turn: &Turn, reader: ReaderRef) -> Result<WatchRef>;
/// async fn sign(this: Near<Self>, cx: &Cx, name: String) -> Result<u64>;
/// ```
///
/// `&self` reads, and may be re-entered; `&mut self` may change the object; an `async` method is a
/// sequence of turns, one per stretch between two waits. A sender takes texts and references as
/// `impl Into<_>` and gives a `Promise<T>`, or the reference itself where `T` is one: a type whose
/// name ends with `Ref`.
///
/// An `async` method with `#[cancellable]` stops where it waits when its caller gives the call up: see
/// `Promise::cancel`.
///
/// On a `Near<T>` the methods are called like any other, but for those named `with`, `call`, `read`,
/// `downgrade` or `dynamic`, which `Near` has itself: `File::read(&near, turn, …)`.
///
/// Arguments: `name = "package::Name"` and `id = 0x…` replace the full name and the id that follows
/// from it; `crate = "path"` says where `vat` is. An interface may extend one other:
/// `trait File: Node`.
///
/// # Compatibility
///
/// A method's position is its number on the wire. Appending methods and parameters is compatible;
/// nothing else is. `#[default(…)]` on a parameter is part of the wire.
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemTrait);
    interface::interface(arguments.into(), &item).into()
}

/// Makes a type's values objects that live in a vat.
///
/// A transactional object, the default, is `Clone`: a failed turn brings the state back that it had
/// before. For that it must not implement `Drop`, which would run for every copy, nor have fields
/// that share state between copies (`Rc`, `Cell`, `RefCell`, `Mutex`, …). An object that stands for
/// something outside of the vat is `#[object(external)]`: it needs no `Clone`, its changes stay when
/// a turn fails, and a panic in one of its methods kills it.
#[proc_macro_derive(Object, attributes(object))]
pub fn derive_object(input: TokenStream) -> TokenStream {
    object::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Makes a struct of references the powers of a program: what its manifest must grant, by field
/// name. An `Option` may be granted or not.
#[proc_macro_derive(Powers, attributes(powers))]
pub fn derive_powers(input: TokenStream) -> TokenStream {
    powers::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Makes a struct of references what a program's `main` may give: its field names are the names
/// under which the references are exposed.
#[proc_macro_derive(Exposed, attributes(exposed))]
pub fn derive_exposed(input: TokenStream) -> TokenStream {
    exposed::derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Makes an `async fn main(cx: &Cx, granted: Granted) -> Result<GuestbookRef>` a vat program.
///
/// `granted` is a struct with `#[derive(vat::Powers)]`; it may be left out, and a third parameter
/// `args: Vec<String>` may follow. What it gives is what the program exposes: nothing, plain data,
/// one reference, or a struct with `#[derive(vat::Exposed)]`. The function itself is renamed to
/// `vat_main`, for tests; `#[vat::main(crate = "path")]` says where `vat` is.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    main_::main(arguments.into(), item).into()
}
