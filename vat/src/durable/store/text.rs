//! A whole store as text, and back: one JSON object per line.
//!
//! ```text
//! {"store":1,"next":4}
//! {"root":"office","object":1}
//! {"object":1,"type":"bank.Office","version":1,"state":{"accounts":{"ann":{"$object":2}}}}
//! ```
//!
//! What JSON has no word for is an object with one key that begins with `$`: `$object` (a reference to
//! the object of that number), `$bytes` (base64), `$map` (pairs, where keys are no texts or begin with
//! `$`), `$float` (a number that JSON cannot say exactly), `$power` (what is granted in this slot),
//! `$sturdy` (the slot of a network power and a URI), `$ext` (type and base64).

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::Path;

use data_encoding::BASE64;
use redb::Database;
use rmpv::Value;
use serde_json::{Map, Value as Json, json};

use super::{Batch, Reader, Store, StoreError, tables};
use crate::durable::codec::{OBJECT_EXT, POWER_EXT, STURDY_EXT};
use crate::durable::record;

/// Objects that are imported in one transaction.
const AT_ONCE: usize = 10_000;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// What a store holds, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// How many objects.
    pub objects: u64,
    /// The names of the roots.
    pub roots: Vec<String>,
    /// How many of the objects no root leads to. They go when the store is next opened by a vat.
    pub unreachable: u64,
    /// What is wrong with it; nothing, if all is well.
    pub problems: Vec<String>,
}

impl Store {
    /// Writes everything that is in the store at `path` as text, one JSON object per line. The URIs of
    /// sturdy refs are secrets, and left out unless `reveal`; without them the text cannot be imported.
    ///
    /// # Authority
    ///
    /// Opens the path with the rights of this process.
    ///
    /// # Errors
    ///
    /// When a vat uses the store, it cannot be read, or `out` cannot be written.
    pub fn export(path: &Path, out: &mut impl Write, reveal: bool) -> Result<Contents, StoreError> {
        let (database, next) = existing(path)?;
        let reader = Reader::new(&database)?;
        let line = |out: &mut dyn Write, json: &Json| -> Result<(), StoreError> {
            serde_json::to_writer(&mut *out, json).map_err(std::io::Error::from)?;
            Ok(out.write_all(b"\n")?)
        };
        line(out, &json!({ "store": tables::LAYOUT, "next": next }))?;
        let mut contents = Contents::default();
        for (name, object) in reader.roots()? {
            line(out, &json!({ "root": name, "object": object }))?;
            contents.roots.push(name);
        }
        let mut failed = Ok(());
        reader.each(|id, record| {
            if failed.is_ok() {
                contents.objects += 1;
                failed = object_to_json(id, record, reveal).and_then(|json| line(out, &json));
            }
        })?;
        failed.map(|()| contents)
    }

    /// Makes the store at `path` from an exported text. Nothing is left there if that fails.
    ///
    /// # Authority
    ///
    /// Makes the file with the rights of this process.
    ///
    /// # Errors
    ///
    /// When there is a file already, a line of the text is wrong (the error says which one), or an
    /// object refers to one that is not in it.
    pub fn import(text: impl BufRead, path: &Path) -> Result<Contents, StoreError> {
        if path.exists() {
            let kind = std::io::ErrorKind::AlreadyExists;
            return Err(std::io::Error::from(kind).into());
        }
        let unfinished = path.with_extension("importing");
        let imported = fill(text, &unfinished);
        let done = imported.and_then(|contents| {
            std::fs::rename(&unfinished, path)?;
            Ok(contents)
        });
        if done.is_err() {
            drop(std::fs::remove_file(&unfinished)); // the first error is the one to tell
        }
        done
    }

    /// Looks at everything in the store at `path`: whether its pages are whole, every object can be
    /// read, and every reference leads to one. What a crash has left unfinished is put in order first.
    ///
    /// # Authority
    ///
    /// Opens the path with the rights of this process.
    ///
    /// # Errors
    ///
    /// When a vat uses the store, or it cannot be opened.
    pub fn check(path: &Path) -> Result<Contents, StoreError> {
        let (mut database, next) = existing(path)?;
        let mut contents = Contents::default();
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => contents
                .problems
                .push("the file was damaged, and has been repaired".to_owned()),
            Err(error) => return Err(error.into()),
        }
        look(&Reader::new(&database)?, next, &mut contents)?;
        Ok(contents)
    }
}

