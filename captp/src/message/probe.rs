//! Reads a stream as a connection does, without an engine: for the fuzz target `decode`.

use capnp::private::layout::CapTable;
use capnp::traits::ImbueMut as _;
use capnp::{any_pointer, any_pointer_list, data, primitive_list, struct_list, text};

use super::{
    Call, Context, Descriptor, DescriptorKind, Envelope, Return, ReturnBody, Target, quick,
};
use crate::captp_capnp::message;
use crate::connection::framer::Framer;
use crate::frame::{Frame, Message};
use crate::payload::{Payload, Place};
use crate::{Limits, NodeId};

/// Cuts a stream, which comes in pieces, into messages; decodes each, and reads its payload in every
/// way there is. Returns what was read, one line for each message.
///
/// # Errors
/// What was read and is above the limits, in words.
pub fn read_stream<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> Result<Vec<String>, String> {
    let mut framer = Framer::default();
    let mut read = Vec::new();
    for mut piece in pieces {
        loop {
            match framer.next(&mut piece, limits) {
                Ok(Some(frame)) => {
                    if !read_frame(frame, limits, &mut read)? {
                        // The connection would be aborted.
                        return Ok(read);
                    }
                }
                Ok(None) => break,
                Err(fault) => {
                    read.push(format!("{fault:?}"));
                    return Ok(read);
                }
            }
        }
    }
    Ok(read)
}

/// One message, in both ways that there are for the frequent ones. Whether it can be read.
fn read_frame(frame: Frame, limits: &Limits, read: &mut Vec<String>) -> Result<bool, String> {
    let shortcut = read_shortcut(&frame, limits)?;
    let overlaps = frame.single().is_some_and(overlaps);
    let message = frame.into_message(limits.traversal_factor, limits.nesting);
    let envelope = super::decode::decode(&message, limits);
    let shown = format!("{envelope:?}");
    let Ok(envelope) = envelope else {
        read.push(shown);
        return match shortcut {
            Some((other, _)) => Err(format!(
                "the shortcut reads {other}, the long way is invalid"
            )),
            None => Ok(false),
        };
    };
    check(&envelope, limits)?;
    let payload = payload_of(&envelope, message);
    if let Some((other, content)) = shortcut {
        if other != format!("{envelope:?}") {
            return Err(format!("the shortcut reads {other}, the long way {shown}"));
        }
        // Words that belong to the envelope and to the content differ: only who sent them sees it.
        let copies = content
            .as_ref()
            .and_then(copied)
            .zip(payload.as_ref().and_then(copied));
        if let Some((ours, theirs)) = copies
            && !overlaps
            && ours != theirs
        {
            return Err(format!("the shortcut finds another content of {shown}"));
        }
        if let Some(content) = content {
            look(&content, limits)?;
        }
    }
    read.push(shown);
    if let Some(payload) = payload {
        read.push(look(&payload, limits)?);
    }
    Ok(true)
}

/// What the shortcut makes of it, as words and as a payload.
fn read_shortcut(
    frame: &Frame,
    limits: &Limits,
) -> Result<Option<(String, Option<Payload>)>, String> {
    let Some((envelope, content)) = frame.single().and_then(|only| quick::decode(only, limits))
    else {
        return Ok(None);
    };
    check(&envelope, limits)?;
    let shown = format!("{envelope:?}");
    let payload = content.map(|content| {
        let mut focused = frame.duplicate();
        focused.focus(content);
        let nesting = limits.nesting.saturating_sub(quick::CONTENT_DEPTH);
        let message = focused.into_message(limits.traversal_factor, nesting);
        Payload::new(message, Place::Root, nodes(&envelope))
    });
    Ok(Some((shown, payload)))
}

/// Whether a pointer leads to the first word, which is another one on the short way.
fn overlaps(segment: &[u8]) -> bool {
    let words = segment.as_chunks::<8>().0.iter().zip(0i64..);
    words.into_iter().any(|(word, at)| {
        let pointer = u64::from_le_bytes(*word);
        let [a, b, c, d, ..] = *word;
        let low = i32::from_le_bytes([a, b, c, d]);
        match pointer & 0b11 {
            0 | 1 => at + 1 + i64::from(low >> 2) <= 0,
            2 => low.cast_unsigned() >> 3 == 0,
            _ => false,
        }
    })
}

fn payload_of(envelope: &Envelope, message: Message) -> Option<Payload> {
    let place = match envelope {
        Envelope::Call(_) => Place::Call,
        Envelope::Return(Return {
            body: ReturnBody::Results(_),
            ..
        }) => Place::Return,
        _ => return None,
    };
    Some(Payload::new(message, place, nodes(envelope)))
}

