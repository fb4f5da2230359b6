//! What a person may write, and what they are told when it does not fit.

use serde_json::{Value as Json, json};

use super::fixture::{Keyring, Part, Schema, decode, encode};
use crate::dynamic::body::{Slot, Target};
use crate::dynamic::{Limits, MethodOf, Types, arguments, words};
use crate::schema::{Type, Value};

const POINT: u64 = 1;
const SHAPE: u64 = 2;
const COLOR: u64 = 3;
const TREE: u64 = 4;
const OPT_U32: u64 = 5;
const RECT: u64 = 6;
const BASE: u64 = 10;
const BOOK: u64 = 11;
const READER: u64 = 12;

fn list(element: Type) -> Type {
    Type::List(Box::new(element))
}

/// An interface with a method for each thing to try.
fn types() -> Types {
    let value = |ty| [Part::new("value", ty)];
    Schema::default()
        .enumeration(COLOR, "demo::Color", &["red", "darkGreen", "blue"])
        .structure(
            POINT,
            "demo::Point",
            &[
                Part::new("x", Type::Int32),
                Part::new("y", Type::Int32).or(Value::Int(-7)),
            ],
        )
        .structure(
            SHAPE,
            "demo::Shape",
            &[
                Part::new("none", Type::Void).branch(0),
                Part::new("radius", Type::Float64).branch(1),
                Part::new("width", Type::Float32).in_group(2, RECT),
                Part::new("label", Type::Text).in_group(2, RECT),
                Part::new("path", list(Type::Struct(POINT))).branch(3),
            ],
        )
        .structure(OPT_U32, "vat::OptionalUInt32", &value(Type::UInt32))
        .structure(
            TREE,
            "demo::Tree",
            &[
                Part::new("kids", list(Type::Struct(TREE))),
                Part::new("level", Type::Int16),
            ],
        )
        .interface(READER, "demo::Reader", &[])
        .interface(BASE, "demo::Base", &[])
        .method("size", &[], &value(Type::UInt64))
        .interface(BOOK, "demo::Book", &[BASE])
        .method(
            "sign",
            &[
                Part::new("guestName", Type::Text),
                Part::new("text", Type::Text),
            ],
            &value(Type::UInt64),
        )
        .method(
            "page",
            &[
                Part::new("from", Type::UInt64).or(Value::UInt(0)),
                Part::new("count", Type::UInt64).or(Value::UInt(u64::MAX)),
            ],
            &[],
        )
        .method(
            "watch",
            &[Part::new("reader", Type::Interface(READER))],
            &[],
        )
        .method("numbers", &numbers(), &numbers())
        .method(
            "draw",
            &[Part::new("shape", Type::Struct(SHAPE))],
            &value(Type::Struct(SHAPE)),
        )
        .method(
            "paint",
            &[Part::new("color", Type::Enum(COLOR))],
            &value(Type::Enum(COLOR)),
        )
        .method("store", &value(Type::Data), &value(Type::Data))
        .method(
            "grow",
            &value(Type::Struct(TREE)),
            &value(Type::Struct(TREE)),
        )
        .method("limit", &limit(), &limit())
        .method(
            "all",
            &[Part::new("points", list(Type::Struct(POINT)))],
            &[],
        )
        .types()
}

fn numbers() -> Vec<Part> {
    let number = |name: &str, ty| Part::new(name, ty);
    vec![
        number("i8", Type::Int8).or(Value::Int(0)),
        number("u16", Type::UInt16).or(Value::UInt(0)),
        number("i64", Type::Int64).or(Value::Int(0)),
        number("u64", Type::UInt64).or(Value::UInt(0)),
        number("f32", Type::Float32).or(Value::Float32(0.0)),
        number("f64", Type::Float64).or(Value::Float64(1.5)),
        number("yes", Type::Bool).or(Value::Bool(true)),
        number("nothing", Type::Void),
    ]
}

fn limit() -> Vec<Part> {
    vec![
        Part::new("most", Type::Struct(OPT_U32)).optional(),
        Part::new("note", Type::Text).optional(),
    ]
}

fn method<'a>(types: &'a Types, name: &str) -> MethodOf<'a> {
    types.method(BOOK, name).unwrap()
}

/// What the same method's results show of what was written as its parameters.
fn round_trip(name: &str, json: &Json) -> Json {
    let types = types();
    let method = method(&types, name);
    let bytes = encode(&types, method, json).unwrap_or_else(|error| panic!("{json}: {error}"));
    decode(&types, method, &bytes).unwrap()
}

