//! Collects the descriptions of types, also of types that contain themselves.

use std::any::TypeId;
use std::collections::BTreeMap;

use super::id;
use super::model::{Description, Enum, Enumerant, Field, Interface, Method, Struct, Type};
use crate::data::{Data, Layout, Record, Scalar};

/// Collects interfaces, structs and enums, each once.
///
/// A type is entered before what it contains is looked at, so a type may contain itself.
///
/// Two different types of one full name have one id. A struct or enum that is met second gets
/// another id here, as its own id does not travel in messages; give one of the two a name of its
/// own (`#[data(name = "package::Name")]`) to have an id that does not depend on the order.
#[derive(Debug, Default)]
pub struct Registry {
    interfaces: BTreeMap<u64, Interface>,
    structs: BTreeMap<u64, Struct>,
    /// The Rust types of the structs that were entered, with the id that each got.
    records: BTreeMap<TypeId, u64>,
    enums: BTreeMap<u64, Enum>,
}

/// A field before its place is filled in.
#[derive(Clone, Debug)]
pub struct FieldShape {
    field: Field,
    branch: bool,
    group: Vec<Self>,
}

impl FieldShape {
    /// A field of type `T`, which is described as `ty`. `name` is in lowerCamelCase.
    pub fn new<T: Data>(name: &str, doc: &str, ordinal: u16, ty: Type) -> Self {
        let field = Field {
            name: name.to_owned(),
            doc: doc.to_owned(),
            ordinal,
            ty,
            optional: T::OPTIONAL,
            ..Field::default()
        };
        Self {
            field,
            branch: false,
            group: Vec::new(),
        }
    }

    /// A group of fields: the payload of a variant.
    pub fn group(name: &str, doc: &str, fields: Vec<Self>) -> Self {
        let ordinal = fields
            .iter()
            .map(|field| field.field.ordinal)
            .min()
            .unwrap_or_default();
        let field = Field {
            name: name.to_owned(),
            doc: doc.to_owned(),
            ordinal,
            ..Field::default()
        };
        Self {
            field,
            branch: true,
            group: fields,
        }
    }

    /// The same as a branch of the unnamed union.
    #[must_use]
    pub fn branch(mut self) -> Self {
        self.branch = true;
        self
    }

    /// The same with a declared default.
    #[must_use]
    pub fn with_default<T: Scalar>(mut self, default: &T) -> Self {
        self.field.default = Some(default.to_value());
        self
    }
}

#[cfg(test)]
impl FieldShape {
    /// For enums that have no Rust type.
    pub(super) fn with_enum_default(mut self, value: u16) -> Self {
        self.field.default = Some(super::Value::Enum(value));
        self
    }
}

impl Registry {
    /// Describes a field of type `T`.
    pub fn field<T: Data>(&mut self, name: &str, doc: &str, ordinal: u16) -> FieldShape {
        let ty = T::describe(self);
        FieldShape::new::<T>(name, doc, ordinal, ty)
    }

    /// Enters a derived struct.
    pub fn record<R: Record>(&mut self) -> Type {
        if let Some(id) = self.records.get(&TypeId::of::<R>()) {
            return Type::Struct(*id);
        }
        let mut id = R::ID;
        while self.structs.contains_key(&id) {
            id = id::of_group(id, 0);
        }
        self.records.insert(TypeId::of::<R>(), id);
        self.enter(id, R::NAME, R::DOC, R::LAYOUT);
        let fields = R::fields(self);
        self.fill(id, R::LAYOUT, fields);
        Type::Struct(id)
    }

