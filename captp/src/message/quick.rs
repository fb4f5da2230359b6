//! The frequent messages, read word by word: a Call, a Return with results, a Finish and a Release
//! in one segment, with no far pointer in the envelope and nothing unusual in it.
//!
//! It is a shortcut, not a second opinion: whatever it does not take is left to
//! [`decode`](super::decode), and what it takes it reads as that would; a test compares the two.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a field is a part of a word; sizes are of 16 to 30 bits"
)]

use super::{Call, Descriptor, DescriptorKind, Envelope, Return, ReturnBody, Target};
use crate::path::Path;
use crate::payload::Plain;
use crate::{AnswerId, ExportId, ImportId, Limits, QuestionId};

/// How deep the content of a payload lies: below Message, Call or Return, and Payload.
pub(crate) const CONTENT_DEPTH: u16 = 3;

/// Longest path of a pipelined call that is read here.
const MAX_PATH: u64 = 8;

/// No descriptor is attached.
const NO_FD: u8 = 0xff;

/// The index of the reference at the end of a path of pointer fields; the inner `None`: there is a
/// null pointer. The outer one: look in the general way.
pub(crate) fn cap_at(segment: &[u8], path: &[u16], caps: usize) -> Option<Option<usize>> {
    let words = Words(segment.as_chunks().0);
    let mut at = 0;
    for field in path {
        if words.word(at)? == 0 {
            return Some(None);
        }
        match words.structure(at)?.pointer(usize::from(*field)) {
            Some(pointer) => at = pointer,
            None => return Some(None),
        }
    }
    let pointer = words.word(at)?;
    let index = high(pointer) as usize;
    match pointer {
        0 => Some(None),
        _ if low(pointer) == CAPABILITY && index < caps => Some(Some(index)),
        _ => None,
    }
}

/// The root struct, if it lies in the segment and each of its few pointers is null or one of so many
/// references.
pub(crate) fn plain(segment: &[u8], caps: usize) -> Option<Plain<'_>> {
    let words = Words(segment.as_chunks().0);
    let root = words.structure(0)?;
    let pointers = words.0.get(root.pointers..root.end)?;
    let is_plain = |pointer: &[u8; 8]| {
        let pointer = u64::from_le_bytes(*pointer);
        pointer == 0 || low(pointer) == CAPABILITY && (high(pointer) as usize) < caps
    };
    if pointers.len() > MOST_PLAIN || !pointers.iter().all(is_plain) {
        return None;
    }
    let data = words.0.get(root.data..root.pointers)?;
    Some(Plain::new(data.as_flattened(), pointers))
}

/// Most pointers that are looked at before it is said that there is nothing behind them.
const MOST_PLAIN: usize = 8;

/// The envelope, and the word at which the pointer to the payload's content lies; `None` for
/// everything that is not frequent.
pub(crate) fn decode(segment: &[u8], limits: &Limits) -> Option<(Envelope, Option<usize>)> {
    let words = Words(segment.as_chunks().0);
    let root = words.structure(0)?;
    let body = words.structure(root.pointer(0)?)?;
    let data = words.data(&body, 0);
    match words.data(&root, 0) & 0xffff {
        2 => decode_call(words, &body, limits),
        3 => decode_return(words, &body, limits),
        4 => Some((
            Envelope::Finish {
                answer: AnswerId::new(low(data)),
                release_results: data & RELEASE_NOT == 0,
            },
            None,
        )),
        6 => Some((
            Envelope::Release {
                export: ExportId::new(low(data)),
                count: high(data),
            },
            None,
        )),
        _ => None,
    }
}

/// `releaseParamCaps` of a Return and `releaseResultCaps` of a Finish, which are true by default and
/// thus written the other way round.
const RELEASE_NOT: u64 = 1 << 32;
/// `noFinishNeeded` of a Return.
const NO_FINISH: u64 = 1 << 33;

fn decode_call(
    words: Words<'_>,
    call: &Part,
    limits: &Limits,
) -> Option<(Envelope, Option<usize>)> {
    let first = words.data(call, 0);
    let keep_results = match first >> 48 {
        0 => false,
        1 => true,
        _ => return None,
    };
    let flags = words.data(call, 2);
    let target = words.structure(call.pointer(0)?)?;
    let (content, caps) = payload(words, call.pointer(1)?, limits)?;
    let call = Call {
        answer: AnswerId::new(low(first)),
        target: decode_target(words, &target, limits)?,
        interface: words.data(call, 1),
        method: (first >> 32) as u16,
        pipeline_only: flags & 0b100 != 0,
        no_pipelining: flags & 0b10 != 0,
        keep_results,
        time_left: high(flags),
        caps,
    };
    Some((Envelope::Call(call), Some(content)))
}

fn decode_return(
    words: Words<'_>,
    ret: &Part,
    limits: &Limits,
) -> Option<(Envelope, Option<usize>)> {
    let first = words.data(ret, 0);
    if first >> 48 != 0 {
        return None;
    }
    let (content, caps) = payload(words, ret.pointer(0)?, limits)?;
    let ret = Return {
        question: QuestionId::new(low(first)),
        release_params: first & RELEASE_NOT == 0,
        no_finish_needed: first & NO_FINISH != 0,
        body: ReturnBody::Results(caps),
    };
    Some((Envelope::Return(ret), Some(content)))
}

