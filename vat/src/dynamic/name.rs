//! Names as people write them, names as a schema has them, and the nearest known name.

/// How a schema's `lowerCamel` name is shown in JSON: `snake_case`, as in Rust.
pub fn shown(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut chars = name.chars().peekable();
    let mut before: Option<char> = None;
    while let Some(c) = chars.next() {
        if c == '-' || c == '_' {
            out.push('_');
        } else if c.is_ascii_uppercase() {
            let next_is_lower = chars.peek().is_some_and(char::is_ascii_lowercase);
            let starts_word = match before {
                None | Some('_' | '-') => false,
                Some(b) => !b.is_ascii_uppercase() || next_is_lower,
            };
            if starts_word {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// The `lowerCamel` form of a name written as `snake_case`, `kebab-case`, `lowerCamel` or
/// `UpperCamel`.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' || c == '-' {
            upper = !out.is_empty();
        } else if out.is_empty() {
            out.push(c.to_ascii_lowercase());
        } else if upper {
            out.push(c.to_ascii_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether `written` (by a person) means the schema's name `name`.
pub(crate) fn means(written: &str, name: &str) -> bool {
    written == name || camel(written) == name || shown(written) == shown(name)
}

/// The known name that `written` was probably meant to be: at most a third of its letters differ.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let written = shown(written);
    let length = written.chars().count();
    let limit = (length / 3).max(1).min(length.saturating_sub(1));
    known
        .into_iter()
        .map(shown)
        .map(|name| (strsim::damerau_levenshtein(&written, &name), name))
        .filter(|(distance, name)| *distance <= limit || is_abbreviation(&written, name))
        .min()
        .map(|(_, name)| name)
}

/// At least three letters, with which the name begins.
fn is_abbreviation(written: &str, name: &str) -> bool {
    written.len() >= 3 && name.starts_with(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_and_snake_name_the_same_thing() {
        for (camel_case, snake_case) in [
            ("fooBar", "foo_bar"),
            ("x", "x"),
            ("getURL", "get_url"),
            ("field2Name", "field2_name"),
        ] {
            assert_eq!(shown(camel_case), snake_case);
            assert!(means(snake_case, camel_case), "{snake_case} ~ {camel_case}");
            assert!(means(camel_case, camel_case));
        }
        assert!(means("field_2_name", "field2Name"));
        assert!(means("NotFound", "notFound"));
        assert!(means("not-found", "notFound"));
        assert!(!means("notfound", "notFound"));
        assert!(!means("foo", "bar"));
    }

    #[test]
    fn closest_forgives_a_slip_and_an_abbreviation_but_not_another_word() {
        let known = ["sign", "page", "watch", "pageCount"];
        assert_eq!(closest("sing", known).as_deref(), Some("sign"));
        assert_eq!(closest("pages", known).as_deref(), Some("page"));
        assert_eq!(closest("page-cont", known).as_deref(), Some("page_count"));
        assert_eq!(closest("wat", known).as_deref(), Some("watch"));
        assert_eq!(closest("delete", known), None);
        assert_eq!(closest("", known), None);
    }
}
