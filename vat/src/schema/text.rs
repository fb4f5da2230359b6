//! The `.capnp` text of a description, as a person would have written it.
//!
//! The text is a function of the description alone. Every type has its id written out, so that
//! renaming and moving change nothing on the wire.
//!
//! ```
//! use vat::data::Record;
//!
//! /// A line in the guestbook.
//! #[derive(Clone, vat::Data)]
//! #[data(name = "guestbook::Entry", id = 0xf1d2_c3b4_a596_8778)]
//! struct Entry {
//!     number: u64,
//!     signed_by: String,
//!     #[data(default = 3)]
//!     stars: u8,
//! }
//!
//! let mut types = vat::schema::Registry::default();
//! types.record::<Entry>();
//! let description = types.into_description(Entry::ID);
//! let text = vat::schema::text::to_text(&description, "guestbook.capnp");
//! assert!(text.contains("struct Entry @0xf1d2c3b4a5968778 {"));
//! assert!(text.contains("  signedBy @1 :Text;\n  stars @2 :UInt8 = 3;\n}"));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::id;
use super::model::{Description, Enum, Field, Interface, Method, Struct, Type, Value};

/// The text of everything in the description, as one file.
///
/// `file` is the file's path as others would import it (`shop/basket.capnp`); the file's id follows
/// from it.
pub fn to_text(description: &Description, file: &str) -> String {
    let texts = to_files(description, |_| file.to_owned());
    texts.into_values().next().unwrap_or_else(|| header(file))
}

/// The texts of everything in the description: `place` tells for each full name (`package::Name`)
/// the file it is declared in. What a file needs from another one, it imports.
pub fn to_files(
    description: &Description,
    place: impl Fn(&str) -> String,
) -> BTreeMap<String, String> {
    let printer = Printer::new(description, place);
    let files: BTreeSet<&String> = printer.declarations.values().map(|one| &one.file).collect();
    files
        .into_iter()
        .map(|file| (file.clone(), printer.file(file)))
        .collect()
}

/// The file of a type when there is one file per package: `package.capnp`.
pub fn file_of_package(full_name: &str) -> String {
    format!("{}.capnp", full_name.split("::").next().unwrap_or("types"))
}

fn header(file: &str) -> String {
    format!(
        "@{:#018x};\n# Printed from the Rust types of the same names.\n",
        id::of_name(file)
    )
}

/// A type that is declared on its own.
struct Declaration<'a> {
    file: String,
    full_name: &'a str,
    node: Node<'a>,
}

