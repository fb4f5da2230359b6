//! What can be said of a field's type from its tokens: types that Cap'n Proto does not have are
//! refused here, with what to write instead.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, Type};

use crate::attributes::Errors;

/// Adds an error for everything in the type that cannot be data.
pub(crate) fn check(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Path(path) if path.qself.is_none() => check_path(ty, errors),
        Type::Path(_) | Type::Macro(_) => {}
        Type::Paren(inner) => check(&inner.elem, errors),
        Type::Group(inner) => check(&inner.elem, errors),
        Type::Tuple(tuple) if tuple.elems.is_empty() => {}
        Type::Tuple(_) => errors.at(
            ty,
            "a tuple cannot be data: its parts have no names; use a struct with \
             `#[derive(vat::Data)]`",
        ),
        Type::Array(array) if is(&array.elem, "u8") => {}
        Type::Array(array) => {
            let element = array.elem.to_token_stream();
            errors.at(
                ty,
                format!("only arrays of bytes are data; use `Vec<{element}>`"),
            );
        }
        Type::Reference(reference) => {
            let owned = match &*reference.elem {
                Type::Slice(slice) => format!("Vec<{}>", slice.elem.to_token_stream()),
                text if is(text, "str") => "String".to_owned(),
                other => other.to_token_stream().to_string(),
            };
            errors.at(
                ty,
                format!("data is owned: a borrow ends with the call; use `{owned}`"),
            );
        }
        Type::Slice(slice) => {
            let element = slice.elem.to_token_stream();
            errors.at(ty, format!("a slice cannot be data; use `Vec<{element}>`"));
        }
        Type::FnPtr(_) | Type::TraitObject(_) | Type::ImplTrait(_) => errors.at(
            ty,
            "code cannot be data; pass a reference to an object (`SomethingRef`) instead",
        ),
        _ => errors.at(
            ty,
            "this type cannot be data: Cap'n Proto has nothing like it",
        ),
    }
}

fn check_path(ty: &Type, errors: &mut Errors) {
    let Some((name, arguments)) = last(ty) else {
        return;
    };
    if let Some(hint) = hint(&name) {
        errors.at(ty, format!("`{name}` cannot be data: {hint}"));
        return;
    }
    let inner = arguments.first().copied();
    match (name.as_str(), inner) {
        ("Vec", Some(element)) if is_optional_scalar(element) => errors.at(
            element,
            "a list cannot hold an `Option` of a number: its elements are never absent; wrap the \
             `Option` in a struct of its own",
        ),
        ("Option", Some(held)) if last(held).is_some_and(|(name, _)| name == "Option") => errors
            .at(
                held,
                "an `Option` of an `Option` cannot be told apart on the wire; use an enum instead",
            ),
        _ => {}
    }
    for argument in arguments {
        check(argument, errors);
    }
}

fn hint(name: &str) -> Option<&'static str> {
    Some(match name {
        "usize" => "its size differs between machines; use `u64`",
        "isize" => "its size differs between machines; use `i64`",
        "u128" | "i128" => "Cap'n Proto's numbers have at most 64 bits; use `[u8; 16]`",
        "char" => "Cap'n Proto has no character; use `u32` or `String`",
        "str" => "data is owned; use `String`",
        "HashMap" => "its order differs from run to run; use `BTreeMap`",
        "HashSet" => "its order differs from run to run; use a sorted `Vec`",
        "BTreeSet" | "VecDeque" | "LinkedList" | "BinaryHeap" => {
            "Cap'n Proto has one kind of list; use `Vec`"
        }
        "Rc" | "Arc" | "Cow" | "Cell" | "RefCell" | "Mutex" | "RwLock" => {
            "data is copied when it leaves the vat; use the value itself or a `Box`"
        }
        "Result" => "an error is an answer, not data; use an enum with `#[derive(vat::Data)]`",
        "Duration" => "say the unit in the name; use a number like `timeout_ms: u64`",
        "Instant" => "it means nothing in another process; use a number like `delay_ms: u64`",
        "SystemTime" => "use a number like `unix_ms: u64`",
        "PathBuf" | "OsString" => "it differs between systems; use `String`, or pass a `FileRef`",
        "Near" => "a near reference stays in its vat; use the `Ref` type of an interface",
        "Promise" | "Resolver" => "a promise is not data; use the value, or a `Ref` type",
        _ => return None,
    })
}

fn is_optional_scalar(ty: &Type) -> bool {
    let Some((name, arguments)) = last(ty) else {
        return false;
    };
    const SCALARS: [&str; 11] = [
        "bool", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64",
    ];
    name == "Option"
        && arguments
            .iter()
            .any(|held| SCALARS.iter().any(|scalar| is(held, scalar)))
}

/// Whether the type is a reference to an object: by its name, `Ref` or `SomethingRef`.
pub(crate) fn is_reference(ty: &Type) -> bool {
    last(ty).is_some_and(|(name, _)| name.ends_with("Ref"))
}

/// Lists inside the type whose element is an `Option`: whether they exist can only be told once the
/// element's own type is known.
pub(crate) fn lists_of_options(ty: &Type) -> Vec<&Type> {
    let Some((name, arguments)) = last(ty) else {
        return Vec::new();
    };
    let mut found: Vec<&Type> = arguments
        .iter()
        .copied()
        .flat_map(lists_of_options)
        .collect();
    if name == "Vec" {
        let optional = |held: &&&Type| last(held).is_some_and(|(name, _)| name == "Option");
        found.extend(arguments.iter().find(optional).copied());
    }
    found
}

/// The type with its own name for `Self`, which constants beside the type do not know.
pub(crate) fn without_self(ty: &Type, ident: &Ident) -> Type {
    let tokens = replace_self(ty.to_token_stream(), ident);
    syn::parse2(tokens).unwrap_or_else(|_| ty.clone())
}

fn replace_self(tokens: TokenStream, ident: &Ident) -> TokenStream {
    let replaced = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(name) if name == "Self" => {
            TokenTree::Ident(Ident::new(&ident.to_string(), name.span()))
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), replace_self(group.stream(), ident));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    });
    replaced.collect()
}

fn is(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident(name))
}

/// The last name of a path, and its type arguments.
fn last(ty: &Type) -> Option<(String, Vec<&Type>)> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(list) => {
            let types = list.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            types.collect()
        }
        _ => Vec::new(),
    };
    Some((segment.ident.to_string(), arguments))
}
