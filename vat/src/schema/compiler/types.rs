//! Types made up at random, from a seed.

use super::super::{Description, FieldShape, Registry, Type};
use crate::data::{Branch, Kind, Layout, Member, Scalar, solve_leaked};

/// A small generator of numbers (splitmix64): the same seed makes the same types.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn id(&mut self) -> u64 {
        self.next() | 1 << 63
    }

    fn shuffled(&mut self, count: usize) -> Vec<u16> {
        let mut order: Vec<u16> = (0..u16::try_from(count).unwrap()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.below(at + 1));
        }
        order
    }
}

/// Ids of all types, known before any of them is made up, so that they may name each other.
struct Ids {
    enums: Vec<(u64, u16)>,
    structs: Vec<u64>,
    interfaces: Vec<u64>,
}

/// A description of a handful of enums, structs and interfaces.
pub(super) fn made_up(seed: u64) -> Description {
    let mut random = Random(seed);
    let mut ids = Ids {
        enums: Vec::new(),
        structs: Vec::new(),
        interfaces: Vec::new(),
    };
    for _ in 0..random.below(3) + 1 {
        let count = u16::try_from(random.below(5) + 1).unwrap();
        ids.enums.push((random.id(), count));
    }
    ids.structs = (0..random.below(10) + 3).map(|_| random.id()).collect();
    ids.interfaces = (0..random.below(4) + 1).map(|_| random.id()).collect();

    let mut types = Registry::default();
    for (n, (id, count)) in ids.enums.iter().enumerate() {
        let names: Vec<String> = (0..*count).map(|value| format!("value{value}")).collect();
        let enumerants: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (name.as_str(), "An enumerant."))
            .collect();
        types.enumeration(*id, &full_name("Enum", n), "", &enumerants);
    }
    for (n, id) in ids.structs.iter().enumerate() {
        structure(&mut random, &ids, &mut types, *id, &full_name("Struct", n));
    }
    for (n, id) in ids.interfaces.iter().enumerate() {
        interface(&mut random, &ids, &mut types, *id, n);
    }
    types.into_description(ids.interfaces[0])
}

/// Every third type is in a package of its own.
fn full_name(kind: &str, n: usize) -> String {
    let package = if n % 3 == 1 { "other" } else { "made-up" };
    format!("{package}::{kind}{n}")
}

fn structure(random: &mut Random, ids: &Ids, types: &mut Registry, id: u64, name: &str) {
    let (layout, fields) = if random.below(2) == 0 {
        fields(random, ids, 24)
    } else {
        union(random, ids)
    };
    types.enter(id, name, "A struct.\nOf two lines.", layout);
    types.fill(id, layout, fields);
}

/// Plain fields; the order of their source is not that of their ordinals.
fn fields(random: &mut Random, ids: &Ids, most: usize) -> (Layout, Vec<FieldShape>) {
    let count = random.below(most);
    let order = random.shuffled(count);
    let fields = order
        .iter()
        .map(|ordinal| field(random, ids, *ordinal))
        .collect();
    laid_out(fields, 0, |fields| fields)
}

/// An unnamed union of fields and groups.
fn union(random: &mut Random, ids: &Ids) -> (Layout, Vec<FieldShape>) {
    let sizes: Vec<usize> = (0..random.below(5) + 2).map(|_| random.below(5)).collect();
    let order = random.shuffled(sizes.iter().map(|size| (*size).max(1)).sum());
    let mut order = order.into_iter();
    let mut leaves = Vec::new();
    for (branch, size) in (0..).zip(&sizes) {
        for _ in 0..(*size).max(1) {
            let mut leaf = field(random, ids, order.next().unwrap());
            leaf.member.branch = Some(Branch {
                union: 0,
                index: branch,
            });
            leaves.push(leaf);
        }
    }
    laid_out(leaves, sizes.len(), |shapes| {
        let mut shapes = shapes.into_iter();
        let branch = |(n, size): (usize, &usize)| match size {
            0 | 1 => shapes.next().unwrap().branch(),
            _ => FieldShape::group(
                &format!("group{n}"),
                "",
                shapes.by_ref().take(*size).collect(),
            ),
        };
        sizes.iter().enumerate().map(branch).collect()
    })
}

struct Leaf {
    ordinal: u16,
    member: Member,
    shape: FieldShape,
}

