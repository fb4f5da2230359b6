//! Messages as bytes: where one ends, and what it is.

use capnp::message::ReaderOptions;
use capnp::serialize;

use crate::captp_capnp::{message, message_target};

/// What a message is. Known from its bytes, without the engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "named as the messages of the protocol")]
pub enum Kind {
    /// What vats say to each other before anything else.
    Hello,
    Unimplemented,
    Abort,
    Bootstrap,
    Call,
    Return,
    Finish,
    Resolve,
    Release,
    Disembargo,
    Provide,
    Accept,
    ThirdPartyAnswer,
    /// Anything else.
    Other,
    /// Not a message: the end of the stream.
    Close,
}

/// Cuts a run of bytes into whole messages. An incomplete rest becomes one piece of its own.
#[must_use]
pub fn split(run: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = run;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let size = frame_size(rest).unwrap_or(rest.len()).min(rest.len());
        let (one, more) = rest.split_at(size);
        found.push(one.to_vec());
        rest = more;
    }
    found
}

/// Size of the first message of a run, with its segment table.
fn frame_size(bytes: &[u8]) -> Option<usize> {
    let segments = word32(bytes, 0)? as usize + 1;
    let header = (4 + 4 * segments).next_multiple_of(8);
    let mut total = header;
    for segment in 0..segments {
        total += word32(bytes, 4 + 4 * segment)? as usize * 8;
    }
    Some(total)
}

/// What a message is: the discriminant of its root struct.
#[must_use]
pub fn kind(message: &[u8]) -> Kind {
    match discriminant(message) {
        Some(0) => Kind::Unimplemented,
        Some(1) => Kind::Abort,
        Some(8) => Kind::Bootstrap,
        Some(2) => Kind::Call,
        Some(3) => Kind::Return,
        Some(4) => Kind::Finish,
        Some(5) => Kind::Resolve,
        Some(6) => Kind::Release,
        Some(13) => Kind::Disembargo,
        Some(10) => Kind::Provide,
        Some(11) => Kind::Accept,
        Some(14) => Kind::ThirdPartyAnswer,
        _ => Kind::Other,
    }
}

/// The export at its receiver to which a message is a call, if it is one.
#[must_use]
pub fn called_export(message: &[u8]) -> Option<u32> {
    if kind(message) != Kind::Call {
        return None;
    }
    let mut bytes = message;
    let read = serialize::read_message_from_flat_slice(&mut bytes, ReaderOptions::new()).ok()?;
    let root: message::Reader<'_> = read.get_root().ok()?;
    let Ok(message::Call(call)) = root.which() else {
        return None;
    };
    match call.ok()?.get_target().ok()?.which() {
        Ok(message_target::ImportedCap(id)) => Some(id),
        _ => None,
    }
}

fn discriminant(message: &[u8]) -> Option<u16> {
    let segments = word32(message, 0)? as usize + 1;
    let start = (4 + 4 * segments).next_multiple_of(8);
    let pointer = word32(message, start)?;
    // A struct pointer in place: its offset in words, counted from the end of the pointer.
    if pointer & 3 != 0 {
        return None;
    }
    let data = start + 8 + (pointer >> 2) as usize * 8;
    bytes_at(message, data).map(u16::from_le_bytes)
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}
