//! What the compiler hands to its plugins, compared with a description.

use capnp::message::{Reader, ReaderOptions};
use capnp::schema_capnp::{code_generator_request, field, node, type_, value};
use capnp::serialize::OwnedSegments;

use super::super::{Description, Enum, Field, Interface, Struct, Type, Value};

/// The compiler's view of some files.
pub(super) struct Request(Reader<OwnedSegments>);

/// Collects what differs.
struct Differences(Vec<String>);

impl Differences {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "most are made for the comparison"
    )]
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, compiler: T, ours: T) {
        if compiler != ours {
            self.0.push(format!(
                "{what}: the compiler says {compiler:?}, we say {ours:?}"
            ));
        }
    }
}

impl Request {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(capnp::serialize::read_message(bytes, ReaderOptions::new()).unwrap())
    }

    /// What differs between the compiler's view and the description.
    pub(super) fn differences(&self, description: &Description) -> Vec<String> {
        let mut differences = Differences(Vec::new());
        for structure in &description.structs {
            self.structure(structure, &mut differences);
        }
        for enumeration in &description.enums {
            self.enumeration(enumeration, &mut differences);
        }
        for interface in &description.interfaces {
            self.interface(interface, &mut differences);
        }
        differences.0
    }

    fn node(&self, id: u64) -> Option<node::Reader<'_>> {
        let request: code_generator_request::Reader<'_> = self.0.get_root().unwrap();
        request
            .get_nodes()
            .unwrap()
            .iter()
            .find(|node| node.get_id() == id)
    }

    fn structure(&self, ours: &Struct, differences: &mut Differences) {
        let name = &ours.name;
        let Some(node) = self.node(ours.id) else {
            return differences
                .0
                .push(format!("{name}: the compiler has no node {:#x}", ours.id));
        };
        let node::Struct(theirs) = node.which().unwrap() else {
            return differences.0.push(format!("{name}: not a struct"));
        };
        differences.expect(name, theirs.get_data_word_count(), ours.data_words);
        differences.expect(name, theirs.get_pointer_count(), ours.pointers);
        let union = (theirs.get_discriminant_count() > 0).then(|| theirs.get_discriminant_offset());
        differences.expect(name, union, ours.discriminant);
        let fields = theirs.get_fields().unwrap();
        differences.expect(name, fields.len() as usize, ours.fields.len());
        for field in &ours.fields {
            let called = |theirs: &field::Reader<'_>| {
                theirs.get_name().unwrap().to_str().unwrap() == field.name
            };
            match fields.iter().find(called) {
                Some(theirs) => self::field(name, theirs, field, differences),
                None => differences
                    .0
                    .push(format!("{name}.{} is not there", field.name)),
            }
        }
    }

    fn enumeration(&self, ours: &Enum, differences: &mut Differences) {
        let Some(node) = self.node(ours.id) else {
            return differences
                .0
                .push(format!("{}: the compiler has no such node", ours.name));
        };
        let node::Enum(theirs) = node.which().unwrap() else {
            return differences.0.push(format!("{}: not an enum", ours.name));
        };
        let theirs = theirs.get_enumerants().unwrap();
        let theirs = theirs
            .iter()
            .map(|one| one.get_name().unwrap().to_string().unwrap());
        let names = ours
            .enumerants
            .iter()
            .map(|enumerant| enumerant.name.clone());
        differences.expect(&ours.name, theirs.collect::<Vec<_>>(), names.collect());
    }

    fn interface(&self, ours: &Interface, differences: &mut Differences) {
        let Some(node) = self.node(ours.id) else {
            return differences
                .0
                .push(format!("{}: the compiler has no such node", ours.name));
        };
        let node::Interface(theirs) = node.which().unwrap() else {
            return differences
                .0
                .push(format!("{}: not an interface", ours.name));
        };
        let extends = theirs.get_superclasses().unwrap();
        let extends: Vec<u64> = extends.iter().map(|one| one.get_id()).collect();
        differences.expect(&ours.name, extends, ours.extends.clone());
        let methods = theirs.get_methods().unwrap();
        let methods = methods.iter().map(|method| {
            let name = method.get_name().unwrap().to_string().unwrap();
            (
                name,
                method.get_param_struct_type(),
                method.get_result_struct_type(),
            )
        });
        let ours_methods = ours
            .methods
            .iter()
            .map(|method| (method.name.clone(), method.params, method.results));
        differences.expect(
            &ours.name,
            methods.collect::<Vec<_>>(),
            ours_methods.collect(),
        );
    }
}

