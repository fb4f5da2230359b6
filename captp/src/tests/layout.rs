//! The schema of the wire, written from a description, has the layout of the one that other
//! implementations ship, level 3 apart.

use capnp::introspect::{Introspect, TypeVariant};
use capnp::schema::StructSchema;
use capnp::schema_capnp::{field, node};
use capnp_rpc::rpc_capnp as theirs;

use crate::captp_capnp as ours;

/// Fields that the redesign of level 3 renamed or gave another type.
const REDESIGNED: [&str; 7] = [
    // Not new in level 3, but newer than capnp-rpc's schema.
    "details",
    "acceptFromThirdParty",
    "awaitFromThirdParty",
    "thirdParty",
    "thirdPartyHosted",
    "accept",
    "provide",
];

fn schema<T: Introspect>() -> StructSchema {
    match T::introspect().which() {
        TypeVariant::Struct(raw) => StructSchema::new(raw),
        _ => panic!("not a struct"),
    }
}

/// Everything of a struct that fixes its layout, in a form to compare.
fn layout(schema: StructSchema, depth: usize) -> Vec<String> {
    let node = schema.get_proto();
    let Ok(node::Struct(sizes)) = node.which() else {
        panic!("not a struct")
    };
    let mut found = Vec::new();
    if depth == 0 {
        found.push(format!(
            "{} words, {} pointers, union of {} at {}",
            sizes.get_data_word_count(),
            sizes.get_pointer_count(),
            sizes.get_discriminant_count(),
            sizes.get_discriminant_offset()
        ));
    }
    for entry in schema.get_fields().unwrap() {
        let proto = entry.get_proto();
        let name = proto.get_name().unwrap().to_string().unwrap();
        if REDESIGNED.contains(&name.as_str()) {
            continue;
        }
        let tag = proto.get_discriminant_value();
        match proto.which().unwrap() {
            field::Slot(slot) => {
                let default = slot.get_default_value().unwrap();
                let default = match default.which() {
                    Ok(capnp::schema_capnp::value::Bool(value)) => format!("bool {value}"),
                    Ok(capnp::schema_capnp::value::Uint8(value)) => format!("u8 {value}"),
                    Ok(capnp::schema_capnp::value::Uint16(value)) => format!("u16 {value}"),
                    Ok(capnp::schema_capnp::value::Uint32(value)) => format!("u32 {value}"),
                    Ok(capnp::schema_capnp::value::Uint64(value)) => format!("u64 {value}"),
                    Ok(capnp::schema_capnp::value::Enum(value)) => format!("enum {value}"),
                    Ok(capnp::schema_capnp::value::Text(_)) => "text".to_owned(),
                    Ok(capnp::schema_capnp::value::Data(_)) => "data".to_owned(),
                    Ok(capnp::schema_capnp::value::List(_)) => "list".to_owned(),
                    Ok(capnp::schema_capnp::value::Struct(_)) => "struct".to_owned(),
                    Ok(capnp::schema_capnp::value::AnyPointer(_)) => "any".to_owned(),
                    Ok(capnp::schema_capnp::value::Void(())) => "void".to_owned(),
                    _ => "other".to_owned(),
                };
                found.push(format!("{name}: {tag} {} {default}", slot.get_offset()));
            }
            field::Group(_) => {
                let TypeVariant::Struct(raw) = entry.get_type().which() else {
                    panic!("group")
                };
                found.push(format!("{name}: {tag} group"));
                found.extend(layout(StructSchema::new(raw), depth + 1));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn level_1_messages_have_the_layout_that_others_speak() {
    macro_rules! same {
        ($($module:ident)*) => {
            $(
                assert_eq!(
                    layout(schema::<ours::$module::Owned>(), 0),
                    layout(schema::<theirs::$module::Owned>(), 0),
                    stringify!($module)
                );
            )*
        };
    }
    same!(bootstrap return_ finish resolve release message_target payload
        promised_answer);
    // One field is ours, where Cap'n Proto's has none.
    let mut call = layout(schema::<ours::call::Owned>(), 0);
    call.retain(|field| !field.starts_with("timeLeft: "));
    assert_eq!(call, layout(schema::<theirs::call::Owned>(), 0));
    // What came later takes one more pointer.
    assert_eq!(
        layout(schema::<ours::exception::Owned>(), 1),
        layout(schema::<theirs::exception::Owned>(), 1)
    );
    assert_eq!(
        layout(schema::<ours::disembargo::Owned>(), 1),
        layout(schema::<theirs::disembargo::Owned>(), 1)
    );
    assert_eq!(
        layout(schema::<ours::promised_answer::op::Owned>(), 0),
        layout(schema::<theirs::promised_answer::op::Owned>(), 0)
    );
    assert_eq!(
        layout(schema::<ours::cap_descriptor::Owned>(), 0),
        layout(schema::<theirs::cap_descriptor::Owned>(), 0)
    );
}

#[test]
fn the_variants_of_a_message_have_the_same_numbers() {
    let numbers = |schema: StructSchema| -> Vec<(u16, u32)> {
        schema
            .get_fields()
            .unwrap()
            .into_iter()
            .map(|entry| {
                let proto = entry.get_proto();
                let Ok(field::Slot(slot)) = proto.which() else {
                    panic!("group")
                };
                (proto.get_discriminant_value(), slot.get_offset())
            })
            .collect()
    };
    let mut here = numbers(schema::<ours::message::Owned>());
    let there = numbers(schema::<theirs::message::Owned>());
    // Theirs lacks what came later.
    here.retain(|variant| there.contains(variant));
    assert_eq!(here.len(), there.len());
}
