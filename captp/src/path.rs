//! The way to a reference inside an answer.

use std::ops::Deref;
use std::rc::Rc;

/// The pointer fields to follow from the results struct. Cheap to clone, and mostly without an
/// allocation: a method that answers a reference has it in its only field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// To the results themselves: of a Bootstrap.
    Root,
    Field(u16),
    /// Two fields or more, behind a pointer of one word: places hold paths.
    Long(Rc<Box<[u16]>>),
}

impl From<&[u16]> for Path {
    fn from(fields: &[u16]) -> Self {
        match fields {
            [] => Self::Root,
            [field] => Self::Field(*field),
            fields => Self::Long(Rc::new(Box::from(fields))),
        }
    }
}

impl Deref for Path {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        match self {
            Self::Root => &[],
            Self::Field(field) => std::slice::from_ref(field),
            Self::Long(fields) => fields,
        }
    }
}