fn decode_target(words: Words<'_>, target: &Part, limits: &Limits) -> Option<Target> {
    let data = words.data(target, 0);
    match high(data) & 0xffff {
        0 => Some(Target::Export(ExportId::new(low(data)))),
        1 => {
            let answer = words.structure(target.pointer(0)?)?;
            let path = path(words, answer.pointer(0)?, limits)?;
            Some(Target::Answer(
                AnswerId::new(low(words.data(&answer, 0))),
                path,
            ))
        }
        _ => None,
    }
}

/// The pointer fields that a promised answer's transform names.
fn path(words: Words<'_>, at: usize, limits: &Limits) -> Option<Path> {
    if words.word(at)? == 0 {
        return Some(Path::Root);
    }
    let list = words.list(at, 1, 0)?;
    if list.count > MAX_PATH || list.count > u64::from(limits.nesting) {
        return None;
    }
    let mut fields = [0; MAX_PATH as usize];
    let mut len = 0;
    for index in 0..list.count {
        let op = words.word(list.start + index as usize)?;
        match op & 0xffff {
            0 => {}
            1 => {
                *fields.get_mut(len)? = (op >> 16) as u16;
                len += 1;
            }
            _ => return None,
        }
    }
    fields.get(..len).map(Path::from)
}

/// Where the pointer to the content lies, and the references.
fn payload(words: Words<'_>, at: usize, limits: &Limits) -> Option<(usize, Vec<Descriptor>)> {
    let payload = words.structure(at)?;
    let content = payload.pointer(0)?;
    // A far pointer has its target elsewhere.
    if words.word(content)? & 0b11 == FAR {
        return None;
    }
    let table = match payload.pointer(1) {
        Some(table) if words.word(table)? != 0 => table,
        _ => return Some((content, Vec::new())),
    };
    let list = words.list(table, 1, 1)?;
    if list.count > limits.caps_per_message as u64 {
        return None;
    }
    let mut caps = Vec::with_capacity(list.count as usize);
    for index in 0..list.count {
        caps.push(descriptor(words.word(list.start + 2 * index as usize)?)?);
    }
    Some((content, caps))
}

fn descriptor(data: u64) -> Option<Descriptor> {
    let id = high(data);
    let imported = |promise| DescriptorKind::Import {
        id: ImportId::new(id),
        promise,
    };
    let kind = match data & 0xffff {
        0 => DescriptorKind::Null,
        1 => imported(false),
        2 => imported(true),
        3 => DescriptorKind::Ours(Target::Export(ExportId::new(id))),
        _ => return None,
    };
    // Written so that zero stands for the default.
    let fd = !((data >> 16) as u8);
    Some(Descriptor {
        kind,
        fd: (fd != NO_FD).then_some(fd),
    })
}

/// Kinds of pointers.
const STRUCT: u64 = 0;
const LIST: u64 = 1;
const FAR: u64 = 2;
/// The low half of a capability pointer.
const CAPABILITY: u32 = 3;

/// The words of a message of one segment. Every look is checked against their number.
#[derive(Clone, Copy)]
struct Words<'a>(&'a [[u8; 8]]);

/// Where a struct's sections lie.
struct Part {
    data: usize,
    pointers: usize,
    end: usize,
}

/// Where a list of structs lies.
struct List {
    start: usize,
    count: u64,
}

impl Words<'_> {
    fn word(self, at: usize) -> Option<u64> {
        self.0.get(at).map(|word| u64::from_le_bytes(*word))
    }

    /// What the struct pointer at a word points to; `None` for any other pointer, null included.
    fn structure(self, at: usize) -> Option<Part> {
        let pointer = self.word(at)?;
        if pointer == 0 || pointer & 0b11 != STRUCT {
            return None;
        }
        let data = target(at, pointer)?;
        let pointers = data.checked_add((pointer >> 32 & 0xffff) as usize)?;
        let end = pointers.checked_add((pointer >> 48) as usize)?;
        (end <= self.0.len()).then_some(Part {
            data,
            pointers,
            end,
        })
    }

    /// What the pointer at a word points to, if it is a list of structs of just this size.
    fn list(self, at: usize, data: u64, pointers: u64) -> Option<List> {
        let pointer = self.word(at)?;
        let composite = pointer & 0b11 == LIST && pointer >> 32 & 0b111 == 7;
        if !composite {
            return None;
        }
        let at = target(at, pointer)?;
        let tag = self.word(at)?;
        let count = tag >> 2 & 0x3fff_ffff;
        let fits = tag & 0b11 == STRUCT
            && tag >> 32 & 0xffff == data
            && tag >> 48 == pointers
            && count * (data + pointers) <= pointer >> 35;
        let end = at as u64 + 1 + (pointer >> 35);
        (fits && end <= self.0.len() as u64).then_some(List {
            start: at + 1,
            count,
        })
    }

    /// A word of the data section; zero where there is none.
    fn data(self, part: &Part, index: usize) -> u64 {
        let at = part.data + index;
        if at < part.pointers {
            self.word(at).unwrap_or(0)
        } else {
            0
        }
    }
}

impl Part {
    fn pointer(&self, index: usize) -> Option<usize> {
        let at = self.pointers + index;
        (at < self.end).then_some(at)
    }
}

/// The word that a struct or list pointer at a word points to.
fn target(at: usize, pointer: u64) -> Option<usize> {
    let offset = (pointer as u32).cast_signed() >> 2;
    (at + 1).checked_add_signed(offset as isize)
}

const fn low(word: u64) -> u32 {
    word as u32
}

const fn high(word: u64) -> u32 {
    (word >> 32) as u32
}