    /// Enters an enum without payloads; the enumerants are pairs of name and doc.
    pub fn enumeration(
        &mut self,
        id: u64,
        name: &str,
        doc: &str,
        enumerants: &[(&str, &str)],
    ) -> Type {
        let mut entered = Enum {
            id,
            name: name.to_owned(),
            doc: doc.to_owned(),
            enumerants: enumerants
                .iter()
                .map(|(name, doc)| Enumerant {
                    name: (*name).to_owned(),
                    doc: (*doc).to_owned(),
                })
                .collect(),
        };
        while self
            .enums
            .get(&entered.id)
            .is_some_and(|known| *known != entered)
        {
            entered.id = id::of_group(entered.id, 0);
        }
        let id = entered.id;
        self.enums.insert(id, entered);
        Type::Enum(id)
    }

    /// Enters an interface; `fill` adds what it extends and its methods in the order of their
    /// ordinals.
    pub fn interface(
        &mut self,
        id: u64,
        name: &str,
        doc: &str,
        fill: impl FnOnce(&mut InterfaceShape<'_>),
    ) -> Type {
        if !self.interfaces.contains_key(&id) {
            let interface = Interface {
                id,
                name: name.to_owned(),
                doc: doc.to_owned(),
                ..Interface::default()
            };
            self.interfaces.insert(id, interface.clone());
            let mut shape = InterfaceShape {
                types: self,
                interface,
            };
            fill(&mut shape);
            let interface = shape.interface;
            self.interfaces.insert(id, interface);
        }
        Type::Interface(id)
    }

    /// Enters a struct that the mapping itself needs: an optional number, an entry of a map. It is
    /// named after what it is for and holds, and belongs to the package `vat`.
    pub fn helper(
        &mut self,
        purpose: &str,
        holds: &[Type],
        layout: Layout,
        fields: Vec<FieldShape>,
    ) -> Type {
        let held: Vec<String> = holds.iter().map(|ty| self.full_name(ty)).collect();
        let id = id::of_name(&format!("vat::{purpose}({})", held.join(", ")));
        if !self.structs.contains_key(&id) {
            let short: String = holds.iter().map(|ty| self.short_name(ty)).collect();
            self.enter(id, &format!("vat::{purpose}{short}"), "", layout);
            self.fill(id, layout, fields);
        }
        Type::Struct(id)
    }

    /// Everything that was entered.
    pub fn into_description(self, root: u64) -> Description {
        Description {
            root,
            interfaces: self.interfaces.into_values().collect(),
            structs: self.structs.into_values().collect(),
            enums: self.enums.into_values().collect(),
        }
    }

    pub(super) fn enter(&mut self, id: u64, name: &str, doc: &str, layout: Layout) {
        let entered = Struct {
            id,
            name: name.to_owned(),
            doc: doc.to_owned(),
            data_words: layout.size.data,
            pointers: layout.size.pointers,
            discriminant: layout.discriminant,
            fields: Vec::new(),
        };
        self.structs.insert(id, entered);
    }

    pub(super) fn fill(&mut self, id: u64, layout: Layout, shapes: Vec<FieldShape>) {
        let mut order: Vec<u16> = shapes.iter().map(|shape| shape.field.ordinal).collect();
        order.sort_unstable();
        let fields = shapes
            .into_iter()
            .map(|shape| {
                let position = order.partition_point(|ordinal| *ordinal < shape.field.ordinal);
                self.placed(id, position, layout, shape)
            })
            .collect();
        if let Some(structure) = self.structs.get_mut(&id) {
            structure.fields = fields;
        }
    }

    fn placed(&mut self, id: u64, position: usize, layout: Layout, shape: FieldShape) -> Field {
        let FieldShape {
            mut field,
            branch,
            group,
        } = shape;
        let slot = layout
            .slots
            .get(usize::from(field.ordinal))
            .copied()
            .unwrap_or_default();
        field.variant = branch.then_some(slot.variant);
        if group.is_empty() {
            field.offset = slot.offset;
            return field;
        }
        let group_id = id::of_group(id, u16::try_from(position).unwrap_or(u16::MAX));
        let parent = self
            .structs
            .get(&id)
            .map(|parent| parent.name.clone())
            .unwrap_or_default();
        let layout = Layout {
            discriminant: None,
            ..layout
        };
        self.enter(group_id, &format!("{parent}.{}", field.name), "", layout);
        self.fill(group_id, layout, group);
        field.ty = Type::Group(group_id);
        field
    }

    fn full_name(&self, ty: &Type) -> String {
        match ty {
            Type::List(element) => format!("List({})", self.full_name(element)),
            Type::Enum(id) | Type::Struct(id) | Type::Group(id) | Type::Interface(id) => {
                self.name_of(*id).to_owned()
            }
            plain => format!("{plain:?}"),
        }
    }

    fn short_name(&self, ty: &Type) -> String {
        match ty {
            Type::List(element) => format!("{}List", self.short_name(element)),
            Type::Enum(id) | Type::Struct(id) | Type::Group(id) | Type::Interface(id) => {
                let name = self.name_of(*id);
                name.rsplit("::").next().unwrap_or(name).to_owned()
            }
            plain => format!("{plain:?}"),
        }
    }

    fn name_of(&self, id: u64) -> &str {
        let structs = self.structs.get(&id).map(|entered| entered.name.as_str());
        structs
            .or_else(|| self.enums.get(&id).map(|entered| entered.name.as_str()))
            .or_else(|| {
                self.interfaces
                    .get(&id)
                    .map(|entered| entered.name.as_str())
            })
            .unwrap_or_default()
    }
}

/// An interface while its methods are added.
#[derive(Debug)]
pub struct InterfaceShape<'a> {
    types: &'a mut Registry,
    interface: Interface,
}

