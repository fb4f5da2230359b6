//! From JSON to checked arguments.

use serde_json::{Map, Value as Json};

use super::body::{Arguments, Record, Size, Slot, Target};
use super::error::{ArgumentError, ArgumentProblem, DescriptionError, ValuePath};
use super::name::{means, shown};
use super::scalar::{bytes, to_bits, wrong_type};
use super::types::{MethodOf, Types, bits_log2, default_bits};
use super::wording::{is_union, position, positional, unknown, variants_text, wanted};
use super::{Limits, RefSource};
use crate::schema::{Enum, Field, Interface, Struct, Type};

type Result<T> = std::result::Result<T, ArgumentError>;

/// Checks `arguments`, an object by parameter name, against a method's parameters.
///
/// Names may be written in `snake_case` or `lowerCamel`. A parameter may be left out, or be `null`,
/// if it is optional or has a default. See the [module](super) for the JSON form of each type.
///
/// # Errors
///
/// Says which argument does not fit, and why.
pub fn arguments<R>(
    types: &Types,
    method: MethodOf<'_>,
    arguments: &Json,
    refs: &mut dyn RefSource<R>,
    limits: Limits,
) -> Result<Arguments<R>> {
    let mut lower = Lower {
        types,
        refs,
        limits,
        path: ValuePath::default(),
        depth: 0,
        words: 1,
    };
    let empty = Map::new();
    let given = match arguments {
        Json::Object(given) => given,
        Json::Null => &empty,
        Json::Array(_) => return Err(lower.fail(positional(types, method.params))),
        other => return Err(lower.fail(wrong_type("an object of arguments by name", other))),
    };
    let owner = Owner {
        name: shown(&method.method.name),
        what: "argument",
    };
    let root = lower.record(method.params, |lower, slots| {
        lower.members(&owner, method.params, given, slots)
    })?;
    Ok(Arguments {
        root,
        words: lower.words,
    })
}

/// Whose members are being matched, for messages.
struct Owner {
    name: String,
    what: &'static str,
}

struct Lower<'a, R> {
    types: &'a Types,
    refs: &'a mut dyn RefSource<R>,
    limits: Limits,
    path: ValuePath,
    depth: usize,
    words: usize,
}

impl<'a, R> Lower<'a, R> {
    fn record(
        &mut self,
        structure: &Struct,
        fill: impl FnOnce(&mut Self, &mut Vec<Slot<R>>) -> Result<()>,
    ) -> Result<Record<R>> {
        let size = size_of(structure);
        self.take_words(size.words())?;
        let mut slots = Vec::new();
        self.nested(|lower| fill(lower, &mut slots))?;
        Ok(Record { size, slots })
    }

    /// A struct's or group's fields from an object's members.
    fn members(
        &mut self,
        owner: &Owner,
        structure: &Struct,
        object: &Map<String, Json>,
        slots: &mut Vec<Slot<R>>,
    ) -> Result<()> {
        let mut given = self.matched(owner, structure, object)?;
        for (field, given) in structure.fields.iter().zip(&mut given) {
            if field.variant.is_none() {
                self.member(field, given.take(), slots)?;
            }
        }
        if structure.discriminant.is_none() {
            return Ok(());
        }
        let mut chosen = structure
            .fields
            .iter()
            .zip(given)
            .filter_map(|(field, given)| Some((field, given?)));
        match (chosen.next(), chosen.next()) {
            (Some((field, (_, value))), None) => self.variant(structure, field, value, slots),
            (Some((_, (first, _))), Some((_, (second, _)))) => {
                Err(self.fail(ArgumentProblem::Exclusive {
                    first: first.to_owned(),
                    second: second.to_owned(),
                }))
            }
            (None, _) => {
                let ty = variants_text(structure);
                Err(self.fail(ArgumentProblem::Missing { ty }))
            }
        }
    }

