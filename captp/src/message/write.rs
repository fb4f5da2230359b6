//! Call and Return, the frequent messages, written word by word: the envelope, then the content by
//! whoever has it, then what its references are and what is known only then.
//!
//! A test compares the bytes with those of the generated builders.

use super::encode::{Cap, Described};
use crate::connection::question::Sort;
use crate::contact::Contact;
use crate::engine::node::Place;
use crate::{AnswerId, Content, Exception, ImportId, QuestionId};

/// What a Call asks for.
#[derive(Clone, Copy)]
pub(crate) struct CallHead<'a> {
    pub(crate) place: &'a Place,
    pub(crate) interface: u64,
    pub(crate) method: u16,
    pub(crate) sort: Sort,
    /// Milliseconds until the caller gives up; 0 if it does not.
    pub(crate) time_left: u32,
}

/// Tags of a Message.
const CALL: u64 = 2;
const RETURN: u64 = 3;
const FINISH: u64 = 4;
const RELEASE: u64 = 6;

/// Writes a Finish.
pub(crate) fn finish(out: &mut Vec<u8>, question: QuestionId, release_results: bool) {
    let flags = if release_results { 0 } else { RELEASE_NOT };
    small(out, FINISH, u64::from(question.raw()) | flags);
}

/// In the last word of a Finish: `releaseResultCaps`, which is true by default, is not so.
const RELEASE_NOT: u64 = 1 << 32;

/// Size of a Finish.
pub(crate) const FINISH_BYTES: u64 = 5 * 8;

/// The last word of a Finish that releases results.
pub(crate) const fn release_results(word: u64) -> u64 {
    word & !RELEASE_NOT
}

/// Writes a Release.
pub(crate) fn release(out: &mut Vec<u8>, import: ImportId, count: u32) {
    small(
        out,
        RELEASE,
        u64::from(import.raw()) | u64::from(count) << 32,
    );
}

/// A message whose body is one word of data, framed.
fn small(out: &mut Vec<u8>, tag: u64, body: u64) {
    let head = 4 << 32;
    let (root, to_body) = (structure(0, 1, 1), structure(0, 1, 0));
    put(out, [head, root, tag, to_body, body]);
}

/// The words of a Call and of a Return in which what is known last is set, the segment table
/// included.
const CALL_QUESTION: usize = 4;
const CALL_FLAGS: usize = 6;
const RETURN_FLAGS: usize = 4;

/// Begins a Call: everything before the content of its parameters.
pub(crate) fn begin_call(content: &mut Content, head: CallHead<'_>) {
    content.begin(|out| call(out, head));
}

fn call(out: &mut Vec<u8>, head: CallHead<'_>) -> usize {
    let CallHead {
        place,
        interface,
        method,
        sort,
        time_left,
    } = head;
    // The target lies right behind the Call, what it points to behind it, and then the payload.
    let (id, tag) = match place {
        Place::Import { id, .. } => (id.raw(), 0),
        Place::Answer { .. } => (0, 1),
    };
    let to = u64::from(sort == Sort::Tail);
    let only = sort == Sort::Pipeline;
    let target = place_words(place);
    let promised = if target > 0 { structure(0, 1, 1) } else { 0 };
    put(
        out,
        [
            0,
            structure(0, 1, 1),
            CALL,
            structure(0, 3, 3),
            u64::from(method) << 32 | to << 48,
            interface,
            u64::from(only) << 2 | u64::from(time_left) << 32,
            structure(2, 1, 1),
            structure(3 + target, 0, 2),
            0,
            u64::from(id) | tag << 32,
            promised,
        ],
    );
    if let Place::Answer { question, path } = place {
        put_promised(out, *question, path);
    }
    put_payload(out)
}

/// Completes a Call but for its number.
pub(crate) fn end_call(content: &mut Content, no_pipelining: bool, caps: &[Cap]) {
    if no_pipelining {
        let flags = content.word(CALL_FLAGS * 8);
        content.patch(CALL_FLAGS * 8, flags | 1 << 1);
    }
    end(content, caps);
}

/// Gives a Call, which is complete, its number.
pub(crate) fn set_question(content: &mut Content, question: QuestionId) {
    let word = content.word(CALL_QUESTION * 8);
    content.patch(CALL_QUESTION * 8, word | u64::from(question.raw()));
}

