//! Random interfaces and values: what is written is read again, and nothing hostile panics.

use captp::Content;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::fixture::{Keyring, Part, decode, encode, method_of, structs};
use crate::core::Results;
use crate::data::{Record, framed, message_of};
use crate::dynamic::types::bits_log2;
use crate::dynamic::wording::is_union;
use crate::dynamic::{Limits, Types, arguments, render, shown};
use crate::schema::{Describe, Description, Enum, Enumerant, Field, Struct, Type, Value};

const ROOT: u64 = 1;
const ENUM: u64 = 90;
const OPTIONAL_NUMBER: u64 = 91;

/// Choices made by a random list of numbers, zero when it is used up: so a failing case shrinks.
struct Tape(std::vec::IntoIter<u32>);

impl Tape {
    fn next(&mut self) -> u32 {
        self.0.next().unwrap_or(0)
    }

    fn pick(&mut self, choices: u32) -> u32 {
        self.next() % choices
    }

    fn number(&mut self) -> u64 {
        match self.pick(4) {
            0 => u64::from(self.pick(3)),
            1 => u64::from(self.next()),
            2 => u64::from(self.next()) << 32 | u64::from(self.next()),
            _ => u64::MAX - u64::from(self.pick(3)),
        }
    }
}

fn tape() -> impl Strategy<Value = Tape> {
    prop::collection::vec(any::<u32>(), 0..300).prop_map(|numbers| Tape(numbers.into_iter()))
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.as_slice())
    }
}

/// A struct without a union as the root, and up to four others that may contain each other.
fn description(tape: &mut Tape) -> Description {
    let count = 1 + u64::from(tape.pick(4));
    let ids: Vec<u64> = (ROOT + 1..=ROOT + count).collect();
    let mut description = Description::default();
    let enumerant = |name: &str| Enumerant {
        name: name.to_owned(),
        ..Enumerant::default()
    };
    description.enums.push(Enum {
        id: ENUM,
        enumerants: ["first", "secondOne", "third"].map(enumerant).to_vec(),
        ..Enum::default()
    });
    let value = [Part::new("value", Type::UInt32)];
    description
        .structs
        .extend(structs(OPTIONAL_NUMBER, "Optional", &value, |_| {
            String::new()
        }));
    for id in ROOT..=ROOT + count {
        let mut parts: Vec<Part> = (0..=tape.pick(6))
            .map(|at| part(tape, &format!("someField{at}"), &ids))
            .collect();
        if id != ROOT && parts.len() >= 2 && tape.pick(2) == 0 {
            branch_off(tape, id, &mut parts);
        }
        let group_name = |group| format!("groupOf{group}");
        description
            .structs
            .extend(structs(id, &format!("Type{id}"), &parts, group_name));
    }
    description
}

/// Makes branches of the last fields, at least of two; some share a group.
fn branch_off(tape: &mut Tape, id: u64, parts: &mut [Part]) {
    let plain = tape.pick(u32::try_from(parts.len() - 1).unwrap()) as usize;
    for (branch, part) in (0..).zip(&mut parts[plain..]) {
        let group = id * 100 + u64::from(branch);
        *part = match tape.pick(3) {
            0 => part.clone().in_group(branch, group),
            _ => part.clone().branch(branch),
        };
    }
}

fn part(tape: &mut Tape, name: &str, ids: &[u64]) -> Part {
    let ty = ty(tape, ids, 2);
    let part = Part::new(name, ty.clone());
    // A struct inside itself ends somewhere only if it may be absent.
    let may_be_absent = matches!(ty, Type::Struct(_)) || (ty.is_pointer() && tape.pick(2) == 0);
    let default = default(tape, &ty).filter(|_| tape.pick(3) == 0);
    Part {
        optional: may_be_absent,
        default,
        ..part
    }
}