fn laid_out(
    leaves: Vec<Leaf>,
    branches: usize,
    group: impl FnOnce(Vec<FieldShape>) -> Vec<FieldShape>,
) -> (Layout, Vec<FieldShape>) {
    let mut members: Vec<(u16, Member)> = leaves
        .iter()
        .map(|leaf| (leaf.ordinal, leaf.member))
        .collect();
    members.sort_by_key(|(ordinal, _)| *ordinal);
    let members: Vec<Member> = members.into_iter().map(|(_, member)| member).collect();
    let shapes = leaves.into_iter().map(|leaf| leaf.shape).collect();
    (solve_leaked(&members, branches), group(shapes))
}

fn field(random: &mut Random, ids: &Ids, ordinal: u16) -> Leaf {
    let ty = ty(random, ids, 0);
    let member = Member {
        kind: kind(&ty),
        branch: None,
    };
    let name = format!("field{ordinal}");
    let shape = FieldShape::new::<()>(&name, "A field.", ordinal, ty.clone());
    let shape = if random.below(3) == 0 {
        with_default(random, ids, &ty, shape)
    } else {
        shape
    };
    Leaf {
        ordinal,
        member,
        shape,
    }
}

fn ty(random: &mut Random, ids: &Ids, depth: u8) -> Type {
    match random.below(if depth < 3 { 20 } else { 14 }) {
        0 => Type::Void,
        1 | 2 => Type::Bool,
        3 => Type::Int8,
        4 => Type::Int16,
        5 => Type::Int32,
        6 => Type::Int64,
        7 => Type::UInt8,
        8 => Type::UInt16,
        9 => Type::UInt32,
        10 => Type::UInt64,
        11 => Type::Float32,
        12 => Type::Float64,
        13 => Type::Text,
        14 => Type::Data,
        15 => Type::Enum(ids.enums[random.below(ids.enums.len())].0),
        16 => Type::Struct(ids.structs[random.below(ids.structs.len())]),
        17 => Type::Interface(ids.interfaces[random.below(ids.interfaces.len())]),
        18 => Type::Capability,
        _ => Type::List(Box::new(ty(random, ids, depth + 1))),
    }
}

fn kind(ty: &Type) -> Kind {
    match ty {
        Type::Void => Kind::Void,
        Type::Bool => Kind::Bits(0),
        Type::Int8 | Type::UInt8 => Kind::Bits(3),
        Type::Int16 | Type::UInt16 | Type::Enum(_) => Kind::Bits(4),
        Type::Int32 | Type::UInt32 | Type::Float32 => Kind::Bits(5),
        Type::Int64 | Type::UInt64 | Type::Float64 => Kind::Bits(6),
        _ => Kind::Pointer,
    }
}

fn with_default(random: &mut Random, ids: &Ids, ty: &Type, shape: FieldShape) -> FieldShape {
    fn any<T: Scalar>(random: &mut Random, shape: FieldShape) -> FieldShape {
        shape.with_default(&T::from_bits(random.next()).unwrap())
    }
    match ty {
        Type::Bool => any::<bool>(random, shape),
        Type::Int8 => any::<i8>(random, shape),
        Type::Int16 => any::<i16>(random, shape),
        Type::Int32 => any::<i32>(random, shape),
        Type::Int64 => any::<i64>(random, shape),
        Type::UInt8 => any::<u8>(random, shape),
        Type::UInt16 => any::<u16>(random, shape),
        Type::UInt32 => any::<u32>(random, shape),
        Type::UInt64 => any::<u64>(random, shape),
        Type::Float32 => any::<f32>(random, shape),
        Type::Float64 => any::<f64>(random, shape),
        Type::Enum(id) => {
            let (_, count) = ids.enums.iter().find(|(known, _)| known == id).unwrap();
            let value = u16::try_from(random.below(usize::from(*count))).unwrap();
            shape.with_enum_default(value)
        }
        _ => shape,
    }
}

fn interface(random: &mut Random, ids: &Ids, types: &mut Registry, id: u64, n: usize) {
    types.interface(id, &full_name("Interface", n), "An interface.", |shape| {
        for extended in &ids.interfaces[..n] {
            if random.below(3) == 0 {
                shape.extends_id(*extended);
            }
        }
        for m in 0..random.below(5) {
            let params = parameters(random, ids);
            let results = parameters(random, ids);
            shape.method_of(&format!("method{m}"), "A method.", params, results);
        }
    });
}

/// Parameters count from 0 in the order of their source.
fn parameters(random: &mut Random, ids: &Ids) -> (Layout, Vec<FieldShape>) {
    let count = u16::try_from(random.below(8)).unwrap();
    let leaves = (0..count)
        .map(|ordinal| field(random, ids, ordinal))
        .collect();
    laid_out(leaves, 0, |fields| fields)
}
