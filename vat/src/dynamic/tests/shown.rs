//! Descriptions as people and scripts see them.

use serde_json::json;

use super::fixture::{Part, Schema};
use crate::dynamic::{Types, render};
use crate::schema::{Type, Value};

const ENTRY: u64 = 1;
const SHAPE: u64 = 2;
const COLOR: u64 = 3;
const OPTIONAL: u64 = 4;
const UNUSED: u64 = 5;
const CORNERS: u64 = 6;
const NODE: u64 = 10;
const READER: u64 = 11;
const BOOK: u64 = 12;
const LISTENER: u64 = 13;

fn types() -> Types {
    let list = |element| Type::List(Box::new(element));
    let value = |ty| [Part::new("value", ty)];
    let schema = Schema::default()
        .structure(OPTIONAL, "vat::OptionalUInt32", &value(Type::UInt32))
        .structure(UNUSED, "demo::Unused", &value(Type::UInt32))
        .enumeration(COLOR, "demo::Color", &["red", "darkGreen"])
        .structure(
            SHAPE,
            "demo::Shape",
            &[
                Part::new("none", Type::Void).branch(0),
                Part::new("radius", Type::Float64).branch(1),
                Part::new("width", Type::Float32).in_group(2, CORNERS),
                Part::new("label", Type::Text)
                    .in_group(2, CORNERS)
                    .optional(),
            ],
        )
        .structure(
            ENTRY,
            "demo::Entry",
            &[
                Part::new("guestName", Type::Text),
                Part::new("color", Type::Enum(COLOR)).or(Value::Enum(1)),
                Part::new("shape", Type::Struct(SHAPE)).optional(),
            ],
        )
        .interface(NODE, "vat::Node", &[])
        .method("name", &[], &value(Type::Text))
        .interface(LISTENER, "demo::Listener", &[])
        .method("close", &[], &[])
        .interface(READER, "demo::Reader", &[LISTENER])
        .method("entry", &[Part::new("entry", Type::Struct(ENTRY))], &[])
        .interface(BOOK, "demo::Book", &[NODE])
        .method(
            "page",
            &[
                Part::new("from", Type::UInt64).or(Value::UInt(0)),
                Part::new("most", Type::Struct(OPTIONAL)).optional(),
            ],
            &value(list(Type::Struct(ENTRY))),
        )
        .method(
            "watch",
            &[Part::new("reader", Type::Interface(READER))],
            &[
                Part::new("now", Type::UInt64),
                Part::new("later", Type::Capability),
            ],
        );
    let mut description = schema.0;
    let book = description.interfaces.last_mut().unwrap();
    book.doc = "Guests sign here.\n\nAnd others read.".to_owned();
    book.methods[0].doc = "Up to `most` entries.\u{1b}[2J".to_owned();
    let params = description.structs.iter_mut();
    let mut params = params.filter(|known| known.name == "demo::Book.page$Params");
    params.next().unwrap().fields[0].doc = "Where to begin.".to_owned();
    description.enums[0].enumerants[0].doc = "The first one.".to_owned();
    Types::new(description).unwrap()
}

#[test]
fn the_text_form_has_methods_then_what_they_use() {
    let expected = "\
interface demo::Book (0x000000000000000c)
    Guests sign here.

    And others read.

    page(from: UInt64 = 0, most: UInt32?) -> List(Entry)
        Up to `most` entries.\u{FFFD}[2J
        from: Where to begin.

    watch(reader: Reader) -> (now: UInt64, later: Capability)

    from vat::Node:

    name() -> Text

struct Entry
    guest_name: Text
    color: Color = dark_green
    shape: Shape?

one of Shape
    none
    radius: Float64
    group6: { width: Float32, label: Text? }

enum Color
    red
        The first one.
    dark_green

interface Reader: Listener
    entry(entry: Entry)

interface Listener
    close()
";
    let text = render::text(&types());
    assert_eq!(text, expected, "{text}");
}

#[test]
fn the_json_form_has_the_same_in_parts() {
    let json = render::json(&types());
    assert_eq!(json["interface"], "demo::Book");
    assert_eq!(json["extends"], json!(["vat::Node"]));
    let page = &json["methods"][0];
    assert_eq!(
        page["signature"],
        "page(from: UInt64 = 0, most: UInt32?) -> List(Entry)"
    );
    assert_eq!(
        page["params"],
        json!([
            { "name": "from", "type": "UInt64", "doc": "Where to begin.", "optional": false, "default": 0 },
            { "name": "most", "type": "UInt32", "doc": "", "optional": true },
        ])
    );
    assert_eq!(page["result"]["type"], "List(demo::Entry)");
    assert_eq!(json["methods"][1]["results"][0]["name"], "now");
    assert_eq!(json["methods"][2]["interface"], "vat::Node");
    let kinds: Vec<_> = json["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ty| (ty["kind"].as_str().unwrap(), ty["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("struct", "demo::Entry"),
            ("union", "demo::Shape"),
            ("enum", "demo::Color"),
            ("interface", "demo::Reader"),
            ("interface", "demo::Listener"),
        ]
    );
    let shape = &json["types"][1]["fields"];
    assert_eq!(shape[2]["fields"][1]["name"], "label");
    assert_eq!(shape[2]["variant"], true);
}
