//! Names and ids: from Rust's spelling to Cap'n Proto's.

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;

/// `package::Name` for something declared in the crate that is being compiled.
#[expect(
    clippy::disallowed_methods,
    reason = "Cargo says through it what is being compiled"
)]
pub(crate) fn full_name(ident: &Ident) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "local".to_owned());
    format!("{package}::{}", ident.unraw())
}

/// The id that belongs to a full name: the first eight bytes of blake3 with the top bit set.
pub(crate) fn id_of(full_name: &str) -> u64 {
    let hash = blake3::hash(full_name.as_bytes());
    let first = hash
        .as_bytes()
        .first_chunk::<8>()
        .copied()
        .unwrap_or_default();
    u64::from_be_bytes(first) | 1 << 63
}

/// `lowerCamelCase` from `snake_case` (fields, methods, parameters) or `PascalCase` (variants).
pub(crate) fn lower_camel(ident: &Ident) -> syn::Result<String> {
    let spelled = ident.unraw().to_string();
    let mut name = String::new();
    for word in spelled.split('_').filter(|word| !word.is_empty()) {
        if name.is_empty() {
            name.push_str(&lower_first(word));
        } else {
            name.extend(word.chars().take(1).map(|first| first.to_ascii_uppercase()));
            name.extend(word.chars().skip(1));
        }
    }
    check_member(&name, ident.span())?;
    Ok(name)
}

/// Lowers the leading capitals, but not the one that begins the next word: `HTTPServer` becomes
/// `httpServer`.
fn lower_first(word: &str) -> String {
    let capitals = word.chars().take_while(char::is_ascii_uppercase).count();
    let lowered = match capitals {
        0 | 1 => capitals,
        all if all == word.len() => all,
        some if word
            .chars()
            .nth(some)
            .is_some_and(|next| next.is_ascii_lowercase()) =>
        {
            some - 1
        }
        some => some,
    };
    let (head, tail) = word.split_at(lowered);
    head.to_ascii_lowercase() + tail
}

/// Refuses what cannot be a field, method or enumerant in Cap'n Proto.
pub(crate) fn check_member(name: &str, span: Span) -> syn::Result<()> {
    if name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(syn::Error::new(
        span,
        format!(
            "`{name}` cannot be a Cap'n Proto name: it needs a letter first, and only ASCII letters \
             and digits; give another one with `#[data(name = \"…\")]`"
        ),
    ))
}

/// Refuses full names whose last part cannot be a type in Cap'n Proto.
pub(crate) fn check_type(full_name: &str, span: Span) -> syn::Result<()> {
    let (package, name) = full_name.rsplit_once("::").unwrap_or(("", full_name));
    if !package.is_empty()
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(syn::Error::new(
        span,
        format!(
            "`{full_name}` cannot name a Cap'n Proto type: it has to be `package::Name`, the name \
             with a capital first and only ASCII letters and digits; give one with \
             `name = \"package::Name\"`"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camel(spelled: &str) -> String {
        lower_camel(&Ident::new_raw(spelled, Span::call_site())).unwrap()
    }

    #[test]
    fn names_become_lower_camel_case() {
        assert_eq!(camel("entry_count"), "entryCount");
        assert_eq!(camel("type"), "type");
        assert_eq!(camel("_hidden"), "hidden");
        assert_eq!(camel("x_2"), "x2");
        assert_eq!(camel("DarkRed"), "darkRed");
        assert_eq!(camel("IO"), "io");
        assert_eq!(camel("HTTPServer"), "httpServer");
        assert_eq!(camel("X1"), "x1");
    }

    #[test]
    fn names_that_capnp_has_not_are_refused() {
        for spelled in ["ümlaut", "_1", "日本"] {
            assert!(
                lower_camel(&Ident::new(spelled, Span::call_site())).is_err(),
                "{spelled}"
            );
        }
        assert!(check_type("pkg::My_Type", Span::call_site()).is_err());
        assert!(check_type("NoPackage", Span::call_site()).is_err());
        assert!(check_type("my-pkg::module::Type", Span::call_site()).is_ok());
    }

    #[test]
    fn ids_have_the_top_bit() {
        assert_eq!(id_of("a::B") >> 63, 1);
        assert_ne!(id_of("a::B"), id_of("a::C"));
    }
}
