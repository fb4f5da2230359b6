//! What the interface macro knows of a trait once its tokens are read and checked.

use proc_macro2::Ident;
use syn::{Attribute, Expr, ItemTrait, Path, Type, Visibility};

/// A trait with `#[vat::interface]`.
pub(crate) struct Interface {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) krate: Path,
    /// `package::Trait`.
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) doc: String,
    /// The interface it extends, if any.
    pub(crate) extends: Option<Path>,
    pub(crate) methods: Vec<Method>,
    /// The trait as it is emitted.
    pub(crate) item: ItemTrait,
}

/// A method; its position is its ordinal.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// lowerCamelCase.
    pub(crate) name: String,
    pub(crate) doc: String,
    /// Doc comments and `#[deprecated]`: what the sender gets as well.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) form: Form,
    /// Whether it stops when its caller gives the call up.
    pub(crate) cancellable: bool,
    pub(crate) params: Vec<Param>,
    /// The type of `turn`, or of `this` and `cx`, as written.
    pub(crate) context: Vec<Type>,
    /// What the method gives, as written: `Result<T>`.
    pub(crate) returns: Type,
    /// What a caller gets in the end: the `T` of `Result<T>` and of `Result<Promise<T>>`.
    pub(crate) output: Type,
}

/// How a method runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `&self`: reads.
    Read,
    /// `&mut self`.
    Write,
    /// `async fn(this: Near<Self>, cx: &Cx, …)`.
    Async,
}

/// A parameter.
pub(crate) struct Param {
    pub(crate) ident: Ident,
    /// As written.
    pub(crate) declared: Type,
    /// As it is kept in a message: `String` for `&str`.
    pub(crate) owned: Type,
    pub(crate) doc: String,
    pub(crate) default: Option<Expr>,
}

impl Param {
    /// Whether the method borrows it.
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.declared, Type::Reference(_))
    }
}