/// The store that is at this path.
fn existing(path: &Path) -> Result<(Database, u64), StoreError> {
    std::fs::metadata(path)?;
    let database = Store::database_at(path)?;
    let next = tables::prepare(&database)?;
    Ok((database, next))
}

fn look(reader: &Reader, next: u64, contents: &mut Contents) -> Result<(), StoreError> {
    let mut known = BTreeSet::new();
    let mut refs = std::collections::BTreeMap::new();
    let Contents {
        objects,
        roots,
        unreachable,
        problems,
    } = contents;
    reader.each(|id, record| {
        *objects += 1;
        known.insert(id);
        if id >= next {
            problems.push(format!("object {id} has a number that was not given yet"));
        }
        match record::read(record) {
            Ok((header, mut state)) => {
                if let Err(error) = rmpv::decode::read_value(&mut state) {
                    let name = &header.name;
                    problems.push(format!("object {id} ({name}) cannot be read: {error}"));
                }
                refs.insert(id, header.refs);
            }
            Err(error) => problems.push(format!("object {id} cannot be read: {error}")),
        }
    })?;
    let mut todo = Vec::new();
    for (name, id) in reader.roots()? {
        if !known.contains(&id) {
            problems.push(format!(
                "the root {name} is object {id}, which is not there"
            ));
        }
        roots.push(name);
        todo.push(id);
    }
    for (id, refs) in &refs {
        for missing in refs.iter().filter(|to| !known.contains(to)) {
            problems.push(format!(
                "object {id} refers to object {missing}, which is not there"
            ));
        }
    }
    while let Some(id) = todo.pop() {
        if known.remove(&id) {
            todo.extend(refs.get(&id).into_iter().flatten());
        }
    }
    *unreachable = known.len() as u64;
    Ok(())
}

fn fill(text: impl BufRead, path: &Path) -> Result<Contents, StoreError> {
    let database = Store::database_at(path)?;
    tables::prepare(&database)?;
    let mut batch = Batch::default();
    let mut next = None;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: String| StoreError::Text(number + 1, what);
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let json: Json = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        match next {
            None => next = Some(first_line(&json).map_err(wrong)?),
            Some(next) => other_line(&json, next, &mut batch).map_err(wrong)?,
        }
        if batch.objects.len() >= AT_ONCE {
            batch.next = next.unwrap_or(1);
            tables::commit(&database, &batch)?;
            batch = Batch::default();
        }
    }
    let nothing = || StoreError::Text(1, "there is nothing in it".to_owned());
    batch.next = next.ok_or_else(nothing)?;
    tables::commit(&database, &batch)?;
    let mut contents = Contents::default();
    look(&Reader::new(&database)?, batch.next, &mut contents)?;
    match contents.problems.first() {
        Some(problem) => Err(StoreError::Incomplete(problem.clone())),
        None => Ok(contents),
    }
}

/// Says the next number.
fn first_line(json: &Json) -> Result<u64, String> {
    match json.get("store").and_then(Json::as_u64) {
        Some(tables::LAYOUT) => {
            let next = json.get("next").and_then(Json::as_u64);
            next.ok_or_else(|| "it does not say the next number".to_owned())
        }
        Some(other) => Err(format!(
            "the text is of layout {other}, and this program knows layout {} only",
            tables::LAYOUT
        )),
        None => Err("the first line of an exported store says {\"store\":1,…}".to_owned()),
    }
}

fn other_line(json: &Json, next: u64, batch: &mut Batch) -> Result<(), String> {
    let id = json.get("object").and_then(Json::as_u64);
    let id = id.ok_or_else(|| "it has no number of an object".to_owned())?;
    if id == 0 || id >= next {
        return Err(format!(
            "object {id}: numbers are between 1 and {}",
            next.saturating_sub(1)
        ));
    }
    if let Some(root) = json.get("root") {
        let name = root.as_str().ok_or("the name of a root is a text")?;
        batch.roots.push((name.to_owned(), id));
        return Ok(());
    }
    let name = json.get("type").and_then(Json::as_str);
    let name = name.ok_or_else(|| "it has no type".to_owned())?;
    let version = json.get("version").and_then(Json::as_u64);
    let version = version.and_then(|version| u32::try_from(version).ok());
    let version = version.ok_or_else(|| "it has no version".to_owned())?;
    let state = json
        .get("state")
        .ok_or_else(|| "it has no state".to_owned())?;
    let mut refs = Vec::new();
    let mut bytes = Vec::new();
    let value = from_json(state, &mut refs)?;
    rmpv::encode::write_value(&mut bytes, &value).map_err(|error| error.to_string())?;
    let record = record::write(name, version, &refs, &bytes).map_err(|error| error.to_string())?;
    batch.objects.push((id, record));
    Ok(())
}

