//! Call and Return, the frequent messages, written word by word behind what a connection has to
//! send: the envelope, the content that stands ready, the references.
//!
//! A test compares the bytes with those of the generated builders.

use capnp::private::layout::CapTable;

use super::content::{Content, Room};
use super::encode::{Cap, Described};
use crate::connection::question::Sort;
use crate::contact::Contact;
use crate::engine::node::Place;
use crate::{AnswerId, QuestionId};

/// What a Call asks for.
#[derive(Clone, Copy)]
pub(crate) struct CallHead<'a> {
    pub(crate) question: QuestionId,
    pub(crate) place: &'a Place,
    pub(crate) interface: u64,
    pub(crate) method: u16,
    pub(crate) sort: Sort,
    pub(crate) no_pipelining: bool,
}

/// A content of one segment, its root pointer included, and what its capability pointers mean.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) caps: &'a [Cap],
}

/// Tags of a Message.
const CALL: u64 = 2;
const RETURN: u64 = 3;

/// Words of a Call up to its target's own, and of a Return up to its payload.
const CALL_WORDS: usize = 11;
const RETURN_WORDS: usize = 6;

/// Size of a Call in bytes, without its segment table.
pub(crate) fn call_size(place: &Place, body: Body<'_>) -> usize {
    (CALL_WORDS + place_words(place) + body.words()) * 8
}

/// Size of a Return with results in bytes, without its segment table.
pub(crate) fn results_size(body: Body<'_>) -> usize {
    (RETURN_WORDS + body.words()) * 8
}

/// Writes a Call.
pub(crate) fn call(out: &mut Vec<u8>, head: CallHead<'_>, body: Body<'_>) {
    let CallHead {
        question,
        place,
        interface,
        method,
        sort,
        no_pipelining,
    } = head;
    let size = call_size(place, body);
    out.reserve(size + 8);
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
            head_word(size),
            structure(0, 1, 1),
            CALL,
            structure(0, 3, 3),
            u64::from(question.raw()) | u64::from(method) << 32 | to << 48,
            interface,
            u64::from(no_pipelining) << 1 | u64::from(only) << 2,
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
    put_body(out, body);
}

/// Writes a Return with results, which keeps the references of the parameters.
pub(crate) fn results(out: &mut Vec<u8>, answer: AnswerId, no_finish: bool, body: Body<'_>) {
    let size = results_size(body);
    out.reserve(size + 8);
    // Bit 32: `releaseParamCaps` is not so.
    let flags = 1 << 32 | u64::from(no_finish) << 33;
    put(
        out,
        [
            head_word(size),
            structure(0, 1, 1),
            RETURN,
            structure(0, 2, 1),
            u64::from(answer.raw()) | flags,
            0,
            structure(0, 0, 2),
        ],
    );
    put_body(out, body);
}

impl Body<'_> {
    /// Words of payload, content and references.
    fn words(self) -> usize {
        2 + self.content_words() + self.table_words()
    }

    /// Without the root pointer, in whose place the payload's pointer stands.
    const fn content_words(self) -> usize {
        (self.content.len() / 8).saturating_sub(1)
    }

    fn table_words(self) -> usize {
        if self.caps.is_empty() {
            return 0;
        }
        let words = self.caps.iter().map(|cap| 2 + words_behind(cap));
        1 + words.sum::<usize>()
    }
}

/// Words that a descriptor takes behind the list.
fn words_behind(cap: &Cap) -> usize {
    match &cap.as_what {
        Described::Theirs(place) => place_words(place),
        Described::Third { contact, .. } => 1 + contact_message(contact).len() / 8,
        Described::Null | Described::Hosted(_) | Described::Promise(_) => 0,
    }
}

/// A contact as a message of its own, which can stand behind the pointer to it as it is.
fn contact_message(contact: &Contact) -> Vec<u8> {
    let mut room = Room::new();
    let mut content = Content::new(CONTACT_WORDS, &mut room);
    if let Ok(root) = content.root() {
        contact.write(root);
    }
    // A contact holds no references, so that copying it cannot fail.
    match content.join(&mut CapTable::new()) {
        Ok(()) => content.segment().to_vec(),
        Err(_) => vec![0; 8],
    }
}

/// What a contact takes that was not passed on: keys, a nonce, a signature, addresses.
const CONTACT_WORDS: u32 = 200;

/// The payload struct, the content, and the capability table.
fn put_body(out: &mut Vec<u8>, body: Body<'_>) {
    let (root, content) = match body.content.split_first_chunk() {
        Some((root, content)) => (u64::from_le_bytes(*root), content),
        None => (0, body.content),
    };
    // The content lies one word further from its pointer than it did: behind the pointer to the
    // capability table.
    let root = match root & 0b11 {
        0 | 1 if root != 0 => root & !0xffff_ffff | (root + 4) & 0xffff_ffff,
        _ => root,
    };
    let caps = body.caps;
    let table = match caps.len() {
        0 => 0,
        count => 1 | number(body.content_words()) << 2 | 7 << 32 | number(2 * count) << 35,
    };
    put(out, [root, table]);
    out.extend_from_slice(content);
    if caps.is_empty() {
        return;
    }
    put(out, [number(caps.len()) << 2 | 1 << 32 | 1 << 48]);
    // What descriptors take behind the list, so far.
    let mut behind = 0;
    for (index, cap) in caps.iter().enumerate() {
        let (which, id, pointer) = match &cap.as_what {
            Described::Null => (0, 0, 0),
            Described::Hosted(id) => (1, id.raw(), 0),
            Described::Promise(id) => (2, id.raw(), 0),
            Described::Theirs(Place::Import { id, .. }) => (3, id.raw(), 0),
            Described::Theirs(Place::Answer { .. }) | Described::Third { .. } => {
                let at = 2 * (caps.len() - index - 1) + behind;
                behind += words_behind(cap);
                let third = matches!(cap.as_what, Described::Third { .. });
                (4 + u64::from(third), 0, structure(at, 1, 1))
            }
        };
        // Written so that zero stands for the default, 255: no descriptor.
        let fd = u64::from(!cap.fd.unwrap_or(u8::MAX));
        put(out, [which | fd << 16 | u64::from(id) << 32, pointer]);
    }
    for cap in caps {
        match &cap.as_what {
            Described::Theirs(Place::Answer { question, path }) => {
                put_promised(out, *question, path);
            }
            Described::Third { contact, vine } => {
                put(out, [u64::from(vine.raw())]);
                out.extend_from_slice(&contact_message(contact));
            }
            Described::Theirs(Place::Import { .. })
            | Described::Null
            | Described::Hosted(_)
            | Described::Promise(_) => {}
        }
    }
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

/// The segment table of a message of one segment.
fn head_word(size: usize) -> u64 {
    number(size / 8) << 32
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
