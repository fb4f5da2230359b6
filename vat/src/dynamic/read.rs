//! From an answer to JSON.

use capnp::any_pointer;
use serde_json::{Map, Value as Json, json};

use super::Limits;
use super::chain::only_value;
use super::error::{DescriptionError, ResultError, ResultProblem, ValuePath};
use super::name::shown;
use super::scalar::{from_bits, from_bytes};
use super::types::{MethodOf, Types, bits_log2, default_bits};
use super::wording::is_union;
use crate::core::Ref;
use crate::data::{self, Element, Reader, Source};
use crate::schema::{Field, Struct, Type};

type Result<T> = std::result::Result<T, ResultError>;

/// A result as JSON, with the references in it.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The [JSON form](super).
    pub value: Json,
    /// What stands as `{"ref": …}` in it, in the same order.
    pub references: Vec<AnswerRef>,
}

/// A reference in a result.
#[derive(Debug, Clone)]
pub struct AnswerRef {
    /// Where it is.
    pub path: ValuePath,
    /// Its interface, unless it may be of any.
    pub interface: Option<u64>,
    /// The reference itself.
    pub reference: Ref,
}

/// Turns the results struct of `method` into JSON; see the [module](super) for the form.
/// `references` are those that came with the message.
///
/// # Errors
///
/// When the content is not well-formed, does not fit its description, or exceeds a limit.
pub fn results(
    types: &Types,
    method: MethodOf<'_>,
    content: any_pointer::Reader<'_>,
    references: &[Ref],
    limits: Limits,
) -> Result<Answer> {
    let source = Source::new(references);
    let mut read = Read {
        types,
        limits,
        path: ValuePath::default(),
        depth: 0,
        left: limits.values,
        references: Vec::new(),
    };
    let reader = Reader::root(content, &source).map_err(|error| read.malformed(&error))?;
    let value = match only_value(method.results) {
        Some(value) => read.field(value, &reader)?,
        None if method.results.fields.is_empty() => Json::Null,
        None => read.composite(method.results, &reader)?,
    };
    let references = read.references;
    Ok(Answer { value, references })
}

struct Read<'a> {
    types: &'a Types,
    limits: Limits,
    path: ValuePath,
    depth: usize,
    /// How many more values may be read.
    left: usize,
    references: Vec<AnswerRef>,
}

impl<'a> Read<'a> {
    /// A struct or a group of one.
    fn composite(&mut self, structure: &Struct, reader: &Reader<'_>) -> Result<Json> {
        if is_union(structure) {
            return self.union(structure, reader);
        }
        let mut object = Map::new();
        for field in structure
            .fields
            .iter()
            .filter(|field| field.variant.is_none())
        {
            object.insert(shown(&field.name), self.named(field, reader)?);
        }
        if let Some((tag, branch)) = branch(structure, reader) {
            match branch {
                Some(field) => object.insert(shown(&field.name), self.named(field, reader)?),
                None => object.insert("unknown_variant".to_owned(), json!(tag)),
            };
        }
        Ok(Json::Object(object))
    }

    fn union(&mut self, structure: &Struct, reader: &Reader<'_>) -> Result<Json> {
        match branch(structure, reader) {
            Some((_, Some(field))) if field.ty == Type::Void => Ok(json!(shown(&field.name))),
            Some((_, Some(field))) => {
                let value = self.named(field, reader)?;
                Ok(Json::Object(Map::from_iter([(shown(&field.name), value)])))
            }
            Some((tag, None)) => Ok(json!(tag)),
            None => Ok(Json::Null),
        }
    }

    fn named(&mut self, field: &Field, reader: &Reader<'_>) -> Result<Json> {
        self.path.push_field(shown(&field.name));
        let value = self.field(field, reader)?;
        self.path.pop();
        Ok(value)
    }

    fn field(&mut self, field: &Field, reader: &Reader<'_>) -> Result<Json> {
        self.count()?;
        match &field.ty {
            Type::Void => Ok(Json::Null),
            Type::Group(id) => {
                let group = self.structure(*id)?;
                self.nested(|read| read.composite(group, reader))
            }
            ty => match bits_log2(ty) {
                Some(log2) => {
                    let default = field
                        .default
                        .as_ref()
                        .and_then(|value| default_bits(ty, value));
                    self.scalar(ty, reader.bits(log2, field.offset) ^ default.unwrap_or(0))
                }
                None if reader.is_null(field.offset) => Ok(absent(field)),
                None => self.present(field, reader),
            },
        }
    }

    fn present(&mut self, field: &Field, reader: &Reader<'_>) -> Result<Json> {
        match self.types.optional_scalar(field) {
            Some(carried) => {
                let carrier = self.ok(reader.structure(field.offset))?;
                self.field(carried, &carrier)
            }
            None => self.target(&field.ty, reader, field.offset),
        }
    }

