//! A call to try: made from a description alone.

use vat::dynamic::{Types, shown};
use vat::schema::{Field, Type};

/// The first method that can be called with words anybody can type, with such words.
pub(crate) fn call(types: &Types) -> Option<String> {
    let root = types.description().root;
    types.methods(root).into_iter().find_map(|method| {
        let mut words = vec![shown(&method.method.name)];
        for field in &method.params.fields {
            if field.optional || field.default.is_some() {
                continue;
            }
            words.push(format!("{}={}", shown(&field.name), value(field)?));
        }
        Some(words.join(" "))
    })
}

fn value(field: &Field) -> Option<&'static str> {
    Some(match (&field.ty, field.name.as_str()) {
        (Type::Text, "name") => "Ann",
        (Type::Text, _) => "hello",
        (Type::Bool, _) => "true",
        (
            Type::Int8
            | Type::Int16
            | Type::Int32
            | Type::Int64
            | Type::UInt8
            | Type::UInt16
            | Type::UInt32
            | Type::UInt64
            | Type::Float32
            | Type::Float64,
            _,
        ) => "1",
        _ => return None,
    })
}
