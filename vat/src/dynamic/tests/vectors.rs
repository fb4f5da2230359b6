//! Agreement with bytes that the official compiler and converter made.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::fixture::{Part, decode, encode, method_of, structs};
use crate::dynamic::Types;
use crate::schema::{Description, Enum, Enumerant, Type, Value};

const VECTORS: &str = include_str!("../../../tests/vectors/message-vectors.json");

/// Types whose unions lie inside groups or branches, and one with defaults of pointers: no Rust
/// type is laid out like them.
const OUTSIDE: [&str; 6] = ["Named", "Defs", "Opt", "UnionV2", "GroupV2", "V2"];

struct Loader {
    ids: BTreeMap<String, u64>,
    enums: Vec<String>,
}

impl Loader {
    fn load(section: &Json) -> (Types, BTreeMap<String, u64>) {
        let members = section["members"].as_object().unwrap();
        let enums = ["Color".to_owned()].to_vec();
        let ids = members.keys().chain(&enums).cloned().zip(1..).collect();
        let loader = Self { ids, enums };
        let mut description = Description::default();
        for (name, fields) in members {
            if !OUTSIDE.contains(&name.as_str()) {
                let (parts, groups) = loader.parts(name, fields);
                let group_name = |id: u64| groups.get(&id).unwrap().clone();
                description
                    .structs
                    .extend(structs(loader.ids[name], name, &parts, group_name));
            }
        }
        let enumerant = |name: &str| Enumerant {
            name: name.to_owned(),
            ..Enumerant::default()
        };
        description.enums.push(Enum {
            id: loader.ids["Color"],
            enumerants: ["red", "green", "blue"].map(enumerant).to_vec(),
            ..Enum::default()
        });
        (Types::new(description).unwrap(), loader.ids)
    }

    /// The parts by ordinal, and the names of the groups among them.
    fn parts(&self, owner: &str, fields: &Json) -> (Vec<Part>, BTreeMap<u64, String>) {
        let mut parts = BTreeMap::new();
        let mut groups = BTreeMap::new();
        for field in fields.as_array().unwrap() {
            if field["f"].is_string() {
                self.add(field, None, &mut parts);
                continue;
            }
            assert_eq!(field["u"], "", "{owner}: only unnamed unions");
            for (branch, member) in (0..).zip(field["m"].as_array().unwrap()) {
                if let Some(group) = member["g"].as_str() {
                    let id = (1 << 32) + self.ids[owner] * 100 + u64::from(branch);
                    groups.insert(id, group.to_owned());
                    for inner in member["m"].as_array().unwrap() {
                        self.add(inner, Some((branch, Some(id))), &mut parts);
                    }
                } else {
                    self.add(member, Some((branch, None)), &mut parts);
                }
            }
        }
        (parts.into_values().collect(), groups)
    }

    fn add(
        &self,
        field: &Json,
        branch: Option<(u16, Option<u64>)>,
        parts: &mut BTreeMap<u64, Part>,
    ) {
        let ty = self.ty(field["t"].as_str().unwrap());
        // In these files every field may be absent.
        let default = match ty {
            Type::Bool => Some(Value::Bool(false)),
            Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => Some(Value::Int(0)),
            Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => Some(Value::UInt(0)),
            Type::Float32 => Some(Value::Float32(0.0)),
            Type::Float64 => Some(Value::Float64(0.0)),
            Type::Enum(_) => Some(Value::Enum(0)),
            _ => None,
        };
        let part = Part {
            optional: ty.is_pointer(),
            default,
            branch,
            ..Part::new("", ty)
        };
        let name = field["f"].as_str().unwrap().to_owned();
        parts.insert(field["o"].as_u64().unwrap(), Part { name, ..part });
    }

