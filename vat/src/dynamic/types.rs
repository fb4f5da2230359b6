//! A description that was checked once, so that encoding and decoding can rely on it.

use std::collections::BTreeMap;

use super::error::{DescriptionError, LookupError};
use super::name::{closest, means, shown};
use crate::schema::{Description, Enum, Field, Interface, Method, Struct, Type, Value, lineage};

/// A [`Description`] whose parts fit together: every id it names is in it, every field lies inside
/// its struct, groups form trees.
///
/// Descriptions come from peers; nothing here trusts one before [`Types::new`] accepted it.
#[derive(Debug, Clone)]
pub struct Types {
    description: Description,
    interfaces: BTreeMap<u64, usize>,
    structs: BTreeMap<u64, usize>,
    enums: BTreeMap<u64, usize>,
}

/// A method with what a call of it needs.
#[derive(Debug, Clone, Copy)]
pub struct MethodOf<'a> {
    /// The interface that declares it (the one asked, or one that it extends).
    pub interface: &'a Interface,
    /// Its number in that interface.
    pub ordinal: u16,
    /// The method.
    pub method: &'a Method,
    /// Its parameters.
    pub params: &'a Struct,
    /// Its results.
    pub results: &'a Struct,
}

impl Types {
    /// Checks a description and makes it searchable.
    ///
    /// # Errors
    ///
    /// When the description names types that it does not hold, places a field outside its struct,
    /// or its groups do not form trees.
    pub fn new(description: Description) -> Result<Self, DescriptionError> {
        let types = Self {
            interfaces: index(description.interfaces.iter().map(|interface| interface.id)),
            structs: index(description.structs.iter().map(|structure| structure.id)),
            enums: index(description.enums.iter().map(|enumeration| enumeration.id)),
            description,
        };
        types.check()?;
        Ok(types)
    }

    /// The description itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The interface that was described, unless a type alone was.
    pub fn root(&self) -> Option<&Interface> {
        self.interface(self.description.root).ok()
    }

    /// The interface with this id.
    ///
    /// # Errors
    ///
    /// When the description does not hold it.
    pub fn interface(&self, id: u64) -> Result<&Interface, DescriptionError> {
        self.interfaces
            .get(&id)
            .and_then(|at| self.description.interfaces.get(*at))
            .ok_or(DescriptionError::NoSuchType {
                kind: "interface",
                id,
            })
    }

    /// The struct, group, or parameter or result list with this id.
    ///
    /// # Errors
    ///
    /// When the description does not hold it.
    pub fn structure(&self, id: u64) -> Result<&Struct, DescriptionError> {
        self.structs
            .get(&id)
            .and_then(|at| self.description.structs.get(*at))
            .ok_or(DescriptionError::NoSuchType { kind: "struct", id })
    }

    /// The enum with this id.
    ///
    /// # Errors
    ///
    /// When the description does not hold it.
    pub fn enumeration(&self, id: u64) -> Result<&Enum, DescriptionError> {
        self.enums
            .get(&id)
            .and_then(|at| self.description.enums.get(*at))
            .ok_or(DescriptionError::NoSuchType { kind: "enum", id })
    }

