//! Ids against those that the official compiler gives.

use serde_json::Value as Json;

use super::id;

fn vectors() -> Json {
    serde_json::from_str(include_str!("../../tests/vectors/layout-vectors.json")).unwrap()
}

fn hex(json: &Json) -> u64 {
    u64::from_str_radix(json.as_str().unwrap(), 16).unwrap()
}

fn members(node: &Json) -> impl Iterator<Item = &Json> {
    node["m"].as_array().unwrap().iter()
}

/// Where a member stands in its node: by its own ordinal, or the lowest one inside it.
fn ordinal(member: &Json) -> u64 {
    if member.get("m").is_some() {
        return members(member).map(ordinal).min().unwrap();
    }
    member["o"].as_u64().unwrap()
}

/// Whether a union has an ordinal of its own: an old form that nothing here prints.
fn has_union_ordinal(member: &Json) -> bool {
    member.get("m").is_some()
        && (member.get("o").is_some() || members(member).any(has_union_ordinal))
}

/// The members of a node with those of its unnamed union.
fn own<'a>(node: &'a Json, into: &mut Vec<&'a Json>) {
    for member in members(node) {
        if member.get("u").is_some_and(|name| name == "") {
            own(member, into);
        } else {
            into.push(member);
        }
    }
}

/// Checks the position and the id of everything below a node.
fn check(node: &Json, node_id: u64, checked: &mut usize) {
    let mut own_members = Vec::new();
    own(node, &mut own_members);
    own_members.sort_by_key(|member| ordinal(member));
    for (position, member) in (0_u16..).zip(own_members) {
        assert_eq!(member["i"].as_u64(), Some(position.into()), "{member}");
        if member.get("m").is_some() {
            assert_eq!(
                id::of_group(node_id, position),
                hex(&member["id"]),
                "{member}"
            );
            check(member, hex(&member["id"]), checked);
            *checked += 1;
        }
    }
}

#[test]
fn structs_groups_and_unions_have_the_compilers_ids() {
    let vectors = vectors();
    let mut groups = 0;
    for structure in vectors["structs"].as_array().unwrap() {
        let name = structure["name"].as_str().unwrap();
        assert_eq!(
            id::of_child(hex(&vectors["file_id"]), name),
            hex(&structure["id"]),
            "{name}"
        );
        if !has_union_ordinal(structure) {
            check(structure, hex(&structure["id"]), &mut groups);
        }
    }
    assert!(groups > 500, "{groups} groups and named unions");
    for nested in vectors["nested"].as_array().unwrap() {
        let name = nested["path"].as_str().unwrap().rsplit('.').next().unwrap();
        if name != "Renamed" {
            assert_eq!(
                id::of_child(hex(&nested["scope"]), name),
                hex(&nested["id"]),
                "{nested}"
            );
        }
    }
}

#[test]
fn implicit_structs_have_the_compilers_ids() {
    let vectors = vectors();
    let mut checked = 0;
    for interface in vectors["interfaces"]["interfaces"].as_array().unwrap() {
        for (ordinal, method) in (0..).zip(interface["methods"].as_array().unwrap()) {
            for (list, results) in [("params", false), ("results", true)] {
                if method[list].get("fields").is_some() {
                    let id = id::of_list(hex(&interface["id"]), ordinal, results);
                    assert_eq!(id, hex(&method[list]["id"]), "{method}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 174, "implicit structs");
}