fn field(structure: &str, theirs: field::Reader<'_>, ours: &Field, all: &mut Differences) {
    let name = format!("{structure}.{}", ours.name);
    let variant = Some(theirs.get_discriminant_value()).filter(|value| *value != u16::MAX);
    all.expect(&name, variant, ours.variant);
    match theirs.which().unwrap() {
        field::Group(group) => all.expect(&name, Type::Group(group.get_type_id()), ours.ty.clone()),
        field::Slot(slot) => {
            if let field::ordinal::Explicit(ordinal) = theirs.get_ordinal().which().unwrap() {
                all.expect(&name, ordinal, ours.ordinal);
            }
            all.expect(&name, slot.get_offset(), ours.offset);
            all.expect(&name, ty(slot.get_type().unwrap()), ours.ty.clone());
            let default = slot.get_had_explicit_default();
            let default = default.then(|| bits(&value(slot.get_default_value().unwrap())));
            all.expect(&name, default, ours.default.as_ref().map(bits));
        }
    }
}

fn ty(theirs: type_::Reader<'_>) -> Type {
    match theirs.which().unwrap() {
        type_::Void(()) => Type::Void,
        type_::Bool(()) => Type::Bool,
        type_::Int8(()) => Type::Int8,
        type_::Int16(()) => Type::Int16,
        type_::Int32(()) => Type::Int32,
        type_::Int64(()) => Type::Int64,
        type_::Uint8(()) => Type::UInt8,
        type_::Uint16(()) => Type::UInt16,
        type_::Uint32(()) => Type::UInt32,
        type_::Uint64(()) => Type::UInt64,
        type_::Float32(()) => Type::Float32,
        type_::Float64(()) => Type::Float64,
        type_::Text(()) => Type::Text,
        type_::Data(()) => Type::Data,
        type_::List(list) => Type::List(Box::new(ty(list.get_element_type().unwrap()))),
        type_::Enum(one) => Type::Enum(one.get_type_id()),
        type_::Struct(one) => Type::Struct(one.get_type_id()),
        type_::Interface(one) => Type::Interface(one.get_type_id()),
        type_::AnyPointer(_) => Type::Capability,
    }
}

fn value(theirs: value::Reader<'_>) -> Value {
    match theirs.which().unwrap() {
        value::Bool(value) => Value::Bool(value),
        value::Int8(value) => Value::Int(value.into()),
        value::Int16(value) => Value::Int(value.into()),
        value::Int32(value) => Value::Int(value.into()),
        value::Int64(value) => Value::Int(value),
        value::Uint8(value) => Value::UInt(value.into()),
        value::Uint16(value) => Value::UInt(value.into()),
        value::Uint32(value) => Value::UInt(value.into()),
        value::Uint64(value) => Value::UInt(value),
        value::Float32(value) => Value::Float32(value),
        value::Float64(value) => Value::Float64(value),
        value::Enum(value) => Value::Enum(value),
        _ => panic!("only scalars have defaults"),
    }
}

/// A default by its bits, as a float that is no number is not equal to itself.
fn bits(value: &Value) -> (u8, u64) {
    match value {
        Value::Bool(value) => (0, u64::from(*value)),
        Value::Int(value) => (1, value.cast_unsigned()),
        Value::UInt(value) => (2, *value),
        Value::Float32(value) => (3, value.to_bits().into()),
        Value::Float64(value) => (4, value.to_bits()),
        Value::Enum(value) => (5, u64::from(*value)),
    }
}
