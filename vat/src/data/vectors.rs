//! Messages against what the official tools write and read: the bytes of `capnp convert`.

use capnp::message;
use serde_json::Value as Json;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, crate::Data)]
enum Color {
    Red,
    Green,
    Blue,
}

/// A value as the vectors spell it: an absent key is a null pointer or zero.
trait FromJson: Sized {
    fn from_json(json: &Json) -> Self;
}

macro_rules! number {
    ($($ty:ident)*) => {$(
        impl FromJson for $ty {
            fn from_json(json: &Json) -> Self {
                match json {
                    Json::Null => Self::default(),
                    Json::String(text) => text.parse().unwrap(),
                    number => number.to_string().parse().unwrap(),
                }
            }
        }
    )*};
}

number!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

impl FromJson for () {
    fn from_json(_: &Json) {}
}

impl FromJson for bool {
    fn from_json(json: &Json) -> Self {
        json.as_bool().unwrap_or_default()
    }
}

impl FromJson for String {
    fn from_json(json: &Json) -> Self {
        json.as_str().unwrap_or_default().to_owned()
    }
}

impl FromJson for Color {
    fn from_json(json: &Json) -> Self {
        match json.as_str() {
            Some("green") => Self::Green,
            Some("blue") => Self::Blue,
            _ => Self::Red,
        }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: &Json) -> Self {
        json.as_array()
            .into_iter()
            .flatten()
            .map(T::from_json)
            .collect()
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: &Json) -> Self {
        (!json.is_null()).then(|| T::from_json(json))
    }
}

impl<T: FromJson> FromJson for Box<T> {
    fn from_json(json: &Json) -> Self {
        Self::new(T::from_json(json))
    }
}

macro_rules! record {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $ty:ty,)* })*) => {$(
        #[derive(Clone, Debug, PartialEq, crate::Data)]
        $(#[$meta])*
        struct $name { $($field: $ty,)* }

        impl FromJson for $name {
            fn from_json(json: &Json) -> Self {
                let _ = json;
                Self { $($field: <$ty>::from_json(&json[stringify!($field)]),)* }
            }
        }
    )*};
}

record! {
    struct Empty {}

    struct Point {
        x: i32,
        y: i32,
    }

    struct Prims {
        b: bool,
        i8: i8,
        i16: i16,
        i32: i32,
        i64: i64,
        u8: u8,
        u16: u16,
        u32: u32,
        u64: u64,
        f32: f32,
        f64: f64,
        v: (),
        c: Color,
        b2: bool,
    }

    struct Ptrs {
        t: Option<String>,
        d: Option<Vec<u8>>,
        p: Option<Point>,
        l: Option<Vec<u16>>,
        a: u8,
        e: Option<Empty>,
    }

    struct Lists {
        void: Option<Vec<()>>,
        bool: Option<Vec<bool>>,
        i8: Option<Vec<i8>>,
        i16: Option<Vec<i16>>,
        i32: Option<Vec<i32>>,
        i64: Option<Vec<i64>>,
        u8: Option<Vec<Byte>>,
        u16: Option<Vec<u16>>,
        u32: Option<Vec<u32>>,
        u64: Option<Vec<u64>>,
        f32: Option<Vec<f32>>,
        f64: Option<Vec<f64>>,
        color: Option<Vec<Color>>,
        text: Option<Vec<String>>,
        data: Option<Vec<Vec<u8>>>,
        points: Option<Vec<Point>>,
        ptrs: Option<Vec<Ptrs>>,
        ll: Option<Vec<Vec<Byte>>>,
        llt: Option<Vec<Vec<String>>>,
        lle: Option<Vec<Empty>>,
        llp: Option<Vec<Vec<Point>>>,
    }

    struct Tree {
        value: i64,
        kids: Option<Vec<Tree>>,
        left: Option<Box<Tree>>,
    }

    struct Entry {
        key: Option<String>,
        value: u32,
    }

    struct Map {
        entries: Option<Vec<Entry>>,
    }
}

/// A byte whose lists are `List(UInt8)` and not `Data`.
#[derive(Clone, Copy, Debug, PartialEq, crate::Data)]
struct Byte(u8);

impl FromJson for Byte {
    fn from_json(json: &Json) -> Self {
        Self(u8::from_json(json))
    }
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
enum MaybeU32 {
    None,
    Some(u32),
}

impl FromJson for MaybeU32 {
    fn from_json(json: &Json) -> Self {
        match json.get("some") {
            Some(some) => Self::Some(u32::from_json(some)),
            None => Self::None,
        }
    }
}

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../tests/vectors/message-vectors.json")).unwrap()
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.chunks(2).map(byte).collect()
}

fn read<R: Record>(bytes: &[u8]) -> Result<R> {
    let mut words = capnp::Word::allocate_zeroed_vec(bytes.len() / 8);
    capnp::Word::words_to_bytes_mut(&mut words).copy_from_slice(bytes);
    let segments = [capnp::Word::words_to_bytes(&words)];
    let segments = message::SegmentArray::new(&segments);
    let message = message::Reader::new(segments, message::ReaderOptions::new());
    R::read_root(message.get_root()?, &[])
}

fn canonical_bytes<R: Record>(value: &R) -> Vec<u8> {
    let mut content = Content::new();
    value.write_root(&mut content).unwrap();
    let words = message_of(&content).canonicalize().unwrap();
    capnp::Word::words_to_bytes(&words).to_vec()
}