    /// Each field's member, by the field's position; refuses what no field is called.
    fn matched<'j>(
        &mut self,
        owner: &Owner,
        structure: &Struct,
        object: &'j Map<String, Json>,
    ) -> Result<Vec<Option<(&'j str, &'j Json)>>> {
        let mut given: Vec<Option<(&str, &Json)>> = vec![None; structure.fields.len()];
        for (key, value) in object {
            let Some(at) = position(structure, key) else {
                self.path.push_field(key);
                return Err(self.fail(unknown(
                    &owner.name,
                    owner.what,
                    key,
                    structure.fields.iter().map(|field| field.name.as_str()),
                )));
            };
            let Some(slot) = given.get_mut(at) else {
                continue;
            };
            if let Some((first, _)) = slot {
                let first = (*first).to_owned();
                self.path.push_field(key);
                return Err(self.fail(ArgumentProblem::Twice {
                    first,
                    second: key.clone(),
                }));
            }
            *slot = Some((key, value));
        }
        Ok(given)
    }

    fn member(
        &mut self,
        field: &Field,
        given: Option<(&str, &Json)>,
        slots: &mut Vec<Slot<R>>,
    ) -> Result<()> {
        let may_be_absent = field.optional || field.default.is_some() || field.ty == Type::Void;
        let name = given.map_or_else(|| shown(&field.name), |(key, _)| key.to_owned());
        self.path.push_field(name);
        match given {
            None | Some((_, Json::Null)) if may_be_absent => {}
            None => {
                let ty = self.wanted(&field.ty);
                return Err(self.fail(ArgumentProblem::Missing { ty }));
            }
            Some((_, value)) => self.place(field, value, slots)?,
        }
        self.path.pop();
        Ok(())
    }

    /// The chosen branch of a union: its discriminant and its content.
    fn variant(
        &mut self,
        structure: &Struct,
        field: &Field,
        value: &Json,
        slots: &mut Vec<Slot<R>>,
    ) -> Result<()> {
        self.tag(structure, field, slots);
        self.path.push_field(shown(&field.name));
        if !(field.optional && value.is_null()) {
            self.place(field, value, slots)?;
        }
        self.path.pop();
        Ok(())
    }

    fn tag(&self, structure: &Struct, field: &Field, slots: &mut Vec<Slot<R>>) {
        if let (Some(offset), Some(variant)) = (structure.discriminant, field.variant) {
            slots.push(Slot::Bits {
                log2: 4,
                offset,
                bits: u64::from(variant),
            });
        }
    }

    /// A field's value, to its slot.
    fn place(&mut self, field: &Field, value: &Json, slots: &mut Vec<Slot<R>>) -> Result<()> {
        match &field.ty {
            Type::Void if value.is_null() => {}
            Type::Void => return Err(self.wrong(&field.ty, value)),
            Type::Group(id) => {
                let group = self.structure(*id)?;
                self.nested(|lower| lower.composite(group, &field.ty, value, slots))?;
            }
            ty => match bits_log2(ty) {
                Some(log2) => {
                    let default = field
                        .default
                        .as_ref()
                        .and_then(|value| default_bits(ty, value));
                    let bits = self.scalar(ty, value)? ^ default.unwrap_or(0);
                    slots.push(Slot::Bits {
                        log2,
                        offset: field.offset,
                        bits,
                    });
                }
                None => {
                    let to = self.field_target(field, value)?;
                    slots.push(Slot::Pointer {
                        index: field.offset,
                        to,
                    });
                }
            },
        }
        Ok(())
    }

    /// An optional scalar's value may be given without the struct that carries it.
    fn field_target(&mut self, field: &Field, value: &Json) -> Result<Target<R>> {
        if let Some(carried) = self.types.optional_scalar(field)
            && !value.is_object()
        {
            let Type::Struct(id) = field.ty else {
                return self.target(&field.ty, value);
            };
            let structure = self.structure(id)?;
            let record =
                self.record(structure, |lower, slots| lower.place(carried, value, slots))?;
            return Ok(Target::Record(record));
        }
        self.target(&field.ty, value)
    }

    fn scalar(&mut self, ty: &Type, value: &Json) -> Result<u64> {
        match ty {
            Type::Enum(id) => {
                let enumeration = self
                    .types
                    .enumeration(*id)
                    .map_err(|error| self.broken(error))?;
                self.enumerant(enumeration, ty, value)
            }
            _ => to_bits(ty, value, &self.wanted(ty)).map_err(|problem| self.fail(problem)),
        }
    }

    /// An enum's value by name, or, for one that the description does not know, by number.
    fn enumerant(&self, enumeration: &Enum, ty: &Type, value: &Json) -> Result<u64> {
        let name = match value {
            Json::String(name) => name,
            Json::Number(number) => {
                let number = number
                    .as_u64()
                    .filter(|number| *number <= u64::from(u16::MAX));
                return number.ok_or_else(|| self.wrong(ty, value));
            }
            _ => return Err(self.wrong(ty, value)),
        };
        let known = || {
            enumeration
                .enumerants
                .iter()
                .map(|enumerant| enumerant.name.as_str())
        };
        let at = known().position(|known| known == name);
        match at.or_else(|| known().position(|known| means(name, known))) {
            Some(at) => Ok(u64::try_from(at).unwrap_or_default()),
            None => Err(self.fail(unknown(&self.types.type_name(ty), "value", name, known()))),
        }
    }

    /// What a pointer of this type points to.
    fn target(&mut self, ty: &Type, value: &Json) -> Result<Target<R>> {
        match ty {
            Type::Text => match value {
                Json::String(text) => {
                    self.take_bytes(text.len() + 1)?;
                    Ok(Target::Text(text.clone()))
                }
                _ => Err(self.wrong(ty, value)),
            },
            Type::Data => {
                let bytes = bytes(value, &self.wanted(ty)).map_err(|problem| self.fail(problem))?;
                self.take_bytes(bytes.len())?;
                Ok(Target::Data(bytes))
            }
            Type::List(element) => match value {
                Json::Array(items) => self.nested(|lower| lower.list(element, items)),
                _ => Err(self.wrong(ty, value)),
            },
            Type::Struct(id) => {
                let structure = self.structure(*id)?;
                self.record(structure, |lower, slots| {
                    lower.composite(structure, ty, value, slots)
                })
                .map(Target::Record)
            }
            Type::Interface(_) | Type::Capability => self.reference(ty, value),
            _ => Err(self.wrong(ty, value)),
        }
    }

    /// A struct or group: an object, or a unit variant's name.
    fn composite(
        &mut self,
        structure: &Struct,
        ty: &Type,
        value: &Json,
        slots: &mut Vec<Slot<R>>,
    ) -> Result<()> {
        let owner = Owner {
            name: self.types.type_name(ty),
            what: "field",
        };
        match value {
            Json::Object(object) => self.members(&owner, structure, object, slots),
            Json::String(name) if is_union(structure) => {
                self.unit_variant(&owner, structure, name, slots)
            }
            _ => Err(self.wrong(ty, value)),
        }
    }

    fn unit_variant(
        &mut self,
        owner: &Owner,
        structure: &Struct,
        name: &str,
        slots: &mut Vec<Slot<R>>,
    ) -> Result<()> {
        let names = structure.fields.iter().map(|field| field.name.as_str());
        let field = position(structure, name).and_then(|at| structure.fields.get(at));
        let Some(field) = field else {
            return Err(self.fail(unknown(&owner.name, "variant", name, names)));
        };
        if field.ty != Type::Void && !field.optional {
            let variant = shown(&field.name);
            let ty = self.wanted(&field.ty);
            return Err(self.fail(ArgumentProblem::NotUnit { variant, ty }));
        }
        self.tag(structure, field, slots);
        Ok(())
    }

    fn list(&mut self, element: &Type, items: &[Json]) -> Result<Target<R>> {
        let count = u32::try_from(items.len())
            .ok()
            .filter(|count| *count < 1 << 29);
        let Some(count) = count else {
            return Err(self.too_large());
        };
        match element {
            Type::Void => {
                self.elements(items, |lower, item| match item {
                    Json::Null => Ok(()),
                    _ => Err(lower.wrong(element, item)),
                })?;
                Ok(Target::Voids(count))
            }
            Type::Struct(id) => {
                let structure = self.structure(*id)?;
                self.take_words(1)?;
                let slots = self.elements(items, |lower, item| {
                    let record = lower.record(structure, |lower, slots| {
                        lower.composite(structure, element, item, slots)
                    });
                    record.map(|record| record.slots)
                })?;
                Ok(Target::Records {
                    size: size_of(structure),
                    slots,
                })
            }
            _ => match bits_log2(element) {
                Some(log2) => {
                    self.take_bytes((items.len() << log2).div_ceil(8))?;
                    let values = self.elements(items, |lower, item| lower.scalar(element, item))?;
                    Ok(Target::Bits { log2, values })
                }
                None => {
                    self.take_words(items.len())?;
                    self.elements(items, |lower, item| match item {
                        Json::Null => Ok(Target::Null),
                        item => lower.target(element, item),
                    })
                    .map(Target::Pointers)
                }
            },
        }
    }

    fn elements<T>(
        &mut self,
        items: &[Json],
        mut lower: impl FnMut(&mut Self, &Json) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in (0_u32..).zip(items) {
            self.path.push_element(index);
            out.push(lower(self, item)?);
            self.path.pop();
        }
        Ok(out)
    }

    fn reference(&mut self, ty: &Type, value: &Json) -> Result<Target<R>> {
        let Json::String(name) = value else {
            return Err(self.wrong(ty, value));
        };
        let interface: Option<&Interface> = match ty {
            Type::Interface(id) => self.types.interface(*id).ok(),
            _ => None,
        };
        match self.refs.reference(name, interface) {
            Ok(reference) => Ok(Target::Reference(reference)),
            Err(reason) => Err(self.fail(ArgumentProblem::Reference {
                name: name.clone(),
                reason,
            })),
        }
    }

    /// Goes one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= self.limits.depth {
            let limit = self.limits.depth;
            return Err(self.fail(ArgumentProblem::TooDeep { limit }));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<()> {
        self.take_words(bytes.div_ceil(8))
    }

    fn take_words(&mut self, words: usize) -> Result<()> {
        self.words = self.words.saturating_add(words);
        if self.words > self.limits.bytes / 8 {
            Err(self.too_large())
        } else {
            Ok(())
        }
    }

    fn structure(&self, id: u64) -> Result<&'a Struct> {
        self.types.structure(id).map_err(|error| self.broken(error))
    }

    fn wanted(&self, ty: &Type) -> String {
        wanted(self.types, ty)
    }

    fn wrong(&self, ty: &Type, value: &Json) -> ArgumentError {
        self.fail(wrong_type(&self.wanted(ty), value))
    }

    fn too_large(&self) -> ArgumentError {
        self.fail(ArgumentProblem::TooLarge {
            limit: self.limits.bytes,
        })
    }

    fn broken(&self, error: DescriptionError) -> ArgumentError {
        self.fail(error.into())
    }

    fn fail(&self, problem: ArgumentProblem) -> ArgumentError {
        ArgumentError {
            path: self.path.clone(),
            problem,
        }
    }
}

fn size_of(structure: &Struct) -> Size {
    Size {
        data_words: structure.data_words,
        pointers: structure.pointers,
    }
}
