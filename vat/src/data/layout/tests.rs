//! The layout against what the official compiler assigns.

use serde_json::Value;

use super::*;

/// A struct of the vectors, flattened: its fields by ordinal, and what is expected of each.
#[derive(Default)]
struct Flat {
    members: Vec<(u64, Member, Expected)>,
    unions: Vec<Option<(u32, u16)>>,
    branches: u16,
    /// A union in a branch, or an ordinal on a union: what this layout does not offer.
    unsupported: bool,
}

struct Expected {
    offset: u32,
    variant: Option<u16>,
}

fn kind(ty: &str) -> Kind {
    match ty {
        "Void" => Kind::Void,
        "Bool" => Kind::Bits(0),
        "Int8" | "UInt8" => Kind::Bits(3),
        "Int16" | "UInt16" | "Color" => Kind::Bits(4),
        "Int32" | "UInt32" | "Float32" => Kind::Bits(5),
        "Int64" | "UInt64" | "Float64" => Kind::Bits(6),
        _ => Kind::Pointer,
    }
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    value.as_u64().and_then(|number| T::try_from(number).ok())
}

fn tag(union: &Value) -> Option<(u32, u16)> {
    let tag = union.get("tag")?;
    Some((number(&tag[0]).unwrap(), number(&tag[1]).unwrap()))
}

impl Flat {
    fn of(structure: &Value) -> Self {
        let mut flat = Self::default();
        flat.scope(structure, None, tag(structure));
        flat.members.sort_by_key(|(ordinal, ..)| *ordinal);
        flat
    }

    /// `unnamed` is the discriminant of this node, if it has an unnamed union.
    fn scope(&mut self, node: &Value, branch: Option<(Branch, u16)>, unnamed: Option<(u32, u16)>) {
        for member in node["m"].as_array().unwrap() {
            if let Some(union) = member.get("u") {
                self.unsupported |= branch.is_some() || member.get("o").is_some();
                let tag = if union == "" { unnamed } else { tag(member) };
                self.union(member, tag);
            } else {
                self.field_or_group(member, branch);
            }
        }
    }

    fn union(&mut self, node: &Value, tag: Option<(u32, u16)>) {
        let union = u16::try_from(self.unions.len()).unwrap();
        self.unions.push(tag);
        for member in node["m"].as_array().unwrap() {
            let branch = Branch {
                union,
                index: self.branches,
            };
            self.branches += 1;
            if member.get("u").is_some() {
                self.unsupported = true;
            } else {
                self.field_or_group(member, Some((branch, number(&member["v"]).unwrap_or(0))));
            }
        }
    }

    fn field_or_group(&mut self, member: &Value, branch: Option<(Branch, u16)>) {
        if member.get("g").is_some() {
            return self.scope(member, branch, tag(member));
        }
        let kind = kind(member["t"].as_str().unwrap());
        let expected = Expected {
            offset: number(&member["at"]).unwrap_or(0),
            variant: branch.map(|(_, variant)| variant),
        };
        let member_of = Member {
            kind,
            branch: branch.map(|(branch, _)| branch),
        };
        self.members
            .push((number(&member["o"]).unwrap(), member_of, expected));
    }

