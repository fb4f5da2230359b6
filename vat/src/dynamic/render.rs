//! Descriptions for people and for scripts: what `vat describe` shows.

use std::collections::{BTreeSet, VecDeque};
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
            .own_methods(interface)
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
    seen: BTreeSet<u64>,
    waiting: VecDeque<Type>,
}

impl<'a> Used<'a> {
    /// All that the root's methods reach, without the root itself and what it extends; of a type
    /// that was described alone, the type with all it reaches.
    fn by_root(types: &'a Types) -> Self {
        let mut used = Self::default();
        match types.root() {
            Some(root) => {
                let lineage = types.lineage(root.id);
                used.seen
                    .extend(lineage.iter().map(|interface| interface.id));
                for interface in lineage {
                    used.signatures(types, interface);
                }
            }
            None => {
                let id = types.description().root;
                used.waiting = VecDeque::from([Type::Struct(id), Type::Enum(id)]);
            }
        }
        while let Some(ty) = used.waiting.pop_front() {
            used.meet(types, ty);
        }
        used
    }

    fn meet(&mut self, types: &'a Types, ty: Type) {
        match ty {
            Type::List(element) => self.waiting.push_front(*element),
            Type::Group(id) => self.members(types, types.structure(id).ok()),
            Type::Struct(id) => {
                if let Ok(structure) = types.structure(id)
                    && self.seen.insert(id)
                {
                    self.structs.push(structure);
                    self.members(types, Some(structure));
                }
            }
            Type::Enum(id) => {
                if let Ok(enumeration) = types.enumeration(id)
                    && self.seen.insert(id)
                {
                    self.enums.push(enumeration);
                }
            }
            Type::Interface(id) => {
                if let Ok(interface) = types.interface(id)
                    && self.seen.insert(id)
                {
                    self.interfaces.push(interface);
                    let extends = interface.extends.iter();
                    self.waiting.extend(extends.map(|id| Type::Interface(*id)));
                    self.signatures(types, interface);
                }
            }
            _ => {}
        }
    }

    fn signatures(&mut self, types: &'a Types, interface: &'a Interface) {
        for method in types.own_methods(interface) {
            self.members(types, Some(method.params));
            self.members(types, Some(method.results));
        }
    }

    fn members(&mut self, types: &'a Types, structure: Option<&'a Struct>) {
        let fields = structure
            .into_iter()
            .flat_map(|structure| &structure.fields);
        let members = fields.map(|field| plain_type(types, field).0.clone());
        self.waiting.extend(members);
    }
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
            self.parameter_docs(method.params);
        }
    }

    fn parameter_docs(&mut self, params: &Struct) {
        for field in params.fields.iter().filter(|field| !field.doc.is_empty()) {
            let mut lines = field.doc.lines();
            let first = lines.next().unwrap_or_default();
            self.line(2, &format!("{}: {first}", shown(&field.name)));
            lines.for_each(|line| self.line(3, line));
        }
    }

    /// An interface that occurs in a signature: for calls on what comes back.
    fn interface(&mut self, interface: &Interface) {
        self.blank();
        let extends = interface.extends.iter();
        let extends: Vec<String> = extends
            .map(|id| self.types.type_name(&Type::Interface(*id)))
            .collect();
        let also = match extends.as_slice() {
            [] => String::new(),
            names => format!(": {}", names.join(", ")),
        };
        let name = short_name(&interface.name);
        self.line(0, &format!("interface {name}{also}"));
        self.doc(1, &interface.doc);
        for method in self.types.own_methods(interface) {
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

/// Docs come from a peer: what could move the cursor of a terminal, or turn the direction of what
/// follows, is not shown.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        let turns = matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            '\u{FFFD}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
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