fn ty(tape: &mut Tape, ids: &[u64], lists: u32) -> Type {
    match tape.pick(19) {
        0 => Type::Void,
        1 => Type::Bool,
        2 => Type::Int8,
        3 => Type::Int16,
        4 => Type::Int32,
        5 => Type::Int64,
        6 => Type::UInt8,
        7 => Type::UInt16,
        8 => Type::UInt32,
        9 => Type::UInt64,
        10 => Type::Float32,
        11 => Type::Float64,
        12 => Type::Text,
        13 => Type::Data,
        14 => Type::Enum(ENUM),
        15 => Type::Struct(OPTIONAL_NUMBER),
        16 if lists > 0 => Type::List(Box::new(ty(tape, ids, lists - 1))),
        _ => Type::Struct(ids[tape.next() as usize % ids.len()]),
    }
}

fn default(tape: &mut Tape, ty: &Type) -> Option<Value> {
    let small = tape.pick(3);
    Some(match ty {
        Type::Bool => Value::Bool(small == 1),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => Value::Int(i64::from(small) - 1),
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => Value::UInt(small.into()),
        Type::Float32 => Value::Float32(f32::from(u8::try_from(small).unwrap()) - 0.5),
        Type::Float64 => Value::Float64(f64::from(small) - 0.5),
        Type::Enum(_) => Value::Enum(u16::try_from(small).unwrap()),
        _ => return None,
    })
}

/// A value in the form in which results are shown.
fn value(tape: &mut Tape, types: &Types, ty: &Type, levels: u32) -> Json {
    match ty {
        Type::Void => Json::Null,
        Type::Bool => json!(tape.pick(2) == 1),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => {
            let unused = 64 - (1_u32 << bits_log2(ty).unwrap());
            json!(tape.number().cast_signed() << unused >> unused)
        }
        Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => {
            let unused = 64 - (1_u32 << bits_log2(ty).unwrap());
            json!(tape.number() << unused >> unused)
        }
        Type::Float32 => match tape.pick(5) {
            0 => json!("NaN"),
            1 => json!("Infinity"),
            2 => json!(0.1),
            _ => json!(f64::from(tape.pick(100_000)) / 8.0),
        },
        Type::Float64 => json!(f64::from(tape.next()) / 7.0),
        Type::Text => json!(
            "ä\u{1F600}b"
                .chars()
                .cycle()
                .take(tape.pick(12) as usize)
                .collect::<String>()
        ),
        Type::Data => {
            let bytes: Vec<u8> = (0..tape.pick(12))
                .map(|at| at.to_le_bytes()[0] ^ 0xa5)
                .collect();
            json!({ "base64": data_encoding::BASE64.encode(&bytes) })
        }
        Type::Enum(_) => match tape.pick(4) {
            0 => json!("first"),
            1 => json!("second_one"),
            2 => json!("third"),
            _ => json!(tape.pick(1000) + 3),
        },
        Type::List(element) => {
            let count = if levels == 0 { 0 } else { tape.pick(4) };
            (0..count)
                .map(|_| value(tape, types, element, levels.saturating_sub(1)))
                .collect()
        }
        Type::Struct(id) | Type::Group(id) => {
            structure(tape, types, types.structure(*id).unwrap(), levels)
        }
        Type::Interface(_) | Type::Capability => unreachable!("none are made"),
    }
}

fn structure(tape: &mut Tape, types: &Types, structure: &Struct, levels: u32) -> Json {
    let mut object = Map::new();
    for field in structure
        .fields
        .iter()
        .filter(|field| field.variant.is_none())
    {
        object.insert(shown(&field.name), field_value(tape, types, field, levels));
    }
    let branches: Vec<&Field> = structure
        .fields
        .iter()
        .filter(|field| field.variant.is_some())
        .collect();
    if !branches.is_empty() {
        let branch = branches[tape.next() as usize % branches.len()];
        if is_union(structure) && branch.ty == Type::Void {
            return json!(shown(&branch.name));
        }
        object.insert(
            shown(&branch.name),
            field_value(tape, types, branch, levels),
        );
    }
    Json::Object(object)
}

fn field_value(tape: &mut Tape, types: &Types, field: &Field, levels: u32) -> Json {
    if field.optional && (levels == 0 || tape.pick(4) == 0) {
        return Json::Null;
    }
    if field.ty == Type::Struct(OPTIONAL_NUMBER) {
        return json!(tape.next());
    }
    value(tape, types, &field.ty, levels.saturating_sub(1))
}