/// Writes the vector's value to the vector's bytes, and reads it from them.
fn check<R: Record + FromJson + std::fmt::Debug>(vector: &Json) {
    let value = R::from_json(&vector["json"]);
    assert_eq!(canonical_bytes(&value), bytes(&vector["hex"]), "{vector}");
    let read: R = read(&bytes(&vector["hex"])).unwrap();
    // By their text, as a number that is none is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("{value:?}"), "{vector}");
}

#[test]
fn messages_are_written_and_read_as_the_official_tools_do() {
    let mut covered = 0;
    for vector in vectors()["messages"].as_array().unwrap() {
        match vector["type"].as_str().unwrap() {
            "Empty" => check::<Empty>(vector),
            "Point" => check::<Point>(vector),
            "Prims" => check::<Prims>(vector),
            "Ptrs" => check::<Ptrs>(vector),
            "Lists" => check::<Lists>(vector),
            "Tree" => check::<Tree>(vector),
            "Map" => check::<Map>(vector),
            "MaybeU32" => check::<MaybeU32>(vector),
            // A union beside other fields, a union in a branch, a default behind a pointer.
            "Shape" | "Named" | "Opt" | "Defs" => continue,
            other => panic!("{other} is not known here"),
        }
        covered += 1;
    }
    assert_eq!(covered, 34, "messages whose types can be written in Rust");
}

record! {
    struct V1 {
        a: u32,
        b: Option<String>,
    }

    struct ListV1 {
        l: Vec<u16>,
    }

    struct ListV2 {
        l: Vec<Num>,
    }

    struct Num {
        n: u16,
        extra: Option<String>,
    }

    struct TextsV1 {
        l: Vec<String>,
    }

    struct TextsV2 {
        l: Vec<Str>,
    }

    struct Str {
        s: String,
        extra: u8,
    }

    struct EnumV1 {
        c: Color,
    }

    struct RawV1 {
        c: u16,
    }

    struct VoidsV1 {
        l: Vec<()>,
    }

    struct BoolsV1 {
        l: Vec<bool>,
    }
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
struct V2 {
    a: u32,
    b: Option<String>,
    #[data(default = true)]
    c: bool,
    d: Option<Vec<u8>>,
    e: u64,
}

impl FromJson for V2 {
    fn from_json(json: &Json) -> Self {
        Self {
            a: u32::from_json(&json["a"]),
            b: Option::from_json(&json["b"]),
            c: json["c"].as_bool().unwrap_or(true),
            d: Option::from_json(&json["d"]),
            e: u64::from_json(&json["e"]),
        }
    }
}

/// Writes as `A` what the vector's bytes say, and reads it as `B`.
fn evolve<A: Record + FromJson, B: Record + FromJson + std::fmt::Debug + PartialEq>(vector: &Json) {
    let written = bytes(&vector["hex"]);
    assert_eq!(
        canonical_bytes(&A::from_json(&vector["json"])),
        written,
        "{vector}"
    );
    match (read::<B>(&written), &vector["reads"]) {
        (Ok(read), Json::Null) => panic!("read as {read:?}, which is refused: {vector}"),
        (Ok(read), expected) => assert_eq!(read, B::from_json(expected), "{vector}"),
        (Err(error), expected) => assert!(expected.is_null(), "{error}: {vector}"),
    }
}

#[test]
fn other_versions_of_a_type_are_read_as_the_official_tools_do() {
    let mut covered = 0;
    for vector in vectors()["evolution"].as_array().unwrap() {
        let name = |key: &str| vector[key].as_str().unwrap().to_owned();
        match (name("written_as").as_str(), name("read_as").as_str()) {
            ("V1", "V2") => evolve::<V1, V2>(vector),
            ("V2", "V1") => evolve::<V2, V1>(vector),
            ("ListV1", "ListV2") => evolve::<ListV1, ListV2>(vector),
            ("ListV2", "ListV1") => evolve::<ListV2, ListV1>(vector),
            ("TextsV1", "TextsV2") => evolve::<TextsV1, TextsV2>(vector),
            ("TextsV2", "TextsV1") => evolve::<TextsV2, TextsV1>(vector),
            ("VoidsV1", "ListV2") => evolve::<VoidsV1, ListV2>(vector),
            ("BoolsV1", "ListV2") => evolve::<BoolsV1, ListV2>(vector),
            ("BoolsV1", "ListV1") => evolve::<BoolsV1, ListV1>(vector),
            ("RawV1", "EnumV1") => {
                let error = read::<EnumV1>(&bytes(&vector["hex"])).unwrap_err();
                let unknown = Fault::UnknownEnumerant {
                    ty: "Color",
                    value: 9,
                    known: 3,
                };
                assert_eq!(*error.fault(), unknown);
                let raw: RawV1 = read(&bytes(&vector["hex"])).unwrap();
                assert_eq!(raw, RawV1 { c: 9 });
            }
            // A union or group beside other fields.
            ("UnionV1" | "V1", "UnionV2" | "GroupV2") | ("UnionV2", "UnionV1") => continue,
            other => panic!("{other:?} is not known here"),
        }
        covered += 1;
    }
    assert_eq!(covered, 13, "cases whose types can be written in Rust");
}