fn object_to_json(id: u64, record: &[u8], reveal: bool) -> Result<Json, StoreError> {
    let broken = |error: String| StoreError::Object(id, error);
    let (header, mut state) = record::read(record).map_err(|error| broken(error.to_string()))?;
    let state = rmpv::decode::read_value(&mut state);
    let state = state.map_err(|error| broken(error.to_string()))?;
    Ok(json!({
        "object": id,
        "type": header.name,
        "version": header.version,
        "state": to_json(&state, reveal),
    }))
}

/// An object with one key that begins with `$`.
fn special(key: &str, value: impl Into<Json>) -> Json {
    let mut map = Map::new();
    map.insert(key.to_owned(), value.into());
    Json::Object(map)
}

fn to_json(value: &Value, reveal: bool) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => match (value.as_u64(), value.as_i64()) {
            (Some(value), _) => value.into(),
            (None, value) => value.into(),
        },
        Value::F32(value) => float(f64::from(*value)),
        Value::F64(value) => float(*value),
        Value::String(text) => match text.as_str() {
            Some(text) => text.into(),
            None => special("$string", BASE64.encode(text.as_bytes())),
        },
        Value::Binary(bytes) => special("$bytes", BASE64.encode(bytes)),
        Value::Array(values) => values.iter().map(|value| to_json(value, reveal)).collect(),
        Value::Map(pairs) => map(pairs, reveal),
        Value::Ext(OBJECT_EXT, id) if id.len() == 8 => {
            let id = <[u8; 8]>::try_from(id.as_slice()).map_or(0, u64::from_be_bytes);
            special("$object", id)
        }
        Value::Ext(POWER_EXT, slot) => special("$power", String::from_utf8_lossy(slot)),
        Value::Ext(STURDY_EXT, text) => {
            let text = String::from_utf8_lossy(text);
            let (slot, uri) = text.split_once('\0').unwrap_or_default();
            special("$sturdy", json!([slot, if reveal { uri } else { HIDDEN }]))
        }
        Value::Ext(kind, bytes) => special("$ext", json!([kind, BASE64.encode(bytes)])),
    }
}

/// A number that is read back as it was, or its text.
fn float(value: f64) -> Json {
    let json = Json::from(value);
    let back = serde_json::from_str::<f64>(&json.to_string());
    match back {
        Ok(back) if back.to_bits() == value.to_bits() => json,
        _ => special("$float", format!("{value:?}")),
    }
}

fn map(pairs: &[(Value, Value)], reveal: bool) -> Json {
    let names: BTreeSet<&str> = pairs.iter().filter_map(|(key, _)| key.as_str()).collect();
    if names.len() < pairs.len() || names.iter().any(|name| name.starts_with('$')) {
        let pairs = pairs.iter();
        let pairs: Json = pairs
            .map(|(key, value)| json!([to_json(key, reveal), to_json(value, reveal)]))
            .collect();
        return special("$map", pairs);
    }
    let pairs = pairs.iter();
    let named =
        pairs.filter_map(|(key, value)| Some((key.as_str()?.to_owned(), to_json(value, reveal))));
    Json::Object(named.collect())
}

fn from_json(json: &Json, refs: &mut Vec<u64>) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), _, _) => value.into(),
            (None, Some(value), _) => value.into(),
            (None, None, Some(value)) => value.into(),
            _ => return Err(format!("{number} is too large a number")),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => {
            let values = values.iter().map(|value| from_json(value, refs));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Json::Object(map) => match map.iter().next() {
            Some((key, value)) if map.len() == 1 && key.starts_with('$') => {
                from_special(key, value, refs)?
            }
            _ => {
                let pairs = map.iter();
                let pairs =
                    pairs.map(|(key, value)| Ok((key.as_str().into(), from_json(value, refs)?)));
                Value::Map(pairs.collect::<Result<_, String>>()?)
            }
        },
    })
}

