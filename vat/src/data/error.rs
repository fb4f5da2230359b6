//! What is wrong with a value that is written or read, and where in it.

use std::fmt;

/// A value cannot be written, or the bytes are not a value of the wanted type.
///
/// It says where (`in entries[3].colour`) and what; nothing that a peer sends makes reading panic.
#[derive(Clone, Debug, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    /// From the inside out.
    path: Vec<Step>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Field(&'static str),
    Element(u32),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The peer's version of an enum has more values than ours.
    #[error("enumerant {value} is not one of the {known} that `{ty}` has in this version")]
    UnknownEnumerant {
        /// The enum.
        ty: &'static str,
        /// What came.
        value: u16,
        /// How many are known.
        known: u16,
    },
    /// The peer's version of an enum with payloads has more variants than ours.
    #[error("variant {value} is not one of the {known} that `{ty}` has in this version")]
    UnknownVariant {
        /// The enum.
        ty: &'static str,
        /// What came.
        value: u16,
        /// How many are known.
        known: u16,
    },
    /// A text is not UTF-8.
    #[error("the text is not valid UTF-8: {valid} bytes of it are")]
    NotUtf8 {
        /// How many bytes from the start on are valid.
        valid: usize,
    },
    /// An array of bytes has another length.
    #[error("{found} bytes instead of {expected}")]
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A map has the same key twice.
    #[error("the map has the key of this entry twice")]
    DuplicateKey,
    /// A reference that must be there is null.
    #[error("the reference is missing (a reference that may be missing is an `Option`)")]
    MissingReference,
    /// A reference is where none can be.
    #[error("a reference cannot be written here: these bytes are not a message to a vat")]
    NoReferencesHere,
    /// A reference of one vat in a message of another: it has to be passed over the link between
    /// them.
    #[error("the reference belongs to another vat than the one that sends it")]
    ForeignReference,
    /// A capability pointer that is not in the message's table.
    #[error("the reference is not in the message's table")]
    UnknownReference,
    /// A list, text or struct is larger than Cap'n Proto allows.
    #[error("{count} are too many: a list has at most 536870911 elements, bytes or words")]
    TooLong {
        /// How many elements, bytes or words.
        count: u64,
    },
    /// Deeper than [`NESTING_LIMIT`](super::NESTING_LIMIT).
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: u16,
    },
    /// More memory than [`MEMORY_LIMIT`](super::MEMORY_LIMIT) would be needed for one value.
    #[error("the value would take more than {limit} bytes of memory")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A slot that the struct or list does not have. A layout that was computed here never has one;
    /// a description that came from a peer may.
    #[error("there is no slot {at} of this kind")]
    NoSlot {
        /// Offset in units of the value's size.
        at: u32,
    },
    /// Not a Cap'n Proto message, or not of this type.
    #[error("malformed: {0}")]
    Malformed(String),
}

impl Error {
    /// Puts the failed value into a field of a struct.
    #[must_use]
    pub fn in_field(mut self, name: &'static str) -> Self {
        self.0.path.push(Step::Field(name));
        self
    }

    /// Puts the failed value into a list.
    #[must_use]
    pub fn in_element(mut self, index: u32) -> Self {
        self.0.path.push(Step::Element(index));
        self
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// Where in the value, like `entries[3].colour`; empty if it is the value itself.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.path.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Element(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

impl Fault {
    /// The same as an error, for macros that cannot rely on `into`.
    pub fn into_error(self) -> Error {
        self.into()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Box::new(Inner {
            path: Vec::new(),
            fault,
        }))
    }
}

impl From<capnp::Error> for Error {
    fn from(error: capnp::Error) -> Self {
        Fault::Malformed(error.to_string()).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path.is_empty() {
            write!(f, "{}", self.0.fault)
        } else {
            write!(f, "in {}: {}", self.path(), self.0.fault)
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_from_the_outside_in() {
        let error = Error::from(Fault::DuplicateKey)
            .in_element(3)
            .in_field("tags")
            .in_element(0);
        assert_eq!(
            error.to_string(),
            "in [0].tags[3]: the map has the key of this entry twice"
        );
        let error = error.in_field("entries");
        assert_eq!(error.path(), "entries[0].tags[3]");
    }
}
