//! Descriptions for people and for scripts: what `vat describe` shows.

use std::collections::VecDeque;
use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::chain::only_value;
use super::name::shown;
use super::scalar::from_bits;
use super::types::{MethodOf, Types, default_bits, short_name};
use super::wording::is_union;
use crate::schema::{Enum, Field, Interface, Struct, Type};

/// A description as text: the interface's methods with their docs, then the types they use.
///
/// It ends with a newline. Nothing in it is coloured, and no line is broken that the docs do not
/// break.
pub fn text(types: &Types) -> String {
    let mut page = Page {
        types,
        out: String::new(),
    };
    let used = Used::by_root(types);
    if let Some(root) = types.root() {
        page.root(root);
    }
    for structure in &used.structs {
        page.structure(structure);
    }
    for enumeration in &used.enums {
        page.enumeration(enumeration);
    }
    for interface in &used.interfaces {
        page.interface(interface);
    }
    page.out
}

/// A description as JSON: the interface with all methods, and under `types` what they use. Types
/// are texts like `List(demo::Entry)`.
pub fn json(types: &Types) -> Json {
    let sheet = Sheet { types };
    let used = Used::by_root(types);
    let structs = used
        .structs
        .iter()
        .map(|structure| sheet.structure(structure));
    let enums = used
        .enums
        .iter()
        .map(|enumeration| sheet.enumeration(enumeration));
    let interfaces = used.interfaces.iter().map(|interface| {
        let own = types
            .methods(interface.id)
            .into_iter()
            .map(|method| sheet.method(method));
        json!({
            "kind": "interface",
            "name": interface.name,
            "id": hex(interface.id),
            "doc": interface.doc,
            "extends": sheet.extends(interface),
            "methods": own.collect::<Json>(),
        })
    });
    let used: Json = structs.chain(enums).chain(interfaces).collect();
    match types.root() {
        Some(root) => json!({
            "interface": root.name,
            "id": hex(root.id),
            "doc": root.doc,
            "extends": sheet.extends(root),
            "methods": types
                .methods(root.id)
                .into_iter()
                .map(|method| sheet.method(method))
                .collect::<Json>(),
            "types": used,
        }),
        None => json!({ "types": used }),
    }
}

/// A method as one line: `page(from: UInt64 = 0, count: UInt64) -> List(Entry)`.
pub fn signature(types: &Types, method: MethodOf<'_>) -> String {
    let list = |structure: &Struct| {
        let members: Vec<String> = structure
            .fields
            .iter()
            .map(|field| member(types, field))
            .collect();
        members.join(", ")
    };
    let head = format!("{}({})", shown(&method.method.name), list(method.params));
    match only_value(method.results) {
        Some(value) => format!("{head} -> {}", field_type(types, value)),
        None if method.results.fields.is_empty() => head,
        None => format!("{head} -> ({})", list(method.results)),
    }
}

/// `name: Type`, with `?` after the type of what may be absent, and ` = default`.
fn member(types: &Types, field: &Field) -> String {
    let name = shown(&field.name);
    if field.ty == Type::Void {
        return name;
    }
    let member = format!("{name}: {}", field_type(types, field));
    match default_json(types, field) {
        Some(Json::String(name)) => format!("{member} = {name}"),
        Some(value) => format!("{member} = {value}"),
        None => member,
    }
}

fn field_type(types: &Types, field: &Field) -> String {
    let (ty, mark) = plain_type(types, field);
    match ty {
        Type::Group(id) => match types.structure(*id) {
            Ok(group) => {
                let members: Vec<String> = group
                    .fields
                    .iter()
                    .map(|field| member(types, field))
                    .collect();
                format!("{{ {} }}", members.join(", "))
            }
            Err(_) => types.type_name(ty),
        },
        ty => format!("{}{mark}", types.type_name(ty)),
    }
}

/// The type of a field without what carries an optional number, and `?` if it may be absent.
fn plain_type<'a>(types: &'a Types, field: &'a Field) -> (&'a Type, &'static str) {
    let ty = types
        .optional_scalar(field)
        .map_or(&field.ty, |carried| &carried.ty);
    (ty, if field.optional { "?" } else { "" })
}