fn complaint(name: &str, json: &Json) -> String {
    let types = types();
    let method = method(&types, name);
    let limits = Limits::default();
    arguments(&types, method, json, &mut Keyring, limits)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_missing_argument_is_named_with_its_type() {
    assert_eq!(
        complaint("sign", &json!({ "text": "hello" })),
        "guest_name: missing; expected text"
    );
    assert_eq!(
        complaint("watch", &Json::Null),
        "reader: missing; expected a reference to a Reader (@name or a reference file)"
    );
}

#[test]
fn an_unknown_argument_comes_with_the_nearest_known_one() {
    assert_eq!(
        complaint("sign", &json!({ "guest_nam": "Ann", "text": "hello" })),
        r#"guest_nam: sign has no argument of this name; did you mean "guest_name"?"#
    );
    assert_eq!(
        complaint("sign", &json!({ "zzz": 1 })),
        "zzz: sign has no argument of this name; it has guest_name, text"
    );
    assert_eq!(
        complaint("size", &json!({ "x": 1 })),
        "x: size has no argument of this name; it has none"
    );
}

#[test]
fn names_may_be_written_in_both_ways_but_once() {
    let types = types();
    let method = method(&types, "sign");
    for key in ["guest_name", "guestName", "guest-name"] {
        encode(&types, method, &json!({ key: "Ann", "text": "" })).unwrap();
    }
    assert_eq!(
        complaint(
            "sign",
            &json!({ "guestName": "A", "text": "", "guest_name": "B" })
        ),
        r#"guest_name: given twice, as "guestName" and as "guest_name""#
    );
}

#[test]
fn arguments_by_position_are_refused_with_their_names() {
    assert_eq!(
        complaint("sign", &json!(["Ann", "hello"])),
        r#"arguments go by name, not by position; write {"guest_name": Text, "text": Text}"#
    );
    assert_eq!(
        complaint("sign", &json!("Ann")),
        r#"expected an object of arguments by name, found text "Ann""#
    );
}

#[test]
fn an_argument_of_the_wrong_type_says_where_and_what() {
    let found = |json: Json| complaint("sign", &json!({ "guest_name": json, "text": "" }));
    assert_eq!(found(json!(5)), "guest_name: expected text, found number 5");
    assert_eq!(found(json!(null)), "guest_name: expected text, found null");
    assert_eq!(
        found(json!([1])),
        "guest_name: expected text, found a list of 1"
    );
    assert_eq!(
        found(json!({})),
        "guest_name: expected text, found an object"
    );
    let points = |json: Json| complaint("all", &json!({ "points": json }));
    assert_eq!(
        points(json!([{ "x": 1 }, { "x": "far" }])),
        r#"points[1].x: expected a whole number (Int32), found text "far""#
    );
    assert_eq!(
        points(json!([{ "y": 1 }])),
        "points[0].x: missing; expected a whole number (Int32)"
    );
    assert_eq!(
        points(json!([null])),
        "points[0]: expected an object (Point), found null"
    );
    assert_eq!(
        points(json!({})),
        "points: expected a list, List(Point), found an object"
    );
    assert_eq!(
        points(json!([{ "x": 1, "z": 2 }])),
        "points[0].z: Point has no field of this name; it has x, y"
    );
}

#[test]
fn a_long_text_is_not_repeated_in_full() {
    let found = complaint("page", &json!({ "from": "x".repeat(500) }));
    assert!(found.len() < 120, "{found}");
}

#[test]
fn numbers_are_checked_against_their_range() {
    let problem = |key: &str, json: Json| complaint("numbers", &json!({ key: json }));
    assert_eq!(
        problem("i8", json!(128)),
        "i8: 128 does not fit Int8, which holds -128 to 127"
    );
    assert_eq!(
        problem("u16", json!(-1)),
        "u16: -1 does not fit UInt16, which holds 0 to 65535"
    );
    assert_eq!(
        problem("u64", json!("18446744073709551616")),
        "u64: 18446744073709551616 does not fit UInt64, which holds 0 to 18446744073709551615"
    );
    assert_eq!(
        problem("i64", json!(1.5)),
        "i64: expected a whole number (Int64), found number 1.5"
    );
    assert!(problem("f32", json!(1e300)).starts_with("f32: 1e+300 does not fit Float32, which"));
    assert_eq!(
        problem("f64", json!("many")),
        r#"f64: expected a number (Float64), found text "many""#
    );
    assert_eq!(
        problem("yes", json!(1)),
        "yes: expected true or false, found number 1"
    );
    assert_eq!(
        problem("nothing", json!(0)),
        "nothing: expected null, found number 0"
    );
}

#[test]
fn numbers_survive_exactly() {
    let json = json!({
        "i8": -128, "u16": 65535, "i64": i64::MIN, "u64": u64::MAX, "f32": 0.1, "f64": -0.25,
        "yes": false, "nothing": null,
    });
    assert_eq!(round_trip("numbers", &json), json);
    let texts = json!({ "i64": "-9223372036854775808", "u64": "18446744073709551615", "i8": 5.0 });
    let shown = round_trip("numbers", &texts);
    assert_eq!(
        (&shown["i64"], &shown["u64"]),
        (&json!(i64::MIN), &json!(u64::MAX))
    );
    assert_eq!(shown["i8"], json!(5));
    let odd = round_trip("numbers", &json!({ "f32": "NaN", "f64": "-Infinity" }));
    assert_eq!(
        (&odd["f32"], &odd["f64"]),
        (&json!("NaN"), &json!("-Infinity"))
    );
}

#[test]
fn an_argument_left_out_is_its_default() {
    let shown = round_trip("numbers", &json!({ "i8": null }));
    assert_eq!(
        (&shown["i8"], &shown["f64"], &shown["yes"]),
        (&json!(0), &json!(1.5), &json!(true))
    );
    let types = types();
    let page = method(&types, "page");
    let none = encode(&types, page, &json!({})).unwrap();
    let same = encode(&types, page, &json!({ "count": u64::MAX })).unwrap();
    assert_eq!(none, same, "the default is zero on the wire");
}

#[test]
fn options_take_the_value_or_null() {
    assert_eq!(
        round_trip("limit", &json!({})),
        json!({ "most": null, "note": null })
    );
    let json = json!({ "most": 0, "note": "" });
    assert_eq!(round_trip("limit", &json), json);
    assert_eq!(
        round_trip("limit", &json!({ "most": { "value": 7 } }))["most"],
        json!(7)
    );
    assert_eq!(
        complaint("limit", &json!({ "most": -1 })),
        "most: -1 does not fit UInt32, which holds 0 to 4294967295"
    );
}

#[test]
fn enums_go_by_name() {
    assert_eq!(
        round_trip("paint", &json!({ "color": "dark_green" })),
        json!("dark_green")
    );
    assert_eq!(
        round_trip("paint", &json!({ "color": "DarkGreen" })),
        json!("dark_green")
    );
    assert_eq!(round_trip("paint", &json!({ "color": 77 })), json!(77));
    assert_eq!(
        complaint("paint", &json!({ "color": "read" })),
        r#"color: Color has no value of this name; did you mean "red"?"#
    );
    assert_eq!(
        complaint("paint", &json!({ "color": true })),
        "color: expected one of red, dark_green, blue, found true"
    );
}

#[test]
fn variants_go_by_name_with_what_they_carry() {
    for shape in [
        json!("none"),
        json!({ "radius": 2.5 }),
        json!({ "group6": { "width": 1.0, "label": "box" } }),
        json!({ "path": [{ "x": 1, "y": 2 }] }),
    ] {
        assert_eq!(round_trip("draw", &json!({ "shape": shape })), shape);
    }
    assert_eq!(
        round_trip("draw", &json!({ "shape": { "none": null } })),
        json!("none")
    );
    let problem = |json: Json| complaint("draw", &json!({ "shape": json }));
    assert_eq!(
        problem(json!("radius")),
        r#"shape: radius carries a value; write {"radius": …} with a number (Float64)"#
    );
    assert_eq!(
        problem(json!({ "radius": 1, "none": null })),
        r#"shape: "none" and "radius" exclude each other; give one of them"#
    );
    assert_eq!(
        problem(json!({})),
        "shape: missing; expected one of none, radius, group6, path"
    );
    assert_eq!(
        problem(json!("nono")),
        r#"shape: Shape has no variant of this name; did you mean "none"?"#
    );
    assert_eq!(
        problem(json!({ "group6": { "width": 1 } })),
        "shape.group6.label: missing; expected text"
    );
}

#[test]
fn an_unknown_variant_survives_as_its_number() {
    let types = types();
    let draw = method(&types, "draw");
    let mut bytes = encode(&types, draw, &json!({ "shape": { "radius": 1.0 } })).unwrap();
    let discriminant = types.structure(SHAPE).unwrap().discriminant.unwrap();
    bytes[16 + 2 * discriminant as usize] = 9;
    assert_eq!(decode(&types, draw, &bytes).unwrap(), json!(9));
}

#[test]
fn bytes_may_be_text_base64_hex_or_numbers() {
    let stored = |json: Json| round_trip("store", &json!({ "value": json }));
    let expected = json!({ "base64": "aGn/" });
    assert_eq!(stored(json!({ "base64": "aGn/" })), expected);
    assert_eq!(stored(json!({ "hex": "6869fF" })), expected);
    assert_eq!(stored(json!([104, 105, 255])), expected);
    assert_eq!(stored(json!("hi")), json!({ "base64": "aGk=" }));
    let problem = |json: Json| complaint("store", &json!({ "value": json }));
    assert!(problem(json!({ "base64": "a" })).starts_with("value: not valid base64: "));
    assert!(problem(json!({ "hex": "0g" })).starts_with("value: not valid hex: "));
    for wrong in [json!([256]), json!({ "utf8": "" }), json!(5), json!({})] {
        assert!(problem(wrong).starts_with("value: expected bytes (text, "));
    }
}

#[test]
fn references_come_from_their_source() {
    let types = types();
    let watch = method(&types, "watch");
    let json = json!({ "reader": "@screen" });
    let checked = arguments(&types, watch, &json, &mut Keyring, Limits::default()).unwrap();
    let reference = Target::Reference("screen as demo::Reader".to_owned());
    assert_eq!(
        checked.root.slots,
        [Slot::Pointer {
            index: 0,
            to: reference
        }]
    );
    assert_eq!(
        complaint("watch", &json!({ "reader": "screen.cap" })),
        r#"reader: no reference "screen.cap": names of references start with @"#
    );
    assert_eq!(
        complaint("watch", &json!({ "reader": 3 })),
        "reader: expected a reference to a Reader (@name or a reference file), found number 3"
    );
}

fn tree(levels: usize) -> Json {
    let leaf = json!({ "kids": [], "level": 0 });
    (0..levels).fold(leaf, |kid, _| json!({ "kids": [kid], "level": 0 }))
}

#[test]
fn depth_is_limited() {
    // Each level is a struct and a list; the parameters are a level, too.
    round_trip("grow", &json!({ "value": tree(30) }));
    let error = complaint("grow", &json!({ "value": tree(31) }));
    assert!(error.starts_with("value.kids[0].kids[0]"), "{error}");
    assert!(error.ends_with("nested deeper than 64 levels"), "{error}");
}

#[test]
fn size_is_limited_before_anything_is_built() {
    let types = types();
    let limits = Limits {
        bytes: 1024,
        ..Limits::default()
    };
    let check = |name: &str, json: Json| {
        let checked = arguments(&types, method(&types, name), &json, &mut Keyring, limits);
        checked
            .map(|checked| checked.size())
            .map_err(|error| error.to_string())
    };
    let text = |len| json!({ "guest_name": "Ann", "text": "x".repeat(len) });
    assert!(check("sign", text(900)).unwrap() <= 1024);
    let limit = "the arguments need more than 1024 bytes, the limit for one message";
    assert_eq!(
        check("sign", text(1020)).unwrap_err(),
        format!("text: {limit}")
    );
    let points: Vec<Json> = (0..200).map(|x| json!({ "x": x })).collect();
    let error = check("all", json!({ "points": points })).unwrap_err();
    assert!(
        error.starts_with("points[") && error.ends_with(limit),
        "{error}"
    );
}

#[test]
fn words_are_read_by_the_type_of_their_parameter() {
    let types = types();
    let read = |name: &str, list: &[&str]| {
        let result = words(&types, method(&types, name), list.iter().copied());
        result.map_err(|error| error.to_string())
    };
    assert_eq!(
        read("sign", &["guest_name=5", "text=a=b"]).unwrap(),
        json!({ "guest_name": "5", "text": "a=b" })
    );
    assert_eq!(read("page", &["from=3"]).unwrap(), json!({ "from": 3 }));
    assert_eq!(
        read("page", &["from=three"]).unwrap(),
        json!({ "from": "three" })
    );
    assert_eq!(
        read("draw", &["shape=none"]).unwrap(),
        json!({ "shape": "none" })
    );
    assert_eq!(
        read("draw", &[r#"shape={"radius": 2}"#]).unwrap(),
        json!({ "shape": { "radius": 2 } })
    );
    assert_eq!(
        read("store", &["value=[1]"]).unwrap(),
        json!({ "value": "[1]" })
    );
    assert_eq!(
        read("watch", &["reader=@me"]).unwrap(),
        json!({ "reader": "@me" })
    );
    assert_eq!(read("sign", &["nam=x"]).unwrap(), json!({ "nam": "x" }));
    assert_eq!(
        read("sign", &["Ann"]).unwrap_err(),
        r#"arguments go by name, not by position; write {"guest_name": Text, "text": Text}"#
    );
    assert_eq!(
        read("sign", &["text=a", "text=b"]).unwrap_err(),
        r#"text: given twice, as "text" and as "text""#
    );
}

#[test]
fn an_unknown_method_comes_with_the_nearest_known_one() {
    let types = types();
    let find = |name: &str| {
        types
            .method(BOOK, name)
            .map(|found| found.method.name.clone())
    };
    assert_eq!(find("size").unwrap(), "size", "inherited");
    assert_eq!(
        find("sing").unwrap_err().to_string(),
        r#"demo::Book has no method "sing"; did you mean "sign"?"#
    );
    assert!(
        find("delete")
            .unwrap_err()
            .to_string()
            .starts_with(r#"demo::Book has no method "delete"; it has sign, page, watch, numbers"#)
    );
}
