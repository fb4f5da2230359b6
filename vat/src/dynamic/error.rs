//! What can be wrong with a call that is described by JSON, and where in it.

use std::fmt;

/// A place inside arguments or results, printed as `entry.tags[2].name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ValuePath(Vec<Step>);

/// One step of a [`ValuePath`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(u32),
}

impl ValuePath {
    /// Whether this is the whole of the arguments.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push_field(&mut self, name: impl Into<String>) {
        self.0.push(Step::Field(name.into()));
    }

    pub(super) fn push_element(&mut self, index: u32) {
        self.0.push(Step::Element(index));
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for ValuePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if position == 0 => write!(f, "{name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Element(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Arguments that do not fit the method they are meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentError {
    /// Where in the arguments.
    pub path: ValuePath,
    /// What is wrong there.
    pub problem: ArgumentProblem,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for ArgumentError {}

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentProblem {
    /// The arguments are a list of values without names.
    #[error("arguments go by name, not by position; write {example}")]
    Positional {
        /// The same method's arguments with names.
        example: String,
    },
    /// The value is of another kind than the type asks for.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What the type takes.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The number does not fit the type.
    #[error("{value} does not fit {ty}, which holds {least} to {greatest}")]
    OutOfRange {
        /// The number as written.
        value: String,
        /// The type's name.
        ty: String,
        /// Its least value.
        least: String,
        /// Its greatest value.
        greatest: String,
    },
    /// A member is missing that has no default and is not optional.
    #[error("missing; expected {ty}")]
    Missing {
        /// What the type takes.
        ty: String,
    },
    /// The method or the struct has no member of this name.
    #[error("{owner} has no {what} of this name{}", hint(closest.as_deref(), known))]
    Unknown {
        /// Whose member it should have been: a method or a type.
        owner: String,
        /// `argument`, `field` or `variant`.
        what: &'static str,
        /// The known name that was probably meant.
        closest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// The same member under two spellings.
    #[error("given twice, as {first:?} and as {second:?}")]
    Twice {
        /// The spelling met first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two branches of a union at once.
    #[error("{first:?} and {second:?} exclude each other; give one of them")]
    Exclusive {
        /// The one met first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A variant that carries a value was given by its name alone.
    #[error("{variant} carries a value; write {{{variant:?}: …}} with {ty}")]
    NotUnit {
        /// The variant.
        variant: String,
        /// What it carries.
        ty: String,
    },
    /// A reference that could not be had.
    #[error("no reference {name:?}: {reason}")]
    Reference {
        /// What was written.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Bytes whose encoding is wrong.
    #[error("not valid {encoding}: {reason}")]
    Encoding {
        /// `base64` or `hex`.
        encoding: &'static str,
        /// Where and why.
        reason: String,
    },
    /// Nested deeper than any receiver reads.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The number of levels allowed.
        limit: usize,
    },
    /// More than one message holds.
    #[error("the arguments need more than {limit} bytes, the limit for one message")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The callee's description of its interface contradicts itself.
    #[error("the description of the interface is not usable: {0}")]
    Description(#[from] DescriptionError),
}

/// `; did you mean …?`, or else what there is.
fn hint(closest: Option<&str>, known: &[String]) -> String {
    match (closest, known) {
        (Some(closest), _) => format!("; did you mean {closest:?}?"),
        (None, []) => "; it has none".to_owned(),
        (None, known) => format!("; it has {}", known.join(", ")),
    }
}

/// A description that refers to types it does not hold, or places fields outside their struct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// A type is named that is not in the description.
    #[error("it does not hold the {kind} {id:#018x}")]
    NoSuchType {
        /// `interface`, `struct` or `enum`.
        kind: &'static str,
        /// The id it is named by.
        id: u64,
    },
    /// A name that has other characters than visible ASCII.
    #[error("\"{name}\" is not a name")]
    BadName {
        /// The name, with escapes.
        name: String,
    },
    /// An interface has fewer methods.
    #[error("it does not hold method {ordinal} of {interface}")]
    NoSuchMethod {
        /// The interface's name.
        interface: String,
        /// The method's number.
        ordinal: u16,
    },
    /// A field lies outside its struct.
    #[error("field {field} of {owner} lies outside the struct")]
    OutsideStruct {
        /// The struct's name.
        owner: String,
        /// The field's name.
        field: String,
    },
    /// A group that has another size than its struct, is in two structs, or in itself.
    #[error("group {field} of {owner} is not part of the struct")]
    BadGroup {
        /// The struct's name.
        owner: String,
        /// The field's name.
        field: String,
    },
    /// A type that cannot be an element of a list.
    #[error("a list cannot hold {element}")]
    BadList {
        /// The element's type.
        element: String,
    },
    /// A default value of another type than its field's.
    #[error("the default of field {field} of {owner} is of another type")]
    BadDefault {
        /// The struct's name.
        owner: String,
        /// The field's name.
        field: String,
    },
}

/// A method, or a field of its result, that an interface does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No method of this name.
    #[error("{interface} has no method {method:?}{}", hint(closest.as_deref(), known))]
    NoSuchMethod {
        /// The interface's name.
        interface: String,
        /// What was asked for.
        method: String,
        /// The known name that was probably meant.
        closest: Option<String>,
        /// All methods.
        known: Vec<String>,
    },
    /// The result has no such field.
    #[error("{owner} has no field {field:?}{}", hint(closest.as_deref(), known))]
    NoSuchField {
        /// The struct's or method's name.
        owner: String,
        /// What was asked for.
        field: String,
        /// The known name that was probably meant.
        closest: Option<String>,
        /// All fields.
        known: Vec<String>,
    },
    /// The path ends at, or passes through, something that is not a reference.
    #[error(
        "{place} is {found}, not a reference; only references can be called{}",
        candidates(references)
    )]
    NotAReference {
        /// The path so far.
        place: String,
        /// Its type.
        found: String,
        /// Paths of the references that are there.
        references: Vec<String>,
    },
    /// The path passes through a variant, which may turn out not to be the one.
    #[error("{place} is there in one variant only; call it once the result is there")]
    Variant {
        /// The path so far.
        place: String,
    },
    /// The interface of the reference is not known, so its methods are not either.
    #[error("{place} is a reference of any interface; its methods are known only once it is there")]
    AnyReference {
        /// The path so far.
        place: String,
    },
    /// The description is not usable.
    #[error("the description of the interface is not usable: {0}")]
    Description(#[from] DescriptionError),
}

fn candidates(references: &[String]) -> String {
    match references {
        [] => "; this result holds none".to_owned(),
        references => format!("; this result holds {}", references.join(", ")),
    }
}

/// Results that do not fit their description, or exceed a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultError {
    /// Where in the result.
    pub path: ValuePath,
    /// What is wrong there.
    pub problem: ResultProblem,
}

impl fmt::Display for ResultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer does not fit the interface's description: ")?;
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.problem)
    }
}

impl std::error::Error for ResultError {}

impl ResultError {
    /// The message itself cannot be read.
    pub(super) fn malformed(error: &capnp::Error) -> Self {
        ResultProblem::Malformed {
            reason: error.kind.to_string(),
        }
        .into()
    }
}

/// A problem with the result as a whole.
impl From<ResultProblem> for ResultError {
    fn from(problem: ResultProblem) -> Self {
        Self {
            path: ValuePath::default(),
            problem,
        }
    }
}

/// What is wrong with a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultProblem {
    /// Not a well-formed message.
    #[error("{reason}")]
    Malformed {
        /// What the reader says.
        reason: String,
    },
    /// Nested deeper than is read.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The number of levels allowed.
        limit: usize,
    },
    /// More values than are read from one message.
    #[error("more than {limit} values")]
    TooMany {
        /// The number of values allowed.
        limit: usize,
    },
    /// The description is not usable.
    #[error("the description of the interface is not usable: {0}")]
    Description(#[from] DescriptionError),
}