impl InterfaceShape<'_> {
    /// The types known so far: for what the interface extends.
    pub fn types(&mut self) -> &mut Registry {
        self.types
    }

    /// Says that the interface extends another: `R` is its reference type.
    pub fn extends<R: Data>(&mut self) {
        if let Type::Interface(id) = R::describe(self.types) {
            self.interface.extends.push(id);
        }
    }

    /// Adds the next method: its parameters are the fields of `P`, its results those of `R`.
    pub fn method<P: Record, R: Record>(&mut self, name: &str, doc: &str) {
        let (params, results) = (P::fields(self.types), R::fields(self.types));
        self.method_of(name, doc, (P::LAYOUT, params), (R::LAYOUT, results));
    }

    /// The same for a method that only reads.
    pub fn read<P: Record, R: Record>(&mut self, name: &str, doc: &str) {
        self.method::<P, R>(name, doc);
        if let Some(method) = self.interface.methods.last_mut() {
            method.reads = true;
        }
    }

    /// The last method stops when its caller gives up.
    pub fn cancellable(&mut self) {
        if let Some(method) = self.interface.methods.last_mut() {
            method.cancellable = true;
        }
    }

    #[cfg(test)]
    pub(super) fn extends_id(&mut self, id: u64) {
        self.interface.extends.push(id);
    }

    pub(super) fn method_of(
        &mut self,
        name: &str,
        doc: &str,
        params: (Layout, Vec<FieldShape>),
        results: (Layout, Vec<FieldShape>),
    ) {
        let params = self.list(name, false, params);
        let results = self.list(name, true, results);
        self.interface.methods.push(Method {
            name: name.to_owned(),
            doc: doc.to_owned(),
            params,
            results,
            reads: false,
            cancellable: false,
        });
    }

    fn list(
        &mut self,
        method: &str,
        results: bool,
        (layout, fields): (Layout, Vec<FieldShape>),
    ) -> u64 {
        let ordinal = u16::try_from(self.interface.methods.len()).unwrap_or(u16::MAX);
        let id = id::of_list(self.interface.id, ordinal, results);
        let which = if results { "Results" } else { "Params" };
        let name = format!("{}.{method}${which}", self.interface.name);
        self.types.enter(id, &name, "", layout);
        self.types.fill(id, layout, fields);
        id
    }
}
