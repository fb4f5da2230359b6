//! Where in a result a reference is, so that it can be called before the result is there.

use super::error::{DescriptionError, LookupError};
use super::name::{closest, means, shown};
use super::types::{MethodOf, Types};
use super::wording::wanted;
use crate::schema::{Field, Struct, Type};

/// A reference inside a coming result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRef {
    /// Pointer indexes from the results struct to the reference.
    pub path: Vec<u16>,
    /// The reference's interface.
    pub interface: u64,
}

/// Finds the reference that `fields` lead to in the result of `method`; no fields mean the result
/// itself.
///
/// # Errors
///
/// When there is no such field, or what is there is not a reference of a known interface.
pub fn result_path(
    types: &Types,
    method: MethodOf<'_>,
    fields: &[&str],
) -> Result<ResultRef, LookupError> {
    let mut place = Place::of_result(types, method);
    for field in fields {
        place = place.step(field)?;
    }
    place.reference()
}

/// What a field path leads to.
struct Place<'a> {
    types: &'a Types,
    /// For messages: `open` or `open.file`.
    name: String,
    path: Vec<u16>,
    at: At<'a>,
}

enum At<'a> {
    /// The parameter-list-like struct of all results.
    Results(&'a Struct),
    Field(&'a Field),
}

impl<'a> Place<'a> {
    fn of_result(types: &'a Types, method: MethodOf<'a>) -> Self {
        let results = Self {
            types,
            name: format!("the result of {}", shown(&method.method.name)),
            path: Vec::new(),
            at: At::Results(method.results),
        };
        match only_value(method.results) {
            Some(value) => Self {
                path: value_path(value),
                at: At::Field(value),
                ..results
            },
            None => results,
        }
    }

    fn step(self, name: &str) -> Result<Self, LookupError> {
        let Some(structure) = self.structure()? else {
            return Err(self.not_a_reference());
        };
        let fields = || structure.fields.iter();
        let exact = fields().find(|field| field.name == name);
        let field = exact.or_else(|| fields().find(|field| means(name, &field.name)));
        let Some(field) = field else {
            return Err(LookupError::NoSuchField {
                owner: self.name,
                field: name.to_owned(),
                closest: closest(name, fields().map(|field| field.name.as_str())),
                known: fields().map(|field| shown(&field.name)).collect(),
            });
        };
        let place = format!("{}.{}", self.name, shown(&field.name));
        if field.variant.is_some() {
            return Err(LookupError::Variant { place });
        }
        let mut path = self.path;
        path.extend(value_path(field));
        Ok(Self {
            types: self.types,
            name: place,
            path,
            at: At::Field(field),
        })
    }

    fn structure(&self) -> Result<Option<&'a Struct>, DescriptionError> {
        match self.at {
            At::Results(results) => Ok(Some(results)),
            At::Field(field) => struct_of(self.types, &field.ty),
        }
    }

    fn reference(self) -> Result<ResultRef, LookupError> {
        match self.at {
            At::Field(Field {
                ty: Type::Interface(interface),
                ..
            }) => Ok(ResultRef {
                path: self.path,
                interface: *interface,
            }),
            At::Field(Field {
                ty: Type::Capability,
                ..
            }) => Err(LookupError::AnyReference { place: self.name }),
            _ => Err(self.not_a_reference()),
        }
    }

    fn not_a_reference(self) -> LookupError {
        let found = match self.at {
            At::Results(results) if results.fields.is_empty() => "nothing".to_owned(),
            At::Results(_) => "several values".to_owned(),
            At::Field(field) => wanted(self.types, &field.ty),
        };
        let mut references = Vec::new();
        if let Ok(Some(structure)) = self.structure() {
            collect(self.types, structure, "", 0, &mut references);
        }
        LookupError::NotAReference {
            place: self.name,
            found,
            references,
        }
    }
}

/// The field `value`, if it is the only one: then it is the result itself.
pub(super) fn only_value(results: &Struct) -> Option<&Field> {
    match results.fields.as_slice() {
        [value] if value.name == "value" && value.variant.is_none() => Some(value),
        _ => None,
    }
}

/// The step that a field adds to a path of pointers; none for a group, which is part of its struct.
fn value_path(field: &Field) -> Vec<u16> {
    let index = field
        .ty
        .is_pointer()
        .then(|| u16::try_from(field.offset).ok())
        .flatten();
    index.into_iter().collect()
}

fn struct_of<'a>(types: &'a Types, ty: &Type) -> Result<Option<&'a Struct>, DescriptionError> {
    match ty {
        Type::Struct(id) | Type::Group(id) => types.structure(*id).map(Some),
        _ => Ok(None),
    }
}

/// The reference fields in a struct and, three levels deep, in what it holds; a handful of them.
fn collect(types: &Types, structure: &Struct, prefix: &str, depth: usize, out: &mut Vec<String>) {
    const LEVELS: usize = 3;
    const SHOWN: usize = 8;
    for field in structure
        .fields
        .iter()
        .filter(|field| field.variant.is_none())
    {
        if out.len() >= SHOWN {
            return;
        }
        let place = format!("{prefix}.{}", shown(&field.name));
        if matches!(field.ty, Type::Interface(_)) {
            out.push(place);
        } else if depth + 1 < LEVELS
            && let Ok(Some(inner)) = struct_of(types, &field.ty)
        {
            collect(types, inner, &place, depth + 1, out);
        }
    }
}
