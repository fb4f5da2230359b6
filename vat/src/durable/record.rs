//! One object as it lies in the store: its type's name and version, what it refers to, its state.

use serde::{Deserialize, Serialize};

use super::codec::CodecError;

/// What stands before the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) version: u32,
    /// The numbers of the objects to which the state refers.
    pub(super) refs: Vec<u64>,
}

/// Writes a whole record.
pub(super) fn write(
    name: &str,
    version: u32,
    refs: &[u64],
    state: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let mut record = Vec::with_capacity(16 + name.len() + 9 * refs.len() + state.len());
    (name, version, refs)
        .serialize(&mut rmp_serde::Serializer::new(&mut record))
        .map_err(|error| CodecError::new(error.to_string()))?;
    record.extend_from_slice(state);
    Ok(record)
}

/// Takes a record apart.
pub(super) fn read(record: &[u8]) -> Result<(Header, &[u8]), CodecError> {
    let mut rest = std::io::Cursor::new(record);
    let header = Header::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| CodecError::new(format!("the record's header: {error}")))?;
    let at = usize::try_from(rest.position()).unwrap_or(usize::MAX);
    Ok((header, record.get(at..).unwrap_or_default()))
}