    fn place(&self) -> (Size, Vec<Slot>, Vec<Option<u32>>) {
        let members: Vec<Member> = self.members.iter().map(|(_, member, _)| *member).collect();
        let mut slots = vec![Slot::ORIGIN; members.len()];
        let mut spots = vec![Spot::NONE; members.len()];
        let mut pointers = vec![Owned::NONE; members.len()];
        let mut uses = vec![Use::NOTHING; members.len() * usize::from(self.branches)];
        let mut branches = vec![Started::NOT; usize::from(self.branches)];
        let mut unions = vec![Union::NEW; self.unions.len()];
        let size = Work {
            spots: List {
                items: &mut spots,
                len: 0,
            },
            pointers: List {
                items: &mut pointers,
                len: 0,
            },
            uses: &mut uses,
            branches: &mut branches,
            unions: &mut unions,
            root: Root::EMPTY,
            columns: members.len(),
        }
        .place_all(&members, &mut slots);
        (size, slots, unions.iter().map(|union| union.tag).collect())
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/layout-vectors.json")).unwrap()
}

#[test]
fn supported_structs_lie_as_the_compiler_lays_them() {
    let mut covered = 0;
    for structure in vectors()["structs"].as_array().unwrap() {
        let flat = Flat::of(structure);
        if flat.unsupported {
            continue;
        }
        let name = &structure["name"];
        let (size, slots, tags) = flat.place();
        let expected = &structure["size"];
        assert_eq!(
            Some(size.data),
            number(&expected[0]),
            "data words of {name}"
        );
        assert_eq!(
            Some(size.pointers),
            number(&expected[1]),
            "pointers of {name}"
        );
        for ((ordinal, member, expected), slot) in flat.members.iter().zip(&slots) {
            assert_eq!(slot.offset, expected.offset, "{name} @{ordinal} {member:?}");
            if let Some(variant) = expected.variant {
                assert_eq!(slot.variant, variant, "variant of {name} @{ordinal}");
            }
        }
        for (tag, expected) in tags.iter().zip(&flat.unions) {
            assert_eq!(
                *tag,
                expected.map(|(offset, _)| offset),
                "discriminant of {name}"
            );
        }
        covered += 1;
    }
    assert_eq!(covered, 129, "structs within the supported subset");
}

#[test]
fn implicit_structs_lie_as_the_compiler_lays_them() {
    let vectors = vectors();
    let mut covered = 0;
    for interface in vectors["interfaces"]["interfaces"].as_array().unwrap() {
        for method in interface["methods"].as_array().unwrap() {
            for list in ["params", "results"] {
                let Some(fields) = method[list].get("fields") else {
                    continue;
                };
                let flat = Flat {
                    members: fields
                        .as_array()
                        .unwrap()
                        .iter()
                        .zip(0..)
                        .map(parameter)
                        .collect(),
                    ..Flat::default()
                };
                let (size, slots, _) = flat.place();
                let expected = &method[list]["size"];
                assert_eq!(Some(size.data), number(&expected[0]), "{method}");
                assert_eq!(Some(size.pointers), number(&expected[1]), "{method}");
                for ((.., expected), slot) in flat.members.iter().zip(&slots) {
                    assert_eq!(slot.offset, expected.offset, "{method}");
                }
                covered += 1;
            }
        }
    }
    assert_eq!(covered, 174, "implicit structs");
}

fn parameter((field, ordinal): (&Value, u64)) -> (u64, Member, Expected) {
    let member = Member {
        kind: kind(field[1].as_str().unwrap()),
        branch: None,
    };
    (
        ordinal,
        member,
        Expected {
            offset: number(&field[3]).unwrap(),
            variant: None,
        },
    )
}

#[test]
fn a_constant_is_laid_out_like_the_same_struct_at_run_time() {
    // z :UInt16; union { a :UInt8; b :Void; c :UInt8; d :UInt16; }
    const fn branch(kind: Kind, index: u16) -> Member {
        Member {
            kind,
            branch: Some(Branch { union: 0, index }),
        }
    }
    const SOLVED: Solved<5> = solve::<5, 4>(&[
        Member {
            kind: Kind::Bits(4),
            branch: None,
        },
        branch(Kind::Bits(3), 0),
        branch(Kind::Void, 1),
        branch(Kind::Bits(3), 2),
        branch(Kind::Bits(4), 3),
    ]);
    const LAYOUT: Layout = SOLVED.layout();
    assert_eq!(
        LAYOUT.size,
        Size {
            data: 1,
            pointers: 0
        }
    );
    assert_eq!(LAYOUT.discriminant, Some(2));
    let offsets: Vec<u32> = LAYOUT.slots.iter().map(|slot| slot.offset).collect();
    assert_eq!(offsets, [0, 2, 0, 2, 1]);
    let variants: Vec<u16> = LAYOUT.slots.iter().map(|slot| slot.variant).collect();
    assert_eq!(variants, [0, 0, 1, 2, 3]);
}