#[derive(Clone, Copy)]
enum Node<'a> {
    Interface(&'a Interface),
    Struct(&'a Struct),
    Enum(&'a Enum),
}

struct Printer<'a> {
    description: &'a Description,
    declarations: BTreeMap<u64, Declaration<'a>>,
}

impl<'a> Printer<'a> {
    fn new(description: &'a Description, place: impl Fn(&str) -> String) -> Self {
        let interfaces = description.interfaces.iter();
        let interfaces = interfaces.map(|one| (one.id, &one.name, Node::Interface(one)));
        let inline = inline_structs(description);
        let structs = description
            .structs
            .iter()
            .filter(|one| !inline.contains(&one.id));
        let structs = structs.map(|one| (one.id, &one.name, Node::Struct(one)));
        let enums = description
            .enums
            .iter()
            .map(|one| (one.id, &one.name, Node::Enum(one)));
        let declarations = interfaces
            .chain(structs)
            .chain(enums)
            .map(|(id, full_name, node)| {
                (
                    id,
                    Declaration {
                        file: place(full_name),
                        full_name,
                        node,
                    },
                )
            });
        Self {
            description,
            declarations: declarations.collect(),
        }
    }

    fn file(&self, file: &str) -> String {
        let own: Vec<(u64, &Declaration<'a>)> = self
            .declarations
            .iter()
            .filter(|(_, declaration)| declaration.file == file)
            .map(|(id, declaration)| (*id, declaration))
            .collect();
        let mut needed = BTreeSet::new();
        for (_, declaration) in &own {
            self.needs(declaration.node, &mut needed);
        }
        let foreign: Vec<(u64, &Declaration<'a>)> = needed
            .into_iter()
            .filter_map(|id| Some((id, self.declarations.get(&id)?)))
            .filter(|(_, declaration)| declaration.file != file)
            .collect();
        let mut page = Page {
            description: self.description,
            names: self.names(file),
        };
        let mut text = header(file);
        if !foreign.is_empty() {
            text.push('\n');
        }
        for (id, declaration) in foreign {
            let there = self
                .names(&declaration.file)
                .remove(&id)
                .unwrap_or_default();
            let here = page.import(id, &there, declaration.full_name);
            let file = &declaration.file;
            line(
                &mut text,
                0,
                &format!("using {here} = import \"/{file}\".{there};"),
            );
        }
        let mut own = own;
        own.sort_by_key(|(id, _)| page.name(*id));
        for (_, declaration) in own {
            text.push('\n');
            match declaration.node {
                Node::Interface(interface) => page.interface(&mut text, interface),
                Node::Struct(structure) => page.structure(&mut text, structure),
                Node::Enum(enumeration) => page.enumeration(&mut text, enumeration),
            }
        }
        text
    }

    /// The names of the types that are declared in a file.
    fn names(&self, file: &str) -> BTreeMap<u64, String> {
        let own = self
            .declarations
            .iter()
            .filter(|(_, declaration)| declaration.file == file);
        names(own.map(|(id, declaration)| (*id, declaration.full_name)))
    }

    /// The ids of the types that a declaration names.
    fn needs(&self, node: Node<'_>, needed: &mut BTreeSet<u64>) {
        match node {
            Node::Enum(_) => {}
            Node::Struct(structure) => self.needs_of_fields(structure, needed),
            Node::Interface(interface) => {
                needed.extend(&interface.extends);
                for list in interface
                    .methods
                    .iter()
                    .flat_map(|one| [one.params, one.results])
                {
                    if self.declarations.contains_key(&list) {
                        needed.insert(list);
                    } else if let Some(structure) = self.description.structure(list) {
                        self.needs_of_fields(structure, needed);
                    }
                }
            }
        }
    }

    fn needs_of_fields(&self, structure: &Struct, needed: &mut BTreeSet<u64>) {
        for field in &structure.fields {
            let mut ty = &field.ty;
            while let Type::List(element) = ty {
                ty = element;
            }
            match ty {
                Type::Enum(id) | Type::Struct(id) | Type::Interface(id) => {
                    needed.insert(*id);
                }
                Type::Group(id) => {
                    if let Some(group) = self.description.structure(*id) {
                        self.needs_of_fields(group, needed);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Groups and implicit parameter and result structs are printed where they are used.
fn inline_structs(description: &Description) -> BTreeSet<u64> {
    let fields = description
        .structs
        .iter()
        .flat_map(|structure| &structure.fields);
    let mut inline: BTreeSet<u64> = fields
        .filter_map(|field| match field.ty {
            Type::Group(id) => Some(id),
            _ => None,
        })
        .collect();
    for interface in &description.interfaces {
        for (method, ordinal) in interface.methods.iter().zip(0..) {
            let lists = [(method.params, false), (method.results, true)];
            let implicit = lists
                .iter()
                .filter(|(id, results)| *id == id::of_list(interface.id, ordinal, *results));
            inline.extend(implicit.map(|(id, _)| id));
        }
    }
    inline
}

/// The names in a file: the last part of the full name, or more of it where that is not unique.
fn names<'a>(types: impl Iterator<Item = (u64, &'a str)>) -> BTreeMap<u64, String> {
    let mut by_name: BTreeMap<String, Vec<(u64, &str)>> = BTreeMap::new();
    for (id, full_name) in types {
        let last = full_name.rsplit("::").next().unwrap_or(full_name);
        by_name
            .entry(capital(last))
            .or_default()
            .push((id, full_name));
    }
    let mut taken: BTreeSet<String> = by_name.keys().cloned().collect();
    let mut names = BTreeMap::new();
    for (name, mut types) in by_name {
        if let [(id, _)] = types.as_slice()
            && !BUILT_IN.contains(&name.as_str())
        {
            names.insert(*id, name);
            continue;
        }
        types.sort_unstable();
        for (id, full_name) in types {
            let mut longer: String = full_name.split("::").map(capital).collect();
            while !taken.insert(longer.clone()) {
                longer.push('X');
            }
            names.insert(id, longer);
        }
    }
    names
}

/// Names that mean something in every file.
const BUILT_IN: [&str; 18] = [
    "Void",
    "Bool",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Text",
    "Data",
    "List",
    "AnyPointer",
    "AnyStruct",
    "Capability",
];

/// With a capital first, and only what a name may contain.
fn capital(name: &str) -> String {
    let mut capital = String::new();
    let mut next = true;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            next = true;
        } else if next {
            capital.push(c.to_ascii_uppercase());
            next = false;
        } else {
            capital.push(c);
        }
    }
    if !capital.starts_with(|first: char| first.is_ascii_uppercase()) {
        capital.insert(0, 'T');
    }
    capital
}

/// A file while it is printed.
struct Page<'a> {
    description: &'a Description,
    names: BTreeMap<u64, String>,
}

impl Page<'_> {
    fn name(&self, id: u64) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("Unknown{id:x}"))
    }

    /// Gives a type of another file a name in this one.
    fn import(&mut self, id: u64, there: &str, full_name: &str) -> String {
        let mut name = there.to_owned();
        if self.names.values().any(|taken| *taken == name) {
            name = full_name.split("::").map(capital).collect();
        }
        while self.names.values().any(|taken| *taken == name) {
            name.push('X');
        }
        self.names.insert(id, name.clone());
        name
    }

    fn interface(&self, text: &mut String, interface: &Interface) {
        let extends: Vec<String> = interface.extends.iter().map(|id| self.name(*id)).collect();
        let extends = match extends.as_slice() {
            [] => String::new(),
            all => format!(" extends({})", all.join(", ")),
        };
        let name = self.name(interface.id);
        line(
            text,
            0,
            &format!("interface {name} @{:#018x}{extends} {{", interface.id),
        );
        doc(text, 1, &interface.doc);
        for (method, ordinal) in interface.methods.iter().zip(0..) {
            self.method(text, interface.id, method, ordinal);
        }
        line(text, 0, "}");
    }

    fn method(&self, text: &mut String, interface: u64, method: &Method, ordinal: u16) {
        let params = self.list(method.params, id::of_list(interface, ordinal, false));
        let results = self.list(method.results, id::of_list(interface, ordinal, true));
        line(
            text,
            1,
            &format!("{} @{ordinal} {params} -> {results};", member(&method.name)),
        );
        doc(text, 1, &method.doc);
    }

    /// A parameter or result list: its fields if it is implicit, else the name of its struct.
    fn list(&self, id: u64, implicit: u64) -> String {
        if id != implicit {
            return self.name(id);
        }
        let Some(structure) = self.description.structure(id) else {
            return "()".to_owned();
        };
        let mut fields: Vec<&Field> = structure.fields.iter().collect();
        fields.sort_by_key(|field| field.ordinal);
        let fields: Vec<String> = fields
            .into_iter()
            .map(|field| {
                let name = member(&field.name);
                format!("{name} :{}{}", self.ty(&field.ty), self.default(field))
            })
            .collect();
        format!("({})", fields.join(", "))
    }

    fn structure(&self, text: &mut String, structure: &Struct) {
        let name = self.name(structure.id);
        line(
            text,
            0,
            &format!("struct {name} @{:#018x} {{", structure.id),
        );
        doc(text, 1, &structure.doc);
        self.members(text, 1, structure);
        line(text, 0, "}");
    }

    fn members(&self, text: &mut String, depth: usize, structure: &Struct) {
        let (in_union, plain): (Vec<&Field>, Vec<&Field>) = structure
            .fields
            .iter()
            .partition(|field| field.variant.is_some());
        for field in plain {
            self.field(text, depth, field);
        }
        if in_union.is_empty() {
            return;
        }
        line(text, depth, "union {");
        for field in in_union {
            self.field(text, depth + 1, field);
        }
        line(text, depth, "}");
    }

    fn field(&self, text: &mut String, depth: usize, field: &Field) {
        let name = member(&field.name);
        let Type::Group(id) = field.ty else {
            let (ordinal, ty) = (field.ordinal, self.ty(&field.ty));
            line(
                text,
                depth,
                &format!("{name} @{ordinal} :{ty}{};", self.default(field)),
            );
            return doc(text, depth, &field.doc);
        };
        line(text, depth, &format!("{name} :group {{"));
        doc(text, depth + 1, &field.doc);
        // Groups that contain each other exist in no description that was checked.
        if depth < 32
            && let Some(group) = self.description.structure(id)
        {
            self.members(text, depth + 1, group);
        }
        line(text, depth, "}");
    }

    fn enumeration(&self, text: &mut String, enumeration: &Enum) {
        let name = self.name(enumeration.id);
        line(
            text,
            0,
            &format!("enum {name} @{:#018x} {{", enumeration.id),
        );
        doc(text, 1, &enumeration.doc);
        for (position, enumerant) in enumeration.enumerants.iter().enumerate() {
            line(
                text,
                1,
                &format!("{} @{position};", member(&enumerant.name)),
            );
            doc(text, 1, &enumerant.doc);
        }
        line(text, 0, "}");
    }

    fn ty(&self, ty: &Type) -> String {
        match ty {
            Type::List(element) => format!("List({})", self.ty(element)),
            Type::Enum(id) | Type::Struct(id) | Type::Group(id) | Type::Interface(id) => {
                self.name(*id)
            }
            plain => format!("{plain:?}"),
        }
    }

    fn default(&self, field: &Field) -> String {
        let Some(value) = &field.default else {
            return String::new();
        };
        let value = match value {
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::UInt(value) => value.to_string(),
            Value::Float32(value) => float(f64::from(*value), &format!("{value:?}")),
            Value::Float64(value) => float(*value, &format!("{value:?}")),
            Value::Enum(value) => self.enumerant(&field.ty, *value),
        };
        format!(" = {value}")
    }

    fn enumerant(&self, ty: &Type, value: u16) -> String {
        let Type::Enum(id) = ty else {
            return value.to_string();
        };
        let enumeration = self.description.enumeration(*id);
        let enumerant = enumeration.and_then(|one| one.enumerants.get(usize::from(value)));
        enumerant.map_or_else(|| value.to_string(), |one| member(&one.name))
    }
}

/// The literal of a float; `shortest` is its shortest decimal form.
fn float(value: f64, shortest: &str) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else {
        shortest.to_owned()
    }
}

/// A member's name, and only what a name may contain.
fn member(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn line(text: &mut String, depth: usize, content: &str) {
    let indent = depth * 2;
    let _ = writeln!(text, "{:indent$}{content}", "");
}

fn doc(text: &mut String, depth: usize, doc: &str) {
    for comment in doc.lines() {
        let printable: String = comment.chars().filter(|c| !c.is_control()).collect();
        line(text, depth, format!("# {printable}").trim_end());
    }
}
