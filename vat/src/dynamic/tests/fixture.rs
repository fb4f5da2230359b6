//! Descriptions made from short texts, and messages made and read by them.

use capnp::message;
use captp::Content;
use serde_json::Value as Json;

use crate::data::{Branch, Kind, Member, message_of, solve};
use crate::dynamic::types::bits_log2;
use crate::dynamic::{
    ArgumentError, Limits, MethodOf, RefSource, ResultError, Types, arguments, results,
};
use crate::schema::{Description, Enum, Enumerant, Field, Interface, Method, Struct, Type, Value};

/// A field before it has a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) optional: bool,
    pub(super) default: Option<Value>,
    /// Position of the branch that it is in, and whether that branch is a group of this id.
    pub(super) branch: Option<(u16, Option<u64>)>,
}

impl Part {
    pub(super) fn new(name: &str, ty: Type) -> Self {
        Self {
            name: name.to_owned(),
            ty,
            ..Self::default()
        }
    }

    pub(super) fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    pub(super) fn or(self, default: Value) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    pub(super) fn branch(self, branch: u16) -> Self {
        Self {
            branch: Some((branch, None)),
            ..self
        }
    }

    pub(super) fn in_group(self, branch: u16, group: u64) -> Self {
        Self {
            branch: Some((branch, Some(group))),
            ..self
        }
    }
}

/// Most fields that [`structs`] lays out.
const FIELDS: usize = 32;
/// Most branches.
const BRANCHES: usize = 8;

/// A struct from its parts, ordinals by position, and a struct for each group among its branches,
/// which is called by `group_name`.
pub(super) fn structs(
    id: u64,
    name: &str,
    parts: &[Part],
    group_name: impl Fn(u64) -> String,
) -> Vec<Struct> {
    let member = |part: &Part| Member {
        kind: match bits_log2(&part.ty) {
            Some(log2) => Kind::Bits(log2),
            None if part.ty.is_pointer() => Kind::Pointer,
            None => Kind::Void,
        },
        branch: part.branch.map(|(index, _)| Branch { union: 0, index }),
    };
    let mut members = [Member {
        kind: Kind::Void,
        branch: None,
    }; FIELDS];
    for (slot, part) in members.iter_mut().zip(parts) {
        *slot = member(part);
    }
    let solved = Box::leak(Box::new(solve::<FIELDS, BRANCHES>(&members)));
    let layout = solved.layout();
    let empty = |id, name: &str| Struct {
        id,
        name: name.to_owned(),
        data_words: layout.size.data,
        pointers: layout.size.pointers,
        ..Struct::default()
    };
    let mut out = vec![Struct {
        discriminant: layout.discriminant,
        ..empty(id, name)
    }];
    for (ordinal, (part, slot)) in (0..).zip(parts.iter().zip(layout.slots)) {
        let field = Field {
            name: part.name.clone(),
            ordinal,
            ty: part.ty.clone(),
            offset: slot.offset,
            optional: part.optional,
            default: part.default.clone(),
            ..Field::default()
        };
        let variant = part.branch.map(|_| slot.variant);
        match part.branch {
            Some((_, Some(group))) => {
                if !out.iter().any(|known| known.id == group) {
                    out.push(empty(group, &format!("{name}.{}", group_name(group))));
                    out[0].fields.push(Field {
                        name: group_name(group),
                        ordinal,
                        ty: Type::Group(group),
                        variant,
                        ..Field::default()
                    });
                }
                let holder = out.iter_mut().find(|known| known.id == group).unwrap();
                holder.fields.push(field);
            }
            _ => out[0].fields.push(Field { variant, ..field }),
        }
    }
    out
}

/// An interface under construction.
#[derive(Default)]
pub(super) struct Schema(pub(super) Description);

impl Schema {
    pub(super) fn structure(mut self, id: u64, name: &str, parts: &[Part]) -> Self {
        self.0
            .structs
            .extend(structs(id, name, parts, |group| format!("group{group}")));
        self
    }