fn default_json(types: &Types, field: &Field) -> Option<Json> {
    let bits = default_bits(&field.ty, field.default.as_ref()?)?;
    match &field.ty {
        Type::Enum(id) => {
            let enumeration = types.enumeration(*id).ok()?;
            let known = enumeration.enumerants.get(usize::try_from(bits).ok()?);
            Some(known.map_or_else(|| json!(bits), |known| json!(shown(&known.name))))
        }
        ty => Some(from_bits(ty, bits)),
    }
}

fn hex(id: u64) -> String {
    format!("{id:#018x}")
}

/// The types that an interface's methods reach, in the order in which a reader meets them.
#[derive(Default)]
struct Used<'a> {
    structs: Vec<&'a Struct>,
    enums: Vec<&'a Enum>,
    interfaces: Vec<&'a Interface>,
}

impl<'a> Used<'a> {
    /// All that the root's methods reach, without the root itself and what it extends; of a type
    /// that was described alone, all that is there.
    fn by_root(types: &'a Types) -> Self {
        let mut used = Self::default();
        let description = types.description();
        let Some(root) = types.root() else {
            used.follow(types, VecDeque::from([Type::Struct(description.root)]));
            used.enums.extend(types.enumeration(description.root));
            return used;
        };
        used.interfaces.extend(types.lineage(root.id));
        let inherited = used.interfaces.len();
        used.follow(types, Self::of_interface(types, root.id));
        used.interfaces.drain(..inherited);
        used
    }

    fn of_interface(types: &Types, interface: u64) -> VecDeque<Type> {
        let methods = types.methods(interface).into_iter();
        let fields = methods.flat_map(|method| [method.params, method.results]);
        fields
            .flat_map(|structure| &structure.fields)
            .map(|field| plain_type(types, field).0.clone())
            .collect()
    }

    fn follow(&mut self, types: &'a Types, mut waiting: VecDeque<Type>) {
        while let Some(ty) = waiting.pop_front() {
            match ty {
                Type::List(element) => waiting.push_front(*element),
                Type::Struct(id) => {
                    if let Some(structure) = add(&mut self.structs, types.structure(id).ok()) {
                        waiting.extend(members(types, structure));
                    }
                }
                Type::Group(id) => {
                    let group = types.structure(id).ok();
                    waiting.extend(group.into_iter().flat_map(|group| members(types, group)));
                }
                Type::Enum(id) => drop(add(&mut self.enums, types.enumeration(id).ok())),
                Type::Interface(id) => {
                    if let Some(new) = add(&mut self.interfaces, types.interface(id).ok()) {
                        waiting.extend(Self::of_interface(types, new.id));
                    }
                }
                _ => {}
            }
        }
    }
}

fn members<'a>(types: &'a Types, structure: &'a Struct) -> impl Iterator<Item = Type> + use<'a> {
    structure
        .fields
        .iter()
        .map(|field| plain_type(types, field).0.clone())
}

/// Adds what is not there yet, and says so.
fn add<'a, T>(list: &mut Vec<&'a T>, found: Option<&'a T>) -> Option<&'a T> {
    let new = found.filter(|new| !list.iter().any(|known| std::ptr::eq(*known, *new)));
    list.extend(new);
    new
}

/// The text form while it is written.
struct Page<'a> {
    types: &'a Types,
    out: String,
}

impl Page<'_> {
    fn root(&mut self, root: &Interface) {
        self.line(0, &format!("interface {} ({})", root.name, hex(root.id)));
        self.doc(1, &root.doc);
        let mut from = root.id;
        for method in self.types.methods(root.id) {
            if method.interface.id != from {
                from = method.interface.id;
                self.blank();
                self.line(1, &format!("from {}:", method.interface.name));
            }
            self.blank();
            self.line(1, &signature(self.types, method));
            self.doc(2, &method.method.doc);
        }
    }

    /// An interface that occurs in a signature: without docs, for calls on what comes back.
    fn interface(&mut self, interface: &Interface) {
        self.blank();
        self.line(0, &format!("interface {}", short_name(&interface.name)));
        self.doc(1, &interface.doc);
        for method in self.types.methods(interface.id) {
            self.line(1, &signature(self.types, method));
        }
    }

    fn structure(&mut self, structure: &Struct) {
        let name = short_name(&structure.name);
        let is_union = is_union(structure);
        self.blank();
        self.line(
            0,
            &format!("{} {name}", if is_union { "one of" } else { "struct" }),
        );
        self.doc(1, &structure.doc);
        for field in structure
            .fields
            .iter()
            .filter(|field| field.variant.is_none())
        {
            self.field(1, field);
        }
        if structure.discriminant.is_some() && !is_union {
            self.line(1, "and one of");
        }
        for field in structure
            .fields
            .iter()
            .filter(|field| field.variant.is_some())
        {
            self.field(if is_union { 1 } else { 2 }, field);
        }
    }

    fn field(&mut self, level: usize, field: &Field) {
        self.line(level, &member(self.types, field));
        self.doc(level + 1, &field.doc);
    }

    fn enumeration(&mut self, enumeration: &Enum) {
        self.blank();
        self.line(0, &format!("enum {}", short_name(&enumeration.name)));
        self.doc(1, &enumeration.doc);
        for enumerant in &enumeration.enumerants {
            self.line(1, &shown(&enumerant.name));
            self.doc(2, &enumerant.doc);
        }
    }

    fn doc(&mut self, level: usize, doc: &str) {
        for line in doc.lines() {
            self.line(level, line);
        }
    }

    fn line(&mut self, level: usize, text: &str) {
        let width = if text.is_empty() { 0 } else { level * 4 };
        let text = printable(text);
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.out, "{:width$}{text}", "");
    }

    fn blank(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }
}

