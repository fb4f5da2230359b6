//! Paths to references inside coming results.

use super::fixture::{Part, Schema};
use crate::dynamic::{DescriptionError, Types, result_path};
use crate::schema::{Description, Field, Interface, Method, Struct, Type};

const FILE: u64 = 1;
const DIR: u64 = 2;
const OPENED: u64 = 3;
const EITHER: u64 = 4;

fn types() -> Types {
    Schema::default()
        .structure(
            OPENED,
            "demo::Opened",
            &[
                Part::new("size", Type::UInt64),
                Part::new("name", Type::Text),
                Part::new("file", Type::Interface(FILE)),
                Part::new("parent", Type::Struct(OPENED)).optional(),
                Part::new("any", Type::Capability),
            ],
        )
        .structure(
            EITHER,
            "demo::Either",
            &[
                Part::new("file", Type::Interface(FILE)).branch(0),
                Part::new("nothing", Type::Void).branch(1),
            ],
        )
        .interface(FILE, "demo::File", &[])
        .method("size", &[], &[Part::new("value", Type::UInt64)])
        .interface(DIR, "demo::Directory", &[FILE])
        .method("subdir", &[], &[Part::new("value", Type::Interface(DIR))])
        .method("open", &[], &[Part::new("value", Type::Struct(OPENED))])
        .method("either", &[], &[Part::new("value", Type::Struct(EITHER))])
        .method(
            "both",
            &[],
            &[
                Part::new("leftSide", Type::Interface(FILE)),
                Part::new("rightSide", Type::Interface(DIR)),
            ],
        )
        .method("nothing", &[], &[])
        .types()
}

/// The path and interface that `words` (a method, then fields) lead to.
fn path(words: &[&str]) -> Result<(Vec<u16>, u64), String> {
    let types = types();
    let method = types.method(DIR, words[0]).unwrap();
    result_path(&types, method, &words[1..])
        .map(|found| (found.path, found.interface))
        .map_err(|error| error.to_string())
}

#[test]
fn a_result_that_is_a_reference_is_called_directly() {
    assert_eq!(path(&["subdir"]).unwrap(), (vec![0], DIR));
}

#[test]
fn fields_lead_to_references_inside_structs() {
    assert_eq!(path(&["open", "file"]).unwrap(), (vec![0, 1], FILE));
    assert_eq!(
        path(&["open", "parent", "parent", "file"]).unwrap(),
        (vec![0, 2, 2, 1], FILE)
    );
    assert_eq!(path(&["both", "right_side"]).unwrap(), (vec![1], DIR));
}

#[test]
fn what_is_not_a_reference_is_refused_with_what_is() {
    assert_eq!(
        path(&["size"]).unwrap_err(),
        "the result of size is a whole number (UInt64), not a reference; only references can be \
         called; this result holds none"
    );
    assert_eq!(
        path(&["open"]).unwrap_err(),
        "the result of open is an object (Opened), not a reference; only references can be \
         called; this result holds .file, .parent.file, .parent.parent.file"
    );
    assert_eq!(
        path(&["open", "size"]).unwrap_err(),
        "the result of open.size is a whole number (UInt64), not a reference; only references can \
         be called; this result holds none"
    );
    assert!(
        path(&["both"])
            .unwrap_err()
            .ends_with("holds .left_side, .right_side")
    );
    assert!(
        path(&["nothing"])
            .unwrap_err()
            .starts_with("the result of nothing is nothing, not")
    );
    assert!(
        path(&["open", "size", "x"])
            .unwrap_err()
            .contains("is a whole number (UInt64)")
    );
}

#[test]
fn unknown_and_uncertain_fields_are_refused() {
    assert_eq!(
        path(&["open", "fil"]).unwrap_err(),
        r#"the result of open has no field "fil"; did you mean "file"?"#
    );
    assert_eq!(
        path(&["open", "any"]).unwrap_err(),
        "the result of open.any is a reference of any interface; its methods are known only once \
         it is there"
    );
    assert_eq!(
        path(&["either", "file"]).unwrap_err(),
        "the result of either.file is there in one variant only; call it once the result is there"
    );
}

#[test]
fn a_description_has_to_be_complete() {
    let method = Method {
        name: "call".to_owned(),
        params: 7,
        results: 8,
        ..Method::default()
    };
    let interface = Interface {
        id: 1,
        methods: vec![method],
        ..Interface::default()
    };
    let description = Description {
        interfaces: vec![interface],
        ..Description::default()
    };
    assert_eq!(
        Types::new(description).unwrap_err(),
        DescriptionError::NoSuchType {
            kind: "struct",
            id: 7
        }
    );
}

/// A struct of this id whose only field is this.
fn holder(id: u64, ty: Type) -> Struct {
    let field = Field {
        name: "inner".to_owned(),
        ty,
        ..Field::default()
    };
    Struct {
        id,
        name: format!("demo::S{id}"),
        fields: vec![field],
        ..Struct::default()
    }
}

fn check(structs: Vec<Struct>) -> Result<Types, DescriptionError> {
    Types::new(Description {
        structs,
        ..Description::default()
    })
}

#[test]
fn a_group_inside_itself_or_in_two_structs_is_refused() {
    let refused = |structs: &[(u64, u64)]| {
        let mut structs: Vec<Struct> = structs
            .iter()
            .map(|(id, group)| holder(*id, Type::Group(*group)))
            .collect();
        structs.push(Struct {
            id: 7,
            ..Struct::default()
        });
        let result = check(structs);
        matches!(result, Err(DescriptionError::BadGroup { .. }))
    };
    assert!(!refused(&[(5, 6), (6, 7)]));
    assert!(refused(&[(5, 5)]), "in itself");
    assert!(refused(&[(5, 6), (6, 5)]), "in each other");
    assert!(refused(&[(5, 7), (6, 7)]), "in two");
}

#[test]
fn many_groups_inside_each_other_are_refused_in_no_time() {
    let mut structs: Vec<Struct> = (1..50_000)
        .map(|id| holder(id, Type::Group(id + 1)))
        .collect();
    structs.push(Struct {
        id: 50_000,
        ..Struct::default()
    });
    assert!(matches!(
        check(structs),
        Err(DescriptionError::BadGroup { .. })
    ));
}

#[test]
fn names_that_a_terminal_would_obey_are_refused() {
    let error = check(vec![Struct {
        name: "a\u{1b}[2J".to_owned(),
        ..Struct::default()
    }]);
    assert_eq!(
        error.unwrap_err().to_string(),
        r#""a\u{1b}[2J" is not a name"#
    );
}

#[test]
fn inherited_methods_are_there_once_even_if_interfaces_extend_each_other() {
    let interface = |id, extends: &[u64]| Interface {
        id,
        extends: extends.to_vec(),
        ..Interface::default()
    };
    let interfaces = vec![interface(1, &[2, 2]), interface(2, &[1])];
    let types = Types::new(Description {
        interfaces,
        ..Description::default()
    })
    .unwrap();
    let ids: Vec<u64> = types
        .lineage(1)
        .iter()
        .map(|interface| interface.id)
        .collect();
    assert_eq!(ids, [1, 2]);
}