/// Makes a description wrong, most of the time.
fn spoil(tape: &mut Tape, description: &mut Description) {
    let count = description.structs.len();
    let structure = &mut description.structs[tape.next() as usize % count];
    match tape.pick(5) {
        0 => structure.data_words = u16::try_from(tape.next() >> 16).unwrap(),
        1 => structure.pointers = structure.pointers.wrapping_sub(1),
        2 => structure.discriminant = (tape.pick(2) == 0).then(|| tape.next()),
        _ => {
            let fields = structure.fields.len();
            let field = &mut structure.fields[tape.next() as usize % fields];
            match tape.pick(4) {
                0 => field.offset = tape.next() >> tape.pick(32),
                1 => field.ty = Type::Group(u64::from(tape.pick(8))),
                2 => field.variant = Some(u16::try_from(tape.pick(4)).unwrap()),
                _ => field.default = Some(Value::UInt(tape.number())),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_is_read_again(mut tape in tape()) {
        let types = Types::new(description(&mut tape)).unwrap();
        let method = method_of(&types, ROOT);
        let json = structure(&mut tape, &types, method.params, 6);
        let bytes = encode(&types, method, &json).map_err(|e| TestCaseError::fail(format!("{json}: {e}")))?;
        prop_assert_eq!(decode(&types, method, &bytes).unwrap(), json);
    }

    #[test]
    fn spoilt_answers_do_not_panic(mut tape in tape(), edits in prop::collection::vec(any::<(u16, u8)>(), 1..8), cut: u8) {
        let types = Types::new(description(&mut tape)).unwrap();
        let method = method_of(&types, ROOT);
        let json = structure(&mut tape, &types, method.params, 4);
        let mut bytes = encode(&types, method, &json).unwrap();
        for (at, byte) in edits {
            let len = bytes.len();
            bytes[usize::from(at) % len] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(usize::from(cut.saturating_sub(200))));
        let _shown_or_refused = decode(&types, method, &bytes);
    }

    #[test]
    fn bytes_at_random_do_not_panic(mut tape in tape(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let types = Types::new(description(&mut tape)).unwrap();
        let _shown_or_refused = decode(&types, method_of(&types, ROOT), &bytes);
    }

    #[test]
    fn a_description_that_was_accepted_can_be_used(mut tape in tape()) {
        let mut description = description(&mut tape);
        spoil(&mut tape, &mut description);
        let Ok(types) = Types::new(description) else { return Ok(()) };
        let method = method_of(&types, ROOT);
        let json = structure(&mut tape, &types, method.params, 3);
        let limits = Limits::default();
        if let Ok(checked) = arguments(&types, method, &json, &mut Keyring, limits) {
            let mut content = Content::new();
            checked.write(&mut content, &|_| unreachable!()).unwrap();
            let message = message_of(&content);
            let content = message.get_root().unwrap();
            let _shown_or_refused = crate::dynamic::results(&types, method, content, &[], limits);
        }
    }

    #[test]
    fn spoilt_descriptions_are_refused_or_shown(edits in prop::collection::vec(any::<(u16, u8)>(), 1..12)) {
        let results = Results { value: Describe::description() };
        let mut content = Content::new();
        results.write_root(&mut content).unwrap();
        let mut bytes = framed(&content);
        for (at, byte) in edits {
            let len = bytes.len() - 8;
            bytes[8 + usize::from(at) % len] = byte;
        }
        let options = capnp::message::ReaderOptions::default();
        let Ok(message) = capnp::serialize::read_message_from_flat_slice(&mut &bytes[..], options)
        else {
            return Ok(());
        };
        let Ok(content) = message.get_root() else { return Ok(()) };
        let Ok(read) = Results::<Description>::read_root(content, &[]) else { return Ok(()) };
        let Ok(types) = Types::new(read.value) else { return Ok(()) };
        let text = render::text(&types);
        prop_assert_eq!(text.find('\u{1b}'), None);
        prop_assert!(!render::json(&types).is_null());
    }
}