/// Some node for each of the message's references.
fn nodes(envelope: &Envelope) -> Vec<NodeId> {
    let caps = match envelope {
        Envelope::Call(Call { caps, .. }) => caps.len(),
        Envelope::Return(Return {
            body: ReturnBody::Results(caps),
            ..
        }) => caps.len(),
        _ => 0,
    };
    (0u32..)
        .take(caps)
        .map(|index| NodeId::new(index, 0))
        .collect()
}

fn check(envelope: &Envelope, limits: &Limits) -> Result<(), String> {
    let none = Vec::new();
    let (targets, caps) = match envelope {
        Envelope::Call(Call { target, caps, .. }) => (vec![target], caps),
        Envelope::Return(Return {
            body: ReturnBody::Results(caps),
            ..
        }) => (Vec::new(), caps),
        Envelope::Disembargo { target, context } => {
            if let Context::Accept(name) = context
                && name.len() > 64
            {
                return Err(format!("an embargo of {} bytes", name.len()));
            }
            (vec![target], &none)
        }
        Envelope::Provide { target, .. } => (vec![target], &none),
        _ => return Ok(()),
    };
    if caps.len() > limits.caps_per_message {
        return Err(format!("{} references", caps.len()));
    }
    let ours = caps.iter().filter_map(|cap| match cap {
        Descriptor {
            kind: DescriptorKind::Ours(target),
            ..
        } => Some(target),
        _ => None,
    });
    for target in ours.chain(targets) {
        if let Target::Answer(_, path) = target
            && path.len() > usize::from(limits.nesting)
        {
            return Err(format!("a path of {} steps", path.len()));
        }
    }
    Ok(())
}

/// Reads a payload as everything that it may be, and copies it as for a forwarded call.
fn look(payload: &Payload, limits: &Limits) -> Result<String, String> {
    let mut seen = Vec::new();
    for path in [&[][..], &[0], &[1], &[2, 0], &[2, 1], &[u16::MAX]] {
        seen.push(format!("{:?}", payload.cap_at(path)));
    }
    seen.push(copy(payload, limits)?);
    let Ok(content) = payload.content() else {
        return Ok("no content".to_owned());
    };
    seen.push(format!("{:?}", content.target_size()));
    as_lists(content, &mut seen);
    Ok(seen.join(", "))
}

fn as_lists(content: any_pointer::Reader<'_>, seen: &mut Vec<String>) {
    let mut note = |what: capnp::Result<usize>| seen.push(format!("{what:?}"));
    note(content.get_as().map(|text: text::Reader<'_>| text.len()));
    note(content.get_as().map(|data: data::Reader<'_>| data.len()));
    note(
        content
            .get_as()
            .map(|bits: primitive_list::Reader<'_, bool>| {
                bits.iter().take(SOME).filter(|bit| *bit).count()
            }),
    );
    note(
        content
            .get_as()
            .map(|words: primitive_list::Reader<'_, u64>| {
                words.iter().take(SOME).filter(|word| *word > 0).count()
            }),
    );
    note(content.get_as().map(|list: any_pointer_list::Reader<'_>| {
        let items = list.iter().take(SOME);
        items.filter(|item| item.is_ok()).count()
    }));
    note(
        content
            .get_as()
            .map(|list: struct_list::Reader<'_, message::Owned>| {
                let items = list.iter().take(SOME);
                items.filter(|item| item.which().is_ok()).count()
            }),
    );
}

/// The copy is no larger than what reading may cost.
fn copy(payload: &Payload, limits: &Limits) -> Result<String, String> {
    let Some(copy) = copied(payload) else {
        return Ok("no copy".to_owned());
    };
    let most = payload.bytes() * limits.traversal_factor + 1024 * 8 + SLACK;
    if copy.len() > most {
        let (from, to) = (payload.bytes(), copy.len());
        return Err(format!("{from} bytes became {to}"));
    }
    Ok(format!("{} bytes", copy.len()))
}

/// The content by itself, as it goes into a call that is passed on.
fn copied(payload: &Payload) -> Option<Vec<u8>> {
    let mut built = super::encode::new_message(16);
    let mut table = CapTable::new();
    let mut to: any_pointer::Builder<'_> = built.init_root();
    to.imbue_mut(&mut table);
    to.set_as(payload.content().ok()?).ok()?;
    Some(capnp::serialize::write_message_to_words(&built))
}

/// How many elements of a list are looked at: lists of nothing are as long as they say.
const SOME: usize = 1_000;

/// Room that a copy may take beside its content: unused ends of segments.
const SLACK: usize = 64 << 10;
