//! The names in a manifest: of ensembles, of slots, of interfaces.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Longest name of an ensemble or a slot, in bytes. Names become folders and parts of socket
/// paths, which hold 107 bytes.
pub const MAX_NAME: usize = 40;

/// Longest part of an interface name, in bytes.
const MAX_INTERFACE_PART: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than allowed.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// The first character is no lower-case letter.
    #[error("it does not begin with a lower-case letter")]
    Start,
    /// A character that has no place in such a name.
    #[error("{0:?} is not allowed in it")]
    Character(char),
    /// An interface of a package is written `package::Trait`.
    #[error(
        "an interface is written package::Trait, or is one of {}",
        Builtin::list()
    )]
    NotAnInterface,
    /// The trait's part does not look like the name of a Rust trait.
    #[error("the part after :: is not the name of a Rust trait, as Greeter")]
    NotATrait,
}

/// The name of an ensemble or of one of its children: lower-case letters, digits, `-` and `_`; a
/// letter first; at most 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VatName(String);

impl VatName {
    /// Accepts a well-formed name.
    ///
    /// # Errors
    ///
    /// Empty, too long, or a character that has no place in it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, |c| c == '-' || c == '_', MAX_NAME)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a slot (`[use.X]`) or of an exposed reference (`[expose.X]`). It is also the name
/// of a field of the program's record, so: lower-case letters, digits and `_`; a letter first; at
/// most 40 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SlotName(String);

impl SlotName {
    /// Accepts a well-formed name.
    ///
    /// # Errors
    ///
    /// Empty, too long, or a character that has no place in it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, |c| c == '_', MAX_NAME)?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn check_name(text: &str, extra: fn(char) -> bool, longest: usize) -> Result<(), NameError> {
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty);
    };
    let wrong = |c: &char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || extra(*c));
    if let Some(c) = text.chars().find(wrong) {
        return Err(NameError::Character(c));
    }
    if !first.is_ascii_lowercase() {
        return Err(NameError::Start);
    }
    if text.len() > longest {
        Err(NameError::TooLong(longest))
    } else {
        Ok(())
    }
}

/// The interfaces that a manifest may name without a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub enum Builtin {
    /// A directory: `vat::Directory`.
    Directory,
    /// A file: `vat::File`.
    File,
    /// A place for log records: `vat::LogSink`.
    LogSink,
    /// The time of day and timers: `vat::Clock`.
    Clock,
    /// The right to reach other vats: `vat::Network`.
    Network,
}

impl Builtin {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::Directory,
        Self::File,
        Self::LogSink,
        Self::Clock,
        Self::Network,
    ];

    /// The trait's name.
    #[must_use]
    pub fn trait_name(self) -> &'static str {
        match self {
            Self::Directory => "Directory",
            Self::File => "File",
            Self::LogSink => "LogSink",
            Self::Clock => "Clock",
            Self::Network => "Network",
        }
    }

    /// All names, for messages.
    pub(super) fn list() -> String {
        Self::ALL.map(Self::trait_name).join(", ")
    }
}

/// The name of an interface: `package::Trait`. The built-in ones have short names (`Directory`
/// is `vat::Directory`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName {
    package: String,
    trait_name: String,
}

impl InterfaceName {
    /// Accepts `package::Trait` or the short name of a built-in interface.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let Some((package, trait_name)) = text.split_once("::") else {
            return Builtin::ALL
                .into_iter()
                .find(|builtin| builtin.trait_name() == text)
                .map(Self::from)
                .ok_or(NameError::NotAnInterface);
        };
        check_name(package, |c| c == '-' || c == '_', MAX_INTERFACE_PART)?;
        let mut rest = trait_name.chars();
        let starts_well = rest.next().is_some_and(|c| c.is_ascii_uppercase());
        let goes_on_well = rest.all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !starts_well || !goes_on_well || trait_name.len() > MAX_INTERFACE_PART {
            return Err(NameError::NotATrait);
        }
        Ok(Self {
            package: package.to_owned(),
            trait_name: trait_name.to_owned(),
        })
    }

    /// The package that declares the trait.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }

    /// The trait.
    #[must_use]
    pub fn trait_name(&self) -> &str {
        &self.trait_name
    }

    /// The name that the interface id is derived from: always `package::Trait`.
    #[must_use]
    pub fn full(&self) -> String {
        format!("{}::{}", self.package, self.trait_name)
    }

    /// Which built-in interface this is, if one.
    #[must_use]
    pub fn builtin(&self) -> Option<Builtin> {
        if self.package != "vat" {
            return None;
        }
        Builtin::ALL
            .into_iter()
            .find(|builtin| builtin.trait_name() == self.trait_name)
    }
}

impl From<Builtin> for InterfaceName {
    fn from(builtin: Builtin) -> Self {
        Self {
            package: "vat".to_owned(),
            trait_name: builtin.trait_name().to_owned(),
        }
    }
}

impl fmt::Display for InterfaceName {
    /// The way a manifest writes it: built-in interfaces by their short names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.builtin() {
            Some(builtin) => f.pad(builtin.trait_name()),
            None => f.pad(&self.full()),
        }
    }
}

impl Serialize for InterfaceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_lower_case_words() {
        assert!(VatName::parse("guest-book_2").is_ok());
        assert!(SlotName::parse("store_dir").is_ok());
        assert_eq!(VatName::parse(""), Err(NameError::Empty));
        assert_eq!(VatName::parse("../etc"), Err(NameError::Character('.')));
        assert_eq!(VatName::parse("a/b"), Err(NameError::Character('/')));
        assert_eq!(VatName::parse("2nd"), Err(NameError::Start));
        assert_eq!(VatName::parse("-x"), Err(NameError::Start));
        assert_eq!(VatName::parse(&"a".repeat(41)), Err(NameError::TooLong(40)));
        assert_eq!(SlotName::parse("store-dir"), Err(NameError::Character('-')));
    }

    #[test]
    fn interfaces_have_a_package_unless_built_in() {
        let greeter = InterfaceName::parse("hello::Greeter");
        assert_eq!(
            greeter.as_ref().map(InterfaceName::full),
            Ok("hello::Greeter".to_owned())
        );
        assert_eq!(greeter.ok().and_then(|name| name.builtin()), None);
        let clock = InterfaceName::parse("Clock");
        assert_eq!(clock, InterfaceName::parse("vat::Clock"));
        assert_eq!(clock.map(|name| name.to_string()), Ok("Clock".to_owned()));
        assert_eq!(
            InterfaceName::parse("Greeter"),
            Err(NameError::NotAnInterface)
        );
        assert_eq!(
            InterfaceName::parse("hello::greeter"),
            Err(NameError::NotATrait)
        );
        assert_eq!(InterfaceName::parse("a::b::C"), Err(NameError::NotATrait));
        assert_eq!(InterfaceName::parse("::C"), Err(NameError::Empty));
    }
}
