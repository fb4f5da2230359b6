//! Descriptions of derived types, and their text.

use super::text::{file_of_package, to_files, to_text};
use super::{Registry, id};
use crate::data::{Data, Record};

/// A tree of things.
///
/// It may be deep.
#[derive(Clone, Debug, crate::Data)]
#[data(name = "garden::Tree", id = 0xa0a0a0a0a0a0a0a0)]
struct Tree {
    /// What it is called.
    name: String,
    kind: Kind,
    #[data(default = 3)]
    height_m: u16,
    branches: Vec<Self>,
    planted: Option<u32>,
    shape: Shape,
    owners: std::collections::BTreeMap<String, Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, crate::Data)]
#[data(name = "garden::Kind", id = 0xb0b0b0b0b0b0b0b0)]
enum Kind {
    /// Has leaves.
    Broadleaf,
    Conifer,
}

#[derive(Clone, Debug, crate::Data)]
#[data(name = "shape::Shape", id = 0xc0c0c0c0c0c0c0c0)]
enum Shape {
    #[data(n = 0)]
    Unknown,
    #[data(n = 1)]
    Column(f64),
    /// Wider than high.
    Crown {
        /// In metres.
        #[data(n = 2)]
        width: f32,
        #[data(n = 3)]
        leaves: u32,
    },
}

fn description() -> super::Description {
    let mut types = Registry::default();
    types.interface(
        0xd0d0_d0d0_d0d0_d0d0,
        "garden::Gardener",
        "Who plants.",
        |shape| {
            shape.method::<Tree, Nothing>("plant", "Plants a tree.");
            shape.method::<Nothing, Answer>("count", "");
        },
    );
    types.into_description(0xd0d0_d0d0_d0d0_d0d0)
}

#[derive(Clone, Debug, crate::Data)]
struct Nothing;

#[derive(Clone, Debug, crate::Data)]
struct Answer {
    value: u64,
}

const TREE: &str = "\
struct Tree @0xa0a0a0a0a0a0a0a0 {
  # A tree of things.
  #
  # It may be deep.
  name @0 :Text;
  # What it is called.
  kind @1 :Kind;
  heightM @2 :UInt16 = 3;
  branches @3 :List(Tree);
  planted @4 :OptionalUInt32;
  shape @5 :Shape;
  owners @6 :List(EntryTextKind);
}
";

const SHAPE: &str = "\
struct Shape @0xc0c0c0c0c0c0c0c0 {
  union {
    unknown @0 :Void;
    column @1 :Float64;
    crown :group {
      # Wider than high.
      width @2 :Float32;
      # In metres.
      leaves @3 :UInt32;
    }
  }
}
";

#[test]
fn the_text_is_what_a_person_would_have_written() {
    let text = to_text(&description(), "garden.capnp");
    assert!(text.contains(TREE), "{text}");
    assert!(text.contains(SHAPE), "{text}");
    let interface = "\
interface Gardener @0xd0d0d0d0d0d0d0d0 {
  # Who plants.
  plant @0 (name :Text, kind :Kind, heightM :UInt16 = 3, branches :List(Tree), \
                     planted :OptionalUInt32, shape :Shape, owners :List(EntryTextKind)) -> ();
  # Plants a tree.
  count @1 () -> (value :UInt64);
}
";
    assert!(text.contains(interface), "{text}");
    let kind = "\
enum Kind @0xb0b0b0b0b0b0b0b0 {
  broadleaf @0;
  # Has leaves.
  conifer @1;
}
";
    assert!(text.contains(kind), "{text}");
}

#[test]
fn a_file_imports_what_another_declares() {
    let files = to_files(&description(), file_of_package);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["garden.capnp", "shape.capnp", "vat.capnp"]);
    let garden = &files["garden.capnp"];
    assert!(
        garden.contains("using Shape = import \"/shape.capnp\".Shape;\n"),
        "{garden}"
    );
    assert!(garden.contains("using OptionalUInt32 = import \"/vat.capnp\".OptionalUInt32;\n"));
    assert!(files["shape.capnp"].contains(SHAPE));
}

#[test]
fn a_type_named_like_a_built_in_one_does_not_hide_it() {
    let mut types = Registry::default();
    types.record::<hiding::Data>();
    let text = to_text(&types.into_description(hiding::Data::ID), "hiding.capnp");
    assert!(text.contains("struct HidingData @"), "{text}");
    assert!(text.contains("  bytes @0 :Data;\n"), "{text}");
}

mod hiding {
    #[derive(Clone, Debug, crate::Data)]
    #[data(name = "hiding::Data")]
    pub(super) struct Data {
        bytes: Vec<u8>,
    }
}

#[test]
fn ids_follow_from_names() {
    assert_eq!(hiding::Data::ID, id::of_name("hiding::Data"));
    assert_eq!(Tree::ID, 0xa0a0_a0a0_a0a0_a0a0);
    let mut types = Registry::default();
    assert_eq!(Shape::describe(&mut types), super::Type::Struct(Shape::ID));
}

mod same_name {
    #[derive(Clone, Debug, crate::Data)]
    #[data(name = "hiding::Data")]
    pub(super) struct Another {
        pub(super) number: u32,
        pub(super) kind: Kind,
    }

    #[derive(Clone, Debug, crate::Data)]
    #[data(name = "garden::Kind", id = 0xb0b0b0b0b0b0b0b0)]
    pub(super) enum Kind {
        Kind,
        Unkind,
    }
}

#[test]
fn types_that_share_a_name_do_not_hide_each_other() {
    let mut types = Registry::default();
    let first = types.record::<hiding::Data>();
    let kind = Kind::describe(&mut types);
    let second = types.record::<same_name::Another>();
    assert_ne!(first, second);
    assert_eq!(second, types.record::<same_name::Another>());
    assert_ne!(kind, same_name::Kind::describe(&mut types));
    assert_eq!(kind, Kind::describe(&mut types));
    let description = types.into_description(hiding::Data::ID);
    assert_eq!((description.structs.len(), description.enums.len()), (2, 2));
    let text = to_text(&description, "same.capnp");
    assert!(text.contains("struct HidingData @"), "{text}");
    assert!(text.contains("struct HidingDataX @"), "{text}");
}
