//! Names beneath a directory, checked before the kernel sees them.

use std::path::Path;

/// A relative path that stays beneath where it starts, as far as its text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The name is empty.
    #[error("it is empty")]
    Empty,
    /// The name begins with a slash.
    #[error("it begins with a slash; names are relative to the directory")]
    Absolute,
    /// There is nothing before, after or between slashes.
    #[error("it has an empty part; parts are separated by single slashes")]
    EmptyPart,
    /// A component is `.` or `..`.
    #[error("it has a part `.` or `..`")]
    Dots,
    /// There is a NUL or another control character in it.
    #[error("it has a control character in it")]
    Control,
    /// A component has more than 255 bytes, or all of it more than 1,024.
    #[error("it is too long; a part may have 255 bytes and all of it 1,024")]
    TooLong,
    /// There are more than 32 components.
    #[error("it has more than 32 parts")]
    TooDeep,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            return Err(BadName::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(BadName::TooLong);
        }
        if text.starts_with('/') {
            return Err(BadName::Absolute);
        }
        if text.chars().any(char::is_control) {
            return Err(BadName::Control);
        }
        for (n, part) in text.split('/').enumerate() {
            match part {
                _ if n >= MAX_PARTS => return Err(BadName::TooDeep),
                "" => return Err(BadName::EmptyPart),
                "." | ".." => return Err(BadName::Dots),
                _ if part.len() > MAX_PART_BYTES => return Err(BadName::TooLong),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Any text, to see what the kernel does with it.
    #[cfg(test)]
    pub(super) fn unchecked(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The directory part, if there is one, and the last component.
    pub(super) fn split(&self) -> (Option<&Path>, &Path) {
        match self.0.rsplit_once('/') {
            Some((parent, last)) => (Some(Path::new(parent)), Path::new(last)),
            None => (None, self.path()),
        }
    }
}

const MAX_BYTES: usize = 1024;
const MAX_PARTS: usize = 32;
const MAX_PART_BYTES: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn relative_names_are_accepted() {
        for name in [
            "a",
            "a/b",
            "...",
            ".hidden",
            "a b",
            "ä/ö.txt",
            "..a",
            "a..",
            "\\",
            "~",
        ] {
            assert!(Name::parse(name).is_ok(), "{name:?}");
        }
        assert!(Name::parse(&"x".repeat(255)).is_ok());
        assert!(Name::parse(&vec!["x"; 32].join("/")).is_ok());
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        let cases = [
            ("", BadName::Empty),
            ("/", BadName::Absolute),
            ("/etc/passwd", BadName::Absolute),
            ("//a", BadName::Absolute),
            (".", BadName::Dots),
            ("..", BadName::Dots),
            ("../a", BadName::Dots),
            ("a/../b", BadName::Dots),
            ("a/..", BadName::Dots),
            ("./a", BadName::Dots),
            ("a//b", BadName::EmptyPart),
            ("a/", BadName::EmptyPart),
            ("a\0", BadName::Control),
            ("a\n", BadName::Control),
            ("\u{7f}", BadName::Control),
            ("\u{85}", BadName::Control),
        ];
        for (name, why) in cases {
            assert_eq!(Name::parse(name), Err(why), "{name:?}");
        }
        assert_eq!(Name::parse(&"x".repeat(256)), Err(BadName::TooLong));
        assert_eq!(Name::parse(&"xy/".repeat(400)), Err(BadName::TooLong));
        assert_eq!(Name::parse(&vec!["x"; 33].join("/")), Err(BadName::TooDeep));
    }

    #[test]
    fn a_name_splits_into_parent_and_last_part() {
        let name = Name::parse("a/b/c").unwrap();
        assert_eq!(name.split(), (Some(Path::new("a/b")), Path::new("c")));
        assert_eq!(Name::parse("c").unwrap().split(), (None, Path::new("c")));
    }

    proptest! {
        #[test]
        fn an_accepted_name_has_only_normal_components(text in "[./a\0é\n]{0,12}") {
            if let Ok(name) = Name::parse(&text) {
                let normal = |c| matches!(c, std::path::Component::Normal(_));
                prop_assert!(name.path().components().all(normal));
                prop_assert_eq!(name.path().components().count(), text.split('/').count());
            }
        }
    }
}