fn from_special(key: &str, value: &Json, refs: &mut Vec<u64>) -> Result<Value, String> {
    let bytes = |value: &Json| -> Result<Vec<u8>, String> {
        let text = value.as_str().ok_or_else(|| format!("{key} has a text"))?;
        BASE64
            .decode(text.as_bytes())
            .map_err(|error| format!("{key}: {error}"))
    };
    Ok(match (key, value) {
        ("$object", value) => {
            let id = value
                .as_u64()
                .ok_or("$object has the number of an object")?;
            refs.push(id);
            Value::Ext(OBJECT_EXT, id.to_be_bytes().to_vec())
        }
        ("$bytes", value) => Value::Binary(bytes(value)?),
        ("$string", value) => {
            return Err(format!(
                "{key}: a text that is no text cannot be imported: {value}"
            ));
        }
        ("$float", Json::String(text)) => {
            let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
            Value::F64(value)
        }
        ("$map", Json::Array(pairs)) => {
            let pair = |pair: &Json| match pair.as_array().map(Vec::as_slice) {
                Some([key, value]) => Ok((from_json(key, refs)?, from_json(value, refs)?)),
                _ => Err("$map has a list of pairs".to_owned()),
            };
            Value::Map(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        ("$power", Json::String(slot)) => Value::Ext(POWER_EXT, slot.as_bytes().to_vec()),
        ("$sturdy", Json::Array(parts)) => match parts.as_slice() {
            [_, Json::String(uri)] if uri == HIDDEN => {
                let what = "the URI of a sturdy ref was left out; export with `--reveal`";
                return Err(what.to_owned());
            }
            [Json::String(slot), Json::String(uri)] => {
                Value::Ext(STURDY_EXT, format!("{slot}\0{uri}").into_bytes())
            }
            _ => return Err("$sturdy has the name of a slot and a URI".to_owned()),
        },
        ("$ext", Json::Array(parts)) => match parts.as_slice() {
            [kind, data] => {
                let kind = kind.as_i64().and_then(|kind| i8::try_from(kind).ok());
                Value::Ext(kind.ok_or("$ext has a small number")?, bytes(data)?)
            }
            _ => return Err("$ext has a number and a text".to_owned()),
        },
        _ => return Err(format!("{key} is not known here, or not with this value")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        let text = |text: &str| Value::from(text);
        let values = vec![
            Value::Nil,
            Value::from(true),
            Value::from(u64::MAX),
            Value::from(i64::MIN),
            Value::from(0.1),
            Value::from(1.0),
            Value::from(f64::INFINITY),
            Value::from(-0.0),
            Value::from(f64::MIN_POSITIVE),
            text("a \"text\"\n"),
            Value::Binary(vec![0, 255]),
            Value::Ext(OBJECT_EXT, 7_u64.to_be_bytes().to_vec()),
            Value::Ext(9, vec![1]),
            Value::Ext(POWER_EXT, b"log".to_vec()),
            Value::Ext(STURDY_EXT, b"net\0vat://somewhere".to_vec()),
            Value::Map(vec![(text("b"), Value::from(1)), (text("a"), Value::Nil)]),
            Value::Map(vec![(text("$b"), Value::from(1))]),
            Value::Map(vec![(Value::from(3), Value::from(1))]),
            Value::Map(vec![(text("a"), Value::Nil), (text("a"), Value::Nil)]),
            Value::Map(Vec::new()),
        ];
        let value = Value::Array(values);
        let text = to_json(&value, true).to_string();
        let mut refs = Vec::new();
        let back = from_json(&serde_json::from_str(&text).unwrap(), &mut refs).unwrap();
        assert_eq!(back, value, "{text}");
        assert_eq!(refs, [7]);
        let hidden = to_json(&value, false);
        assert!(!hidden.to_string().contains("vat://"), "{hidden}");
        let refused = from_json(&hidden, &mut refs).unwrap_err();
        assert!(refused.contains("--reveal"), "{refused}");
    }
}
