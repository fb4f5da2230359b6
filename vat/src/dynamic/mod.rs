//! Calls without compiled interfaces: JSON to wire and back by a description.
//!
//! This is what `vat call` stands on: it asks a reference for its [description](crate::schema),
//! turns what a person typed into a message, and the answer into JSON again.
//!
//! ```no_run
//! use vat::dynamic::{CallError, Given, Limits, Step, call};
//!
//! /// `vat call guestbook.cap sign name=Ann text=hello`
//! async fn sign(guestbook: &vat::Ref) -> Result<serde_json::Value, CallError> {
//!     let step = Step {
//!         fields: Vec::new(),
//!         method: "sign".to_owned(),
//!         arguments: Given::Words(vec!["name=Ann".to_owned(), "text=hello".to_owned()]),
//!     };
//!     let mut no_references = |name: &str, _: Option<&_>| Err(format!("what is {name}?"));
//!     let answer = call(guestbook, &[step], &mut no_references, Limits::default()).await?;
//!     Ok(answer.value)
//! }
//! ```
//!
//! # The JSON form
//!
//! Names are `snake_case` in what is printed; written, `lowerCamel` and `kebab-case` do as well.
//!
//! | type | JSON |
//! |---|---|
//! | `Void` | `null` |
//! | `Bool` | `true`, `false` |
//! | whole numbers | a number, exact for all of `Int64` and `UInt64`; a text of digits is accepted too |
//! | `Float32`, `Float64` | a number, or `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `Text` | text |
//! | `Data` | `{"base64": "…"}`; accepted too: `{"hex": "…"}`, a list of numbers, and text, which stands for its UTF-8 |
//! | `List(T)` | a list |
//! | enum | its value's name; its number if the description does not know it |
//! | struct | an object |
//! | enum with payloads (a struct that is one union) | `{"variant": value}`, or `"variant"` if it carries nothing; the number of a variant that the description does not know |
//! | a union beside other fields | its branch is a member of the object like any other |
//! | optional | the value, or `null`; an object may leave it out |
//! | reference, as an argument | `"@name"` or a reference file, as [`RefSource`] understands it |
//! | reference, in a result | `{"ref": "package::Trait"}` |
//!
//! A result list of the one field `value`, which is what every method of a Rust trait has, is shown
//! as the value itself, and `()` as `null`. A struct that is absent is `null`; absent text, bytes
//! and lists that are not optional are empty, as every receiver reads them.

mod body;
mod call;
mod chain;
mod error;
mod lower;
mod name;
mod read;
pub mod render;
mod scalar;
#[cfg(test)]
mod tests;
mod types;
mod wording;
mod words;
mod write;

use crate::schema::Interface;

pub use body::Arguments;
pub use call::{
    Answered, CallError, Given, Plan, PlanError, PlanProblem, Step, call, interface_of,
};
pub use chain::{ResultRef, result_path};
pub use error::{
    ArgumentError, ArgumentProblem, DescriptionError, LookupError, ResultError, ResultProblem,
    ValuePath,
};
pub use lower::arguments;
pub(crate) use name::means;
pub use name::{closest, shown};
pub use read::{Answer, AnswerRef, results};
pub use types::{MethodOf, Types};
pub use words::words;

/// How much one call may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of objects and lists inside each other. Default 64, what receivers read.
    pub depth: usize,
    /// Size of the arguments in bytes. Default 8 MiB.
    pub bytes: usize,
    /// Number of values in a result; zero-sized ones count. Default 1 Mi.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            bytes: 8 << 20,
            values: 1 << 20,
        }
    }
}

/// Where references come from that are named in arguments.
pub trait RefSource<R> {
    /// The reference called `name`, for a parameter of type `interface` (none: of any).
    ///
    /// # Errors
    ///
    /// Why there is none, and what to do, in words; without the reference's secret.
    fn reference(&mut self, name: &str, interface: Option<&Interface>) -> Result<R, String>;
}

impl<R, F> RefSource<R> for F
where
    F: FnMut(&str, Option<&Interface>) -> Result<R, String>,
{
    fn reference(&mut self, name: &str, interface: Option<&Interface>) -> Result<R, String> {
        self(name, interface)
    }
}
