//! What `#[derive(Data)]` makes.

use std::collections::BTreeMap;

use capnp::message;

use super::*;
use crate::core::{Fields, Ref};
use crate::schema::{Registry, Value};

/// One of everything.
#[derive(Clone, Debug, PartialEq, crate::Data)]
#[data(name = "test::Everything")]
struct Everything {
    /// A flag.
    flag: bool,
    tiny: i8,
    count: u64,
    ratio: f32,
    nothing: (),
    title: String,
    raw_bytes: Vec<u8>,
    colours: Vec<Colour>,
    shape: Shape,
    maybe_count: Option<u32>,
    maybe_title: Option<String>,
    maybe_colour: Option<Colour>,
    children: Vec<Self>,
    parent: Option<Box<Self>>,
    by_name: BTreeMap<String, Point>,
    digest: [u8; 4],
    length: Metres,
    r#type: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, crate::Data)]
enum Colour {
    Red,
    DarkGreen,
    Blue,
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
enum Shape {
    /// Not drawn yet.
    #[data(n = 1)]
    None,
    #[data(n = 0)]
    Radius(f64),
    Rectangle {
        #[data(n = 2)]
        width: f32,
        #[data(n = 5)]
        height: f32,
    },
    Path(#[data(n = 3)] Vec<Point>),
    Pair(#[data(n = 4)] u8, #[data(n = 6)] String),
}

#[derive(Clone, Debug, Default, PartialEq, crate::Data)]
struct Point {
    x: i32,
    y: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, crate::Data)]
struct Metres(f64);

#[derive(Clone, Debug, PartialEq, crate::Data)]
struct Empty;

fn everything() -> Everything {
    Everything {
        flag: true,
        tiny: -3,
        count: u64::MAX,
        ratio: 0.5,
        nothing: (),
        title: "tïtle".to_owned(),
        raw_bytes: vec![0, 255],
        colours: vec![Colour::Blue, Colour::Red, Colour::DarkGreen],
        shape: Shape::Pair(7, "seven".to_owned()),
        maybe_count: Some(0),
        maybe_title: None,
        maybe_colour: Some(Colour::Red),
        children: Vec::new(),
        parent: None,
        by_name: BTreeMap::from([("a".to_owned(), Point { x: 1, y: -1 })]),
        digest: [1, 2, 3, 4],
        length: Metres(1.5),
        r#type: 9,
    }
}

fn there_and_back<R: Record>(value: &R) -> R {
    let mut content = Content::new();
    value.write_root(&mut content).unwrap();
    let written = content.segment().len() / 8;
    assert_eq!(
        written,
        1 + value.root_words() as usize,
        "the size is known before"
    );
    R::read_root(message_of(&content).get_root().unwrap(), &[]).unwrap()
}

/// Reads the bytes of an `A` as a `B`.
fn reread<A: Record, B: Record>(value: &A) -> Result<B> {
    let mut content = Content::new();
    value.write_root(&mut content).unwrap();
    B::read_root(message_of(&content).get_root().unwrap(), &[])
}

#[test]
fn a_derived_struct_comes_back_as_it_was() {
    let inner = everything();
    let mut value = everything();
    value.children = vec![inner.clone(), inner.clone()];
    value.parent = Some(Box::new(inner));
    assert_eq!(there_and_back(&value), value);
    assert_eq!(there_and_back(&Empty), Empty);
}

#[test]
fn every_variant_comes_back_as_it_was() {
    let shapes = [
        Shape::None,
        Shape::Radius(-2.5),
        Shape::Rectangle {
            width: 1.0,
            height: 2.0,
        },
        Shape::Path(vec![Point { x: 1, y: 2 }, Point::default()]),
        Shape::Pair(1, "x".to_owned()),
    ];
    for shape in shapes {
        assert_eq!(there_and_back(&shape), shape);
    }
}

#[test]
fn an_absent_value_is_the_one_of_ordinal_zero() {
    let mut absent: Everything = reread(&Empty).unwrap();
    assert_eq!(absent.shape, Shape::Radius(0.0));
    assert_eq!(absent.maybe_count, None);
    assert_eq!(absent.digest, [0; 4]);
    absent.shape = Shape::None;
    assert_eq!(there_and_back(&absent), absent);
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
struct Limits {
    #[data(default = 100)]
    most: u32,
    #[data(default = true)]
    strict: bool,
    #[data(default = f64::NAN)]
    ratio: f64,
    #[data(default = -1)]
    least: i8,
    #[data(default = Colour::DarkGreen)]
    colour: Colour,
}

#[test]
fn an_absent_field_has_its_default() {
    let absent: Limits = reread(&Empty).unwrap();
    assert_eq!((absent.most, absent.strict, absent.least), (100, true, -1));
    assert_eq!(absent.colour, Colour::DarkGreen);
    assert!(absent.ratio.is_nan());
    let value = Limits {
        most: 0,
        strict: false,
        ratio: 0.0,
        least: 0,
        colour: Colour::Red,
    };
    assert_eq!(there_and_back(&value), value);
    let mut types = Registry::default();
    types.record::<Limits>();
    let described = types.into_description(Limits::ID);
    let defaults: Vec<_> = described.structs[0]
        .fields
        .iter()
        .map(|field| field.default.clone())
        .collect();
    assert_eq!(defaults[0], Some(Value::UInt(100)));
    assert_eq!(defaults[3], Some(Value::Int(-1)));
    assert_eq!(defaults[4], Some(Value::Enum(1)));
}

/// A newer version of some types here.
mod newer {
    #[derive(Clone, Debug, PartialEq, crate::Data)]
    pub(super) struct Painting {
        pub(super) colours: Vec<Colour>,
        pub(super) shape: Shape,
        pub(super) title: String,
    }

    #[derive(Clone, Copy, Debug, PartialEq, crate::Data)]
    pub(super) enum Colour {
        Red,
        DarkGreen,
        Blue,
        Violet,
    }

    #[derive(Clone, Debug, PartialEq, crate::Data)]
    pub(super) enum Shape {
        Radius(f64),
        None,
        Line(String),
    }
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
struct Painting {
    colours: Vec<Colour>,
    shape: OldShape,
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
enum OldShape {
    Radius(f64),
    None,
}

#[test]
fn what_a_newer_peer_adds_is_ignored_or_named() {
    let mut painting = newer::Painting {
        colours: vec![newer::Colour::Blue],
        shape: newer::Shape::None,
        title: "ignored".to_owned(),
    };
    let old: Painting = reread(&painting).unwrap();
    assert_eq!(
        old,
        Painting {
            colours: vec![Colour::Blue],
            shape: OldShape::None
        }
    );

    painting.colours = vec![newer::Colour::Red, newer::Colour::Violet];
    let error = reread::<_, Painting>(&painting).unwrap_err();
    assert_eq!(
        error.to_string(),
        "in colours[1]: enumerant 3 is not one of the 3 that `Colour` has in this version"
    );

    painting.colours.clear();
    painting.shape = newer::Shape::Line("x".to_owned());
    let error = reread::<_, Painting>(&painting).unwrap_err();
    assert_eq!(
        error.to_string(),
        "in shape: variant 2 is not one of the 2 that `OldShape` has in this version"
    );
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
#[data(reserved(1: u64, 3: String))]
struct Shrunk {
    a: u8,
    b: u8,
    c: String,
}

#[derive(Clone, Debug, PartialEq, crate::Data)]
struct Whole {
    a: u8,
    gone: u64,
    b: u8,
    gone_text: String,
    c: String,
}

#[test]
fn a_removed_field_keeps_its_place() {
    let whole = Whole {
        a: 1,
        gone: 2,
        b: 3,
        gone_text: "four".to_owned(),
        c: "five".to_owned(),
    };
    let shrunk: Shrunk = reread(&whole).unwrap();
    assert_eq!(
        shrunk,
        Shrunk {
            a: 1,
            b: 3,
            c: "five".to_owned()
        }
    );
}

#[derive(Clone, Debug, crate::Data)]
struct Opened {
    size: u64,
    name: String,
    file: Ref,
    maybe: Option<Ref>,
    log: Ref,
}

#[test]
fn references_of_a_promised_struct_are_found_by_their_pointer() {
    assert_eq!(
        <OpenedPromised as Fields<Opened>>::PATHS,
        [&[1u16] as &[u16], &[3]]
    );
}

#[test]
fn references_are_read_from_the_messages_own_table_only() {
    // A struct where a capability pointer is expected, and nothing at all.
    let error = reread::<_, Opened>(&Empty).unwrap_err();
    assert_eq!(*error.fault(), Fault::MissingReference);
    let mut content = Content::new();
    let mut writer = Writer::root(
        &mut content,
        Size {
            data: 1,
            pointers: 4,
        },
    )
    .unwrap();
    writer.structure(1, Size::default()).unwrap();
    let error = Opened::read_root(message_of(&content).get_root().unwrap(), &[]).unwrap_err();
    assert!(matches!(error.fault(), Fault::Malformed(_)), "{error}");
    assert_eq!(error.path(), "file");
}

#[test]
fn a_value_nested_too_deep_is_refused_in_both_directions() {
    let mut value = everything();
    for _ in 0..100 {
        let mut outer = everything();
        outer.parent = Some(Box::new(value));
        value = outer;
    }
    let mut content = Content::new();
    let error = value.write_root(&mut content).unwrap_err();
    assert_eq!(
        *error.fault(),
        Fault::TooDeep {
            limit: NESTING_LIMIT
        }
    );
}

#[test]
fn garbage_is_an_error_and_never_a_panic() {
    let mut value = everything();
    value.children = vec![everything()];
    value.shape = Shape::Path(vec![Point { x: 1, y: 2 }; 3]);
    let mut content = Content::new();
    value.write_root(&mut content).unwrap();
    let bytes = content.segment().to_vec();
    let (mut refused, mut accepted) = (0, 0);
    let mut random = 1_u64;
    for _ in 0..20_000 {
        let mut words = capnp::Word::allocate_zeroed_vec(bytes.len() / 8);
        let garbled = capnp::Word::words_to_bytes_mut(&mut words);
        garbled.copy_from_slice(&bytes);
        for _ in 0..=random % 4 {
            random = random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let at = usize::try_from((random >> 16) % bytes.len() as u64).unwrap();
            garbled[at] ^= 1 << (random >> 60 & 7);
        }
        let segments = [capnp::Word::words_to_bytes(&words)];
        let segments = message::SegmentArray::new(&segments);
        let garbled = message::Reader::new(segments, message::ReaderOptions::new());
        let read = garbled.get_root().map_err(Error::from);
        match read.and_then(|root| Everything::read_root(root, &[])) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        refused > 1000 && accepted > 1000,
        "{refused} refused, {accepted} accepted"
    );
}
