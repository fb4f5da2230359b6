//! Numbers, truth values and bytes between JSON and the wire.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Number, Value as Json, json};

use super::error::ArgumentProblem;
use super::types::{bits_log2, mask};
use crate::schema::Type;

/// The wire bits of a number or a truth value. Neither enums nor defaults are looked at here.
pub(super) fn to_bits(ty: &Type, value: &Json, wanted: &str) -> Result<u64, ArgumentProblem> {
    let wrong = || wrong_type(wanted, value);
    match ty {
        Type::Bool => value.as_bool().map(u64::from).ok_or_else(wrong),
        Type::Float32 => float32(float(value).ok_or_else(wrong)?, value),
        Type::Float64 => float(value).map(f64::to_bits).ok_or_else(wrong),
        _ => integer_bits(ty, value, integer(value).ok_or_else(wrong)?),
    }
}

fn integer_bits(ty: &Type, value: &Json, number: i128) -> Result<u64, ArgumentProblem> {
    let (least, greatest) = range(ty);
    if number < least || number > greatest {
        return Err(out_of_range(ty, value, least, greatest));
    }
    let width = 1_u32 << bits_log2(ty).unwrap_or(6);
    // In range, so that the low 64 bits are the number itself or its two's complement.
    let low = number.cast_unsigned() & u128::from(mask(width));
    Ok(u64::try_from(low).unwrap_or_default())
}

/// The least and the greatest value of an integer type.
fn range(ty: &Type) -> (i128, i128) {
    let width = 1_u32 << bits_log2(ty).unwrap_or(6);
    match ty {
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => {
            (-(1_i128 << (width - 1)), (1_i128 << (width - 1)) - 1)
        }
        _ => (0, (1_i128 << width) - 1),
    }
}

/// A whole number: JSON's own, one written as text (64 bits do not survive every JSON tool), or a
/// float without a fraction that is exact.
fn integer(value: &Json) -> Option<i128> {
    match value {
        Json::Number(number) => {
            let signed = number.as_i64().map(i128::from);
            signed
                .or_else(|| number.as_u64().map(i128::from))
                .or_else(|| exact(number.as_f64()?))
        }
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn exact(value: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() != 0.0 || value.abs() > EXACT {
        return None;
    }
    format!("{value:.0}").parse().ok()
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn float32(wide: f64, value: &Json) -> Result<u64, ArgumentProblem> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest f32 is meant"
    )]
    let narrow = wide as f32;
    if wide.is_finite() && narrow.is_infinite() {
        return Err(out_of_range(&Type::Float32, value, f32::MIN, f32::MAX));
    }
    Ok(u64::from(narrow.to_bits()))
}

fn out_of_range(
    ty: &Type,
    value: &Json,
    least: impl std::fmt::Display,
    greatest: impl std::fmt::Display,
) -> ArgumentProblem {
    ArgumentProblem::OutOfRange {
        value: match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        },
        ty: format!("{ty:?}"),
        least: least.to_string(),
        greatest: greatest.to_string(),
    }
}

/// The JSON form of a number or a truth value with these wire bits (the default already undone).
pub(super) fn from_bits(ty: &Type, bits: u64) -> Json {
    match ty {
        Type::Bool => json!(bits & 1 == 1),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 => {
            let unused = 64 - (1_u32 << bits_log2(ty).unwrap_or(6));
            json!((bits << unused).cast_signed() >> unused)
        }
        Type::Float32 => from_float32(f32::from_bits(u32::try_from(bits).unwrap_or_default())),
        Type::Float64 => from_float(f64::from_bits(bits)),
        _ => json!(bits),
    }
}

/// The shortest decimal that is this `f32`, not the digits of its widening to `f64`.
fn from_float32(value: f32) -> Json {
    from_float(
        value
            .to_string()
            .parse()
            .unwrap_or_else(|_| f64::from(value)),
    )
}

fn from_float(value: f64) -> Json {
    Number::from_f64(value).map_or_else(
        || {
            Json::from(match value {
                value if value.is_nan() => "NaN",
                value if value > 0.0 => "Infinity",
                _ => "-Infinity",
            })
        },
        Json::Number,
    )
}

/// Bytes: text stands for its UTF-8, `{"base64": …}` and `{"hex": …}` for what they encode, and a
/// list of numbers for itself.
pub(super) fn bytes(value: &Json, wanted: &str) -> Result<Vec<u8>, ArgumentProblem> {
    match value {
        Json::String(text) => Ok(text.clone().into_bytes()),
        Json::Object(object) => {
            encoded_bytes(object).unwrap_or_else(|| Err(wrong_type(wanted, value)))
        }
        Json::Array(items) => items
            .iter()
            .map(|item| item.as_u64().and_then(|item| u8::try_from(item).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong_type(wanted, value)),
        _ => Err(wrong_type(wanted, value)),
    }
}

/// `None` if this is not an object of the one key `base64` or `hex` with a text.
fn encoded_bytes(object: &Map<String, Json>) -> Option<Result<Vec<u8>, ArgumentProblem>> {
    let (key, Json::String(text)) = object.iter().next()? else {
        return None;
    };
    let (encoding, codec) = match key.as_str() {
        "base64" => ("base64", &BASE64),
        "hex" => ("hex", &HEXLOWER_PERMISSIVE),
        _ => return None,
    };
    let decode = || {
        codec
            .decode(text.as_bytes())
            .map_err(|error| ArgumentProblem::Encoding {
                encoding,
                reason: error.to_string(),
            })
    };
    (object.len() == 1).then(decode)
}

/// The JSON form of bytes: `{"base64": …}`, whatever they hold, so that a script knows the form.
pub(super) fn from_bytes(bytes: &[u8]) -> Json {
    json!({ "base64": BASE64.encode(bytes) })
}

/// The error for a value of the wrong kind.
pub(super) fn wrong_type(wanted: &str, found: &Json) -> ArgumentProblem {
    ArgumentProblem::WrongType {
        expected: wanted.to_owned(),
        found: found_text(found),
    }
}

/// What was found, in few words and without a long text's tail.
fn found_text(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => format!("number {number}"),
        Json::String(text) => format!("text {:?}", shortened(text)),
        Json::Array(items) => format!("a list of {}", items.len()),
        Json::Object(_) => "an object".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}
