//! Arguments as `key=value` words of a command line.

use serde_json::{Map, Value as Json};

use super::error::{ArgumentError, ArgumentProblem, ValuePath};
use super::types::{MethodOf, Types};
use super::wording::{position, positional};
use crate::schema::Type;

/// Turns `key=value` words into the object that [`arguments`](super::arguments) takes.
///
/// The parameter's type decides how a value is read: for text, enums, references and bytes the
/// word is the value, without quotes (bytes may be `{"base64": …}` too); for everything else it is
/// JSON, and a word that is not JSON is left as text, for the check to complain about. A key that
/// the method does not know is kept for the same reason.
///
/// # Errors
///
/// When a word has no `=`, or a key occurs twice.
pub fn words<'a>(
    types: &Types,
    method: MethodOf<'_>,
    words: impl IntoIterator<Item = &'a str>,
) -> Result<Json, ArgumentError> {
    let mut object = Map::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            let problem = positional(types, method.params);
            return Err(ArgumentError {
                path: ValuePath::default(),
                problem,
            });
        };
        let field = position(method.params, key).and_then(|at| method.params.fields.get(at));
        let value = field.map_or_else(|| Json::from(value), |field| read(&field.ty, value));
        if object.insert(key.to_owned(), value).is_some() {
            let mut path = ValuePath::default();
            path.push_field(key);
            let (first, second) = (key.to_owned(), key.to_owned());
            return Err(ArgumentError {
                path,
                problem: ArgumentProblem::Twice { first, second },
            });
        }
    }
    Ok(Json::Object(object))
}

fn read(ty: &Type, word: &str) -> Json {
    let json = || serde_json::from_str::<Json>(word).ok();
    let value = match ty {
        Type::Text | Type::Enum(_) | Type::Interface(_) | Type::Capability => None,
        Type::Data => json().filter(Json::is_object),
        _ => json(),
    };
    value.unwrap_or_else(|| Json::from(word))
}
