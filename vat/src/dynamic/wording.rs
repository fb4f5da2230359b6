//! What is expected, in words for messages, and the matching of names to members.

use super::error::ArgumentProblem;
use super::name::{closest, means, shown};
use super::types::Types;
use crate::schema::{Struct, Type};

/// The error for arguments without names.
pub(super) fn positional(types: &Types, params: &Struct) -> ArgumentProblem {
    let members: Vec<String> = params
        .fields
        .iter()
        .map(|field| format!("{:?}: {}", shown(&field.name), types.type_name(&field.ty)))
        .collect();
    ArgumentProblem::Positional {
        example: format!("{{{}}}", members.join(", ")),
    }
}

/// The position of the field that a person calls `key`.
pub(super) fn position(structure: &Struct, key: &str) -> Option<usize> {
    let exact = structure.fields.iter().position(|field| field.name == key);
    exact.or_else(|| {
        structure
            .fields
            .iter()
            .position(|field| means(key, &field.name))
    })
}

/// Whether this is nothing but a union: an enum with payloads in Rust.
pub(super) fn is_union(structure: &Struct) -> bool {
    structure.discriminant.is_some() && structure.fields.iter().all(|field| field.variant.is_some())
}

pub(super) fn unknown<'a>(
    owner: &str,
    what: &'static str,
    key: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> ArgumentProblem {
    ArgumentProblem::Unknown {
        owner: owner.to_owned(),
        what,
        closest: closest(key, names.clone()),
        known: names.map(shown).collect(),
    }
}

pub(super) fn variants_text(structure: &Struct) -> String {
    let variants = structure
        .fields
        .iter()
        .filter(|field| field.variant.is_some());
    let names: Vec<String> = variants.map(|field| shown(&field.name)).collect();
    format!("one of {}", names.join(", "))
}

/// What a type takes, in words for a message.
pub(super) fn wanted(types: &Types, ty: &Type) -> String {
    let name = types.type_name(ty);
    match ty {
        Type::Void => "null".to_owned(),
        Type::Bool => "true or false".to_owned(),
        Type::Float32 | Type::Float64 => format!("a number ({name})"),
        Type::Text => "text".to_owned(),
        Type::Data => {
            "bytes (text, {\"base64\": …}, {\"hex\": …} or a list of numbers from 0 to 255)"
                .to_owned()
        }
        Type::List(_) => format!("a list, {name}"),
        Type::Enum(id) => types.enumeration(*id).map_or(name, |enumeration| {
            let names: Vec<String> = enumeration
                .enumerants
                .iter()
                .map(|enumerant| shown(&enumerant.name))
                .collect();
            format!("one of {}", names.join(", "))
        }),
        Type::Struct(id) | Type::Group(id) => match types.structure(*id) {
            Ok(structure) if is_union(structure) => {
                format!("{} ({name})", variants_text(structure))
            }
            _ => format!("an object ({name})"),
        },
        Type::Interface(_) => format!("a reference to a {name} (@name or a reference file)"),
        Type::Capability => "a reference (@name or a reference file)".to_owned(),
        _ => format!("a whole number ({name})"),
    }
}