    pub(super) fn enumeration(mut self, id: u64, name: &str, values: &[&str]) -> Self {
        let enumerant = |name: &&str| Enumerant {
            name: (*name).to_owned(),
            ..Enumerant::default()
        };
        self.0.enums.push(Enum {
            id,
            name: name.to_owned(),
            enumerants: values.iter().map(enumerant).collect(),
            ..Enum::default()
        });
        self
    }

    pub(super) fn interface(mut self, id: u64, name: &str, extends: &[u64]) -> Self {
        self.0.root = id;
        let (name, extends) = (name.to_owned(), extends.to_vec());
        self.0.interfaces.push(Interface {
            id,
            name,
            extends,
            ..Interface::default()
        });
        self
    }

    /// Adds a method to the interface made last.
    pub(super) fn method(mut self, name: &str, params: &[Part], results: &[Part]) -> Self {
        let interface = self.0.interfaces.last_mut().unwrap();
        let id = 1_000_000 + interface.id * 1000 + interface.methods.len() as u64 * 2;
        interface.methods.push(Method {
            name: name.to_owned(),
            params: id,
            results: id + 1,
            ..Method::default()
        });
        let owner = interface.name.clone();
        self.structure(id, &format!("{owner}.{name}$Params"), params)
            .structure(id + 1, &format!("{owner}.{name}$Results"), results)
    }

    pub(super) fn types(self) -> Types {
        Types::new(self.0).unwrap()
    }
}

/// A method whose parameters, and results, are this struct.
pub(super) fn method_of(types: &Types, structure: u64) -> MethodOf<'_> {
    static METHOD: Method = Method {
        name: String::new(),
        doc: String::new(),
        params: 0,
        results: 0,
        reads: false,
        cancellable: false,
    };
    static INTERFACE: Interface = Interface {
        id: 0,
        name: String::new(),
        doc: String::new(),
        extends: Vec::new(),
        methods: Vec::new(),
    };
    let structure = types.structure(structure).unwrap();
    MethodOf {
        interface: &INTERFACE,
        ordinal: 0,
        method: &METHOD,
        params: structure,
        results: structure,
    }
}

/// Knows references whose names start with `@`.
pub(super) struct Keyring;

impl RefSource<String> for Keyring {
    fn reference(&mut self, name: &str, interface: Option<&Interface>) -> Result<String, String> {
        match name.strip_prefix('@') {
            Some(known) => {
                let interface = interface.map_or("any", |interface| &interface.name);
                Ok(format!("{known} as {interface}"))
            }
            None => Err("names of references start with @".to_owned()),
        }
    }
}

/// The canonical bytes of arguments without references.
pub(super) fn encode(
    types: &Types,
    method: MethodOf<'_>,
    json: &Json,
) -> Result<Vec<u8>, ArgumentError> {
    let checked = arguments(types, method, json, &mut Keyring, Limits::default())?;
    let mut content = Content::new();
    checked
        .write(&mut content, &|_| panic!("no references here"))
        .unwrap();
    assert!(
        checked.size() >= content.segment().len(),
        "the size was not underestimated"
    );
    let reader = message_of(&content);
    Ok(reader
        .canonicalize()
        .unwrap()
        .iter()
        .flat_map(word_bytes)
        .collect())
}

fn word_bytes(word: &capnp::Word) -> [u8; 8] {
    capnp::Word::words_to_bytes(std::slice::from_ref(word))
        .try_into()
        .unwrap()
}

/// Results from the bytes of a single segment.
pub(super) fn decode(
    types: &Types,
    method: MethodOf<'_>,
    bytes: &[u8],
) -> Result<Json, ResultError> {
    let mut words = capnp::Word::allocate_zeroed_vec(bytes.len().div_ceil(8));
    capnp::Word::words_to_bytes_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    let segments = [capnp::Word::words_to_bytes(&words)];
    let segments = message::SegmentArray::new(&segments);
    // Enough for every test; spoilt answers that claim more are refused sooner.
    let limits = Limits {
        values: 1 << 14,
        ..Limits::default()
    };
    let reader = message::Reader::new(segments, message::ReaderOptions::default());
    match reader.get_root() {
        Ok(content) => results(types, method, content, &[], limits).map(|answer| answer.value),
        Err(_) => Ok(Json::Null),
    }
}