    /// The method with this ordinal of this interface's own.
    ///
    /// # Errors
    ///
    /// When the description does not hold it.
    pub fn method_at(
        &self,
        interface: u64,
        ordinal: u16,
    ) -> Result<MethodOf<'_>, DescriptionError> {
        let interface = self.interface(interface)?;
        let method = interface.methods.get(usize::from(ordinal));
        let method = method.ok_or_else(|| DescriptionError::NoSuchMethod {
            interface: interface.name.clone(),
            ordinal,
        })?;
        Ok(MethodOf {
            interface,
            ordinal,
            method,
            params: self.structure(method.params)?,
            results: self.structure(method.results)?,
        })
    }

    /// All methods that an object with this interface has: its own, then those of the interfaces
    /// it extends, nearest first, each interface once.
    pub fn methods(&self, interface: u64) -> Vec<MethodOf<'_>> {
        let lineage = self.lineage(interface).into_iter();
        lineage
            .flat_map(|interface| self.own_methods(interface))
            .collect()
    }

    /// The methods that an interface declares itself.
    pub(super) fn own_methods<'a>(
        &'a self,
        interface: &'a Interface,
    ) -> impl Iterator<Item = MethodOf<'a>> {
        let ordinals = (0..=u16::MAX).zip(&interface.methods);
        ordinals.flat_map(|(ordinal, _)| self.method_at(interface.id, ordinal))
    }

    /// The method that a person calls `name`, in an interface or one that it extends.
    ///
    /// # Errors
    ///
    /// When there is none; the error names the nearest.
    pub fn method(&self, interface: u64, name: &str) -> Result<MethodOf<'_>, LookupError> {
        let asked = self.interface(interface)?;
        let methods = self.methods(interface);
        let exact = methods.iter().find(|found| found.method.name == name);
        let found = exact.or_else(|| methods.iter().find(|found| means(name, &found.method.name)));
        found.copied().ok_or_else(|| LookupError::NoSuchMethod {
            interface: asked.name.clone(),
            method: name.to_owned(),
            closest: closest(name, methods.iter().map(|found| found.method.name.as_str())),
            known: methods
                .iter()
                .map(|found| shown(&found.method.name))
                .collect(),
        })
    }

    /// The interface itself and all it extends, nearest first, each once.
    pub(crate) fn lineage(&self, interface: u64) -> Vec<&Interface> {
        lineage(interface, |id| self.interface(id).ok())
    }

    /// The carried field, if `field` is an optional scalar: a pointer to a struct that has the one
    /// field `value`.
    pub(super) fn optional_scalar(&self, field: &Field) -> Option<&Field> {
        let Type::Struct(id) = field.ty else {
            return None;
        };
        match self.structure(id).ok()?.fields.as_slice() {
            [value] if field.optional && value.name == "value" => {
                (bits_log2(&value.ty).is_some() && value.variant.is_none()).then_some(value)
            }
            _ => None,
        }
    }

    /// A type as it is written in signatures and messages: `List(Entry)`.
    pub fn type_name(&self, ty: &Type) -> String {
        match ty {
            Type::List(element) => format!("List({})", self.type_name(element)),
            Type::Enum(id) => short(
                self.enumeration(*id).ok().map(|found| found.name.as_str()),
                *id,
            ),
            Type::Struct(id) | Type::Group(id) => short(
                self.structure(*id).ok().map(|found| found.name.as_str()),
                *id,
            ),
            Type::Interface(id) => short(
                self.interface(*id).ok().map(|found| found.name.as_str()),
                *id,
            ),
            Type::Capability => "Capability".to_owned(),
            scalar => format!("{scalar:?}"),
        }
    }

    fn check(&self) -> Result<(), DescriptionError> {
        for interface in &self.description.interfaces {
            check_name(&interface.name)?;
            for id in &interface.extends {
                self.interface(*id)?;
            }
            for method in &interface.methods {
                check_name(&method.name)?;
                self.structure(method.params)?;
                self.structure(method.results)?;
            }
        }
        for structure in &self.description.structs {
            check_name(&structure.name)?;
            self.check_struct(structure)?;
        }
        for enumeration in &self.description.enums {
            check_name(&enumeration.name)?;
            for enumerant in &enumeration.enumerants {
                check_name(&enumerant.name)?;
            }
        }
        self.check_groups()
    }

    fn check_struct(&self, structure: &Struct) -> Result<(), DescriptionError> {
        let outside = |field: &str| DescriptionError::OutsideStruct {
            owner: structure.name.clone(),
            field: field.to_owned(),
        };
        match structure.discriminant {
            Some(at) if !has_bits(structure, 4, at) => return Err(outside("(discriminant)")),
            None if structure.fields.iter().any(|field| field.variant.is_some()) => {
                return Err(outside("(discriminant)"));
            }
            _ => {}
        }
        for field in &structure.fields {
            if !self.lies_inside(structure, field) {
                return Err(outside(&field.name));
            }
            check_name(&field.name)?;
            self.check_type(&field.ty)?;
            self.check_default(structure, field)?;
        }
        Ok(())
    }

    fn lies_inside(&self, structure: &Struct, field: &Field) -> bool {
        match bits_log2(&field.ty) {
            Some(log2) => has_bits(structure, log2, field.offset),
            None if field.ty.is_pointer() => field.offset < u32::from(structure.pointers),
            None => true,
        }
    }

    fn check_type(&self, ty: &Type) -> Result<(), DescriptionError> {
        match ty {
            Type::Enum(id) => self.enumeration(*id).map(|_| ()),
            Type::Struct(id) | Type::Group(id) => self.structure(*id).map(|_| ()),
            Type::Interface(id) => self.interface(*id).map(|_| ()),
            Type::List(element) => match &**element {
                Type::Group(_) => Err(DescriptionError::BadList {
                    element: self.type_name(element),
                }),
                element => self.check_type(element),
            },
            _ => Ok(()),
        }
    }

    fn check_default(&self, owner: &Struct, field: &Field) -> Result<(), DescriptionError> {
        match &field.default {
            Some(value) if default_bits(&field.ty, value).is_none() => {
                Err(DescriptionError::BadDefault {
                    owner: owner.name.clone(),
                    field: field.name.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Every group is part of one struct, has its size, and is not nested in itself or too deep.
    fn check_groups(&self) -> Result<(), DescriptionError> {
        let mut parents = BTreeMap::new();
        for part in &self.description.structs {
            for field in &part.fields {
                let Type::Group(id) = &field.ty else { continue };
                let group = self.structure(*id)?;
                let same_size =
                    (group.data_words, group.pointers) == (part.data_words, part.pointers);
                if !same_size || parents.insert(*id, part.id).is_some() {
                    return Err(bad_group(part, field));
                }
            }
        }
        for (group, parent) in &parents {
            let mut outer = Some(parent);
            for _ in 0..GROUP_LEVELS {
                outer = outer.and_then(|id| parents.get(id));
            }
            if outer.is_some() {
                let owner = self.structure(*parent)?;
                let inside = |field: &&Field| field.ty == Type::Group(*group);
                let field = owner.fields.iter().find(inside);
                return Err(field.map_or(
                    DescriptionError::NoSuchType {
                        kind: "group",
                        id: *group,
                    },
                    |field| bad_group(owner, field),
                ));
            }
        }
        Ok(())
    }
}

/// How deep groups may be nested in groups.
const GROUP_LEVELS: usize = 16;

fn bad_group(owner: &Struct, field: &Field) -> DescriptionError {
    DescriptionError::BadGroup {
        owner: owner.name.clone(),
        field: field.name.clone(),
    }
}

/// Names are shown to people in messages: nothing but visible ASCII.
fn check_name(name: &str) -> Result<(), DescriptionError> {
    if name.chars().all(|c| c.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(DescriptionError::BadName {
            name: name.escape_debug().to_string(),
        })
    }
}

fn index(ids: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    ids.enumerate().map(|(at, id)| (id, at)).collect()
}

/// The last part of `package::Type`, or the id of what the description does not hold.
fn short(name: Option<&str>, id: u64) -> String {
    match name {
        Some(name) => short_name(name).to_owned(),
        None => format!("{id:#018x}"),
    }
}

/// The last part of `package::Type`.
pub(crate) fn short_name(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

/// Log2 of the number of bits a type takes in the data section; none for `Void`, groups and
/// pointers.
pub(super) fn bits_log2(ty: &Type) -> Option<u8> {
    match ty {
        Type::Bool => Some(0),
        Type::Int8 | Type::UInt8 => Some(3),
        Type::Int16 | Type::UInt16 | Type::Enum(_) => Some(4),
        Type::Int32 | Type::UInt32 | Type::Float32 => Some(5),
        Type::Int64 | Type::UInt64 | Type::Float64 => Some(6),
        _ => None,
    }
}

fn has_bits(structure: &Struct, log2: u8, offset: u32) -> bool {
    let end = (u64::from(offset) + 1) << log2;
    end <= u64::from(structure.data_words) * 64
}

/// The bits that a default value has on the wire; none if the value is of another type.
pub(super) fn default_bits(ty: &Type, value: &Value) -> Option<u64> {
    match (ty, value) {
        (Type::Bool, Value::Bool(value)) => Some(u64::from(*value)),
        (Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64, Value::Int(value)) => {
            let width = 1_u32 << bits_log2(ty)?;
            let fits = width == 64 || (-(1_i64 << (width - 1))..1 << (width - 1)).contains(value);
            fits.then_some(value.cast_unsigned() & mask(width))
        }
        (Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64, Value::UInt(value)) => {
            let width = 1_u32 << bits_log2(ty)?;
            (*value & mask(width) == *value).then_some(*value)
        }
        (Type::Float32, Value::Float32(value)) => Some(u64::from(value.to_bits())),
        (Type::Float64, Value::Float64(value)) => Some(value.to_bits()),
        (Type::Enum(_), Value::Enum(value)) => Some(u64::from(*value)),
        _ => None,
    }
}

/// The low `width` bits, `width` from 1 to 64.
pub(super) fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}