    fn scalar(&self, ty: &Type, bits: u64) -> Result<Json> {
        let Type::Enum(id) = ty else {
            return Ok(from_bits(ty, bits));
        };
        let enumeration = self
            .types
            .enumeration(*id)
            .map_err(|error| self.broken(error))?;
        let known = usize::try_from(bits)
            .ok()
            .and_then(|at| enumeration.enumerants.get(at));
        Ok(known.map_or_else(|| json!(bits), |known| json!(shown(&known.name))))
    }

    /// What a pointer that is not null points to.
    fn target(&mut self, ty: &Type, reader: &Reader<'_>, at: u32) -> Result<Json> {
        match ty {
            Type::Text => self.ok(reader.text(at)).map(Json::from),
            Type::Data => self.ok(reader.data(at)).map(from_bytes),
            Type::Struct(id) => {
                let structure = self.structure(*id)?;
                let inner = self.ok(reader.structure(at))?;
                self.nested(|read| read.composite(structure, &inner))
            }
            Type::List(element) => self.nested(|read| read.list(element, reader, at)),
            Type::Interface(id) => {
                let interface = self
                    .types
                    .interface(*id)
                    .map_err(|error| self.broken(error))?;
                self.reference(Some(interface.id), &interface.name, reader, at)
            }
            _ => self.reference(None, "Capability", reader, at),
        }
    }

    fn reference(
        &mut self,
        interface: Option<u64>,
        name: &str,
        reader: &Reader<'_>,
        at: u32,
    ) -> Result<Json> {
        let reference = self.ok(reader.reference(at))?;
        let path = self.path.clone();
        self.references.push(AnswerRef {
            path,
            interface,
            reference,
        });
        Ok(json!({ "ref": name }))
    }

    fn list(&mut self, element: &Type, reader: &Reader<'_>, at: u32) -> Result<Json> {
        let list = self.ok(reader.list(at, self.element(element)?, size_of::<Json>()))?;
        let mut items = Vec::new();
        for index in 0..list.len() {
            self.count()?;
            self.path.push_element(index);
            items.push(self.item(element, &list, index)?);
            self.path.pop();
        }
        Ok(Json::Array(items))
    }

    fn item(&mut self, element: &Type, list: &Reader<'_>, index: u32) -> Result<Json> {
        match bits_log2(element) {
            Some(log2) => self.scalar(element, list.bits(log2, index)),
            None if *element == Type::Void || list.is_null(index) => Ok(Json::Null),
            None => self.target(element, list, index),
        }
    }

    fn element(&self, element: &Type) -> Result<Element> {
        Ok(match element {
            Type::Void => Element::Void,
            Type::Struct(id) => {
                let structure = self.structure(*id)?;
                let (data, pointers) = (structure.data_words, structure.pointers);
                Element::Struct(data::Size { data, pointers })
            }
            _ => bits_log2(element).map_or(Element::Pointer, Element::Bits),
        })
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<Json>) -> Result<Json> {
        if self.depth >= self.limits.depth {
            return Err(self.fail(ResultProblem::TooDeep {
                limit: self.limits.depth,
            }));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn count(&mut self) -> Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                return Err(self.fail(ResultProblem::TooMany {
                    limit: self.limits.values,
                }));
            }
        }
        Ok(())
    }

    fn structure(&self, id: u64) -> Result<&'a Struct> {
        self.types.structure(id).map_err(|error| self.broken(error))
    }

    fn ok<T>(&self, read: std::result::Result<T, data::Error>) -> Result<T> {
        read.map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &data::Error) -> ResultError {
        self.fail(ResultProblem::Malformed {
            reason: error.to_string(),
        })
    }

    fn broken(&self, error: DescriptionError) -> ResultError {
        self.fail(error.into())
    }

    fn fail(&self, problem: ResultProblem) -> ResultError {
        ResultError {
            path: self.path.clone(),
            problem,
        }
    }
}

/// The discriminant of the struct's union, and the branch it stands for, if that is known.
fn branch<'s>(structure: &'s Struct, reader: &Reader<'_>) -> Option<(u64, Option<&'s Field>)> {
    let tag = reader.bits(4, structure.discriminant?);
    let fields = || structure.fields.iter();
    let branch = fields().find(|field| {
        field
            .variant
            .is_some_and(|variant| u64::from(variant) == tag)
    });
    Some((tag, branch))
}

/// How a null pointer reads.
fn absent(field: &Field) -> Json {
    match field.ty {
        Type::Text if !field.optional => json!(""),
        Type::Data if !field.optional => from_bytes(&[]),
        Type::List(_) if !field.optional => json!([]),
        _ => Json::Null,
    }
}