/// Names and docs come from a peer: what could move the cursor of a terminal is not shown.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// The JSON form.
struct Sheet<'a> {
    types: &'a Types,
}

impl Sheet<'_> {
    fn extends(&self, interface: &Interface) -> Json {
        let name = |id: &u64| match self.types.interface(*id) {
            Ok(interface) => json!(interface.name),
            Err(_) => json!(hex(*id)),
        };
        interface.extends.iter().map(name).collect()
    }

    fn method(&self, method: MethodOf<'_>) -> Json {
        let mut entry = json!({
            "name": shown(&method.method.name),
            "doc": method.method.doc,
            "interface": method.interface.name,
            "ordinal": method.ordinal,
            "signature": signature(self.types, method),
            "params": self.fields(method.params),
        });
        match only_value(method.results) {
            Some(value) => put(&mut entry, "result", self.field(value)),
            None => put(&mut entry, "results", self.fields(method.results)),
        }
        entry
    }

    fn structure(&self, structure: &Struct) -> Json {
        json!({
            "kind": if is_union(structure) { "union" } else { "struct" },
            "name": structure.name,
            "id": hex(structure.id),
            "doc": structure.doc,
            "fields": self.fields(structure),
        })
    }

    fn enumeration(&self, enumeration: &Enum) -> Json {
        let values = enumeration
            .enumerants
            .iter()
            .map(|value| json!({ "name": shown(&value.name), "doc": value.doc }));
        json!({
            "kind": "enum",
            "name": enumeration.name,
            "id": hex(enumeration.id),
            "doc": enumeration.doc,
            "values": values.collect::<Json>(),
        })
    }

    fn fields(&self, structure: &Struct) -> Json {
        structure
            .fields
            .iter()
            .map(|field| self.field(field))
            .collect()
    }

    fn field(&self, field: &Field) -> Json {
        let (ty, _) = plain_type(self.types, field);
        let mut entry = json!({
            "name": shown(&field.name),
            "type": self.full_name(ty),
            "doc": field.doc,
            "optional": field.optional,
        });
        if let Some(default) = default_json(self.types, field) {
            put(&mut entry, "default", default);
        }
        if field.variant.is_some() {
            put(&mut entry, "variant", json!(true));
        }
        if let Type::Group(id) = ty
            && let Ok(group) = self.types.structure(*id)
        {
            put(&mut entry, "fields", self.fields(group));
        }
        entry
    }

    fn full_name(&self, ty: &Type) -> String {
        let name = match ty {
            Type::List(element) => return format!("List({})", self.full_name(element)),
            Type::Group(_) => return "Group".to_owned(),
            Type::Enum(id) => self.types.enumeration(*id).map(|found| &found.name),
            Type::Struct(id) => self.types.structure(*id).map(|found| &found.name),
            Type::Interface(id) => self.types.interface(*id).map(|found| &found.name),
            plain => return self.types.type_name(plain),
        };
        name.cloned().unwrap_or_else(|_| self.types.type_name(ty))
    }
}

/// Adds a member to an object.
fn put(entry: &mut Json, key: &str, value: Json) {
    if let Json::Object(members) = entry {
        members.insert(key.to_owned(), value);
    }
}