/// Begins a Return with results: everything before their content.
pub(crate) fn begin_results(content: &mut Content) {
    content.begin(|out| {
        put(
            out,
            [
                0,
                structure(0, 1, 1),
                RETURN,
                structure(0, 2, 1),
                0,
                0,
                structure(0, 0, 2),
            ],
        );
        put_payload(out)
    });
}

/// Completes a Return, which keeps the references of the parameters.
pub(crate) fn end_results(content: &mut Content, answer: AnswerId, no_finish: bool, caps: &[Cap]) {
    // Bit 32: `releaseParamCaps` is not so.
    let flags = 1 << 32 | u64::from(no_finish) << 33;
    content.patch(RETURN_FLAGS * 8, u64::from(answer.raw()) | flags);
    end(content, caps);
}

/// Completes a message: the capability table, and the size in front.
fn end(content: &mut Content, caps: &[Cap]) {
    put_table(content, caps);
    let words = number(content.end() / 8).saturating_sub(1);
    content.patch(0, words << 32);
}

/// The payload struct: both pointers null. Where they are.
fn put_payload(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    put(out, [0, 0]);
    at
}

/// A contact as a message of its own, which can stand behind the pointer to it as it is.
fn contact_message(contact: &Contact) -> Vec<u8> {
    let mut content = Content::new();
    let written = content.build::<Exception>(CONTACT_WORDS, |root| {
        contact.write(root);
        Ok(())
    });
    // A contact holds no references, so that nothing can fail.
    match written {
        Ok(()) => content.segment().to_vec(),
        Err(_) => vec![0; 8],
    }
}

/// What a contact takes that was not passed on: keys, a nonce, a signature, addresses.
const CONTACT_WORDS: u32 = 200;

/// The capability table, behind the content.
fn put_table(content: &mut Content, caps: &[Cap]) {
    if caps.is_empty() {
        return;
    }
    let at = content.root_at() + 8;
    let offset = (content.end() - at) / 8 - 1;
    let list = 1 | number(offset) << 2 | 7 << 32 | number(2 * caps.len()) << 35;
    content.patch(at, list);
    let out = content.message();
    put(out, [number(caps.len()) << 2 | 1 << 32 | 1 << 48]);
    // What descriptors take behind the list.
    let mut behind = Vec::new();
    for (index, cap) in caps.iter().enumerate() {
        let at = 2 * (caps.len() - index - 1) + behind.len() / 8;
        let (which, id, pointer) = match &cap.as_what {
            Described::Null => (0, 0, 0),
            Described::Hosted(id) => (1, id.raw(), 0),
            Described::Promise(id) => (2, id.raw(), 0),
            Described::Theirs(Place::Import { id, .. }) => (3, id.raw(), 0),
            Described::Theirs(Place::Answer { question, path }) => {
                put_promised(&mut behind, *question, path);
                (4, 0, structure(at, 1, 1))
            }
            Described::Third { contact, vine } => {
                put(&mut behind, [u64::from(vine.raw())]);
                behind.extend_from_slice(&contact_message(contact));
                (5, 0, structure(at, 1, 1))
            }
        };
        // Written so that zero stands for the default, 255: no descriptor.
        let fd = u64::from(!cap.fd.unwrap_or(u8::MAX));
        put(out, [which | fd << 16 | u64::from(id) << 32, pointer]);
    }
    out.extend_from_slice(&behind);
}

/// Words that a place takes behind the struct that names it.
fn place_words(place: &Place) -> usize {
    match place {
        Place::Import { .. } => 0,
        Place::Answer { path, .. } if path.is_empty() => 2,
        Place::Answer { path, .. } => 3 + path.len(),
    }
}

/// A `PromisedAnswer`, and behind it the operations that lead to the reference.
fn put_promised(out: &mut Vec<u8>, question: QuestionId, path: &[u16]) {
    let question = u64::from(question.raw());
    if path.is_empty() {
        return put(out, [question, 0]);
    }
    let count = number(path.len());
    put(
        out,
        [question, 1 | 7 << 32 | count << 35, count << 2 | 1 << 32],
    );
    for field in path {
        put(out, [1 | u64::from(*field) << 16]);
    }
}

fn structure(offset: usize, data: u64, pointers: u64) -> u64 {
    number(offset) << 2 | data << 32 | pointers << 48
}

const fn number(value: usize) -> u64 {
    value as u64
}

fn put<const N: usize>(out: &mut Vec<u8>, words: [u64; N]) {
    out.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
}