    fn ty(&self, text: &str) -> Type {
        if let Some(element) = text.strip_prefix("List(").and_then(|t| t.strip_suffix(')')) {
            return Type::List(Box::new(self.ty(element)));
        }
        match text {
            "Void" => Type::Void,
            "Bool" => Type::Bool,
            "Int8" => Type::Int8,
            "Int16" => Type::Int16,
            "Int32" => Type::Int32,
            "Int64" => Type::Int64,
            "UInt8" => Type::UInt8,
            "UInt16" => Type::UInt16,
            "UInt32" => Type::UInt32,
            "UInt64" => Type::UInt64,
            "Float32" => Type::Float32,
            "Float64" => Type::Float64,
            "Text" => Type::Text,
            "Data" => Type::Data,
            name if self.enums.iter().any(|known| known == name) => Type::Enum(self.ids[name]),
            name => Type::Struct(self.ids[name]),
        }
    }
}

/// Says which variant is meant where the file leaves that to the default.
fn complete(types: &Types, structure: u64, json: &mut Json) {
    let structure = types.structure(structure).unwrap();
    let Some(object) = json.as_object_mut() else {
        return;
    };
    let mut variants = structure
        .fields
        .iter()
        .filter(|field| field.variant.is_some());
    if structure.discriminant.is_some() && !variants.any(|field| object.contains_key(&field.name)) {
        let first = structure
            .fields
            .iter()
            .find(|field| field.variant == Some(0))
            .unwrap();
        object.insert(first.name.clone(), Json::Null);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn json_becomes_the_bytes_of_the_official_converter_and_comes_back() {
    let file: Json = serde_json::from_str(VECTORS).unwrap();
    let (types, ids) = Loader::load(&file["schema"]);
    let mut compared = 0;
    for vector in file["messages"].as_array().unwrap() {
        let name = vector["type"].as_str().unwrap();
        if OUTSIDE.contains(&name) {
            continue;
        }
        let (method, expected) = (
            method_of(&types, ids[name]),
            vector["hex"].as_str().unwrap(),
        );
        let mut json = vector["json"].clone();
        complete(&types, ids[name], &mut json);
        let bytes = encode(&types, method, &json).unwrap_or_else(|e| panic!("{name} {json}: {e}"));
        assert_eq!(hex(&bytes), expected, "{name} {json}");

        let shown = decode(&types, method, &unhex(expected)).unwrap();
        let shown = Json::Object(match shown {
            Json::String(unit) => Map::from_iter([(unit, Json::Null)]),
            Json::Object(object) => object,
            Json::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        });
        assert_eq!(
            hex(&encode(&types, method, &shown).unwrap()),
            expected,
            "{name} {shown}"
        );
        compared += 1;
    }
    assert_eq!(compared, 39);
}

#[test]
fn results_of_an_older_or_newer_version_are_read() {
    let file: Json = serde_json::from_str(VECTORS).unwrap();
    let (types, ids) = Loader::load(&file["evolution_schema"]);
    let mut compared = 0;
    for vector in file["evolution"].as_array().unwrap() {
        let name = vector["read_as"].as_str().unwrap();
        let Some(expected) = vector["reads"].as_object() else {
            continue;
        };
        if OUTSIDE.contains(&name) {
            continue;
        }
        let bytes = unhex(vector["hex"].as_str().unwrap());
        let shown = decode(&types, method_of(&types, ids[name]), &bytes).unwrap();
        for (key, value) in expected {
            assert_eq!(without_nulls(&shown[key]), *value, "{name} {key}");
        }
        compared += 1;
    }
    assert_eq!(compared, 8);
}

/// The file has no members for what is null.
fn without_nulls(json: &Json) -> Json {
    match json {
        Json::Object(object) => object
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn an_unknown_enumerant_survives_as_its_number() {
    let file: Json = serde_json::from_str(VECTORS).unwrap();
    let (types, ids) = Loader::load(&file["evolution_schema"]);
    let method = method_of(&types, ids["EnumV1"]);
    let bytes = encode(&types, method, &json!({ "c": 9 })).unwrap();
    assert_eq!(decode(&types, method, &bytes).unwrap(), json!({ "c": 9 }));
}
