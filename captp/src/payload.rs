//! Parameters or results as they arrived: the content stays in the received message.

use std::cell::OnceCell;
use std::fmt;

use capnp::any_pointer;
use capnp::private::capability::PipelineOp;
use capnp::private::layout::CapTable;
use capnp::traits::Imbue as _;

use crate::captp_capnp::{message, payload, return_};
use crate::frame::{Frame, Message};
use crate::hook::{cap_index, index_table};
use crate::message::quick;
use crate::{Content, Exception, NodeId};

/// Parameters or results of a call, as they arrived.
///
/// Whoever is given a payload owns one count of each of its references and gives them back with
/// [`Engine::release`](crate::Engine::release). Dropping a payload does not do that.
pub struct Payload(Box<Inner>);

/// Limits for reading what this vat wrote itself.
const OWN_TRAVERSAL: usize = 1 << 32;
const OWN_NESTING: u16 = u16::MAX;

/// In a box: a payload goes from hand to hand, and copying this each time costs more.
struct Inner {
    message: Message,
    place: Place,
    caps: Vec<NodeId>,
    /// How many references came in it.
    count: usize,
    /// Made when it is first needed: what is [plain](Payload::plain) has no need of it.
    table: OnceCell<CapTable>,
}

/// The root struct of a payload that is plain to see: everything it needs lies in the struct.
#[derive(Clone, Copy, Default, Debug)]
pub struct Plain<'a> {
    data: &'a [u8],
    pointers: &'a [[u8; 8]],
}

impl<'a> Plain<'a> {
    pub(crate) const fn new(data: &'a [u8], pointers: &'a [[u8; 8]]) -> Self {
        Self { data, pointers }
    }

    /// The data section.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The reference behind a pointer, as an index into [`Payload::caps`]; `None` if the pointer is
    /// null or the struct has not so many.
    #[must_use]
    pub fn reference(&self, at: u32) -> Option<usize> {
        let pointer = u64::from_le_bytes(*self.pointers.get(at as usize)?);
        (pointer != 0).then_some((pointer >> 32) as usize)
    }
}

/// Where in its message a payload lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Parameters of a Call.
    Call,
    /// Results of a Return.
    Return,
    /// The root itself.
    Root,
}

impl Payload {
    pub(crate) fn new(message: Message, place: Place, caps: Vec<NodeId>) -> Self {
        Self(Box::new(Inner {
            message,
            place,
            count: caps.len(),
            caps,
            table: OnceCell::new(),
        }))
    }

    /// The parameters or results struct. A capability pointer in it yields a hook whose
    /// [`cap_index`] is an index into [`caps`](Self::caps).
    ///
    /// # Errors
    /// If the peer sent a malformed message, or if it has been read too often: a message can be
    /// read a limited multiple of its own size.
    pub fn content(&self) -> Result<any_pointer::Reader<'_>, capnp::Error> {
        let mut content = content_in(&self.0.message, self.0.place)?;
        let table = || index_table(self.0.count);
        content.imbue(self.0.table.get_or_init(table));
        Ok(content)
    }

    /// The content, if it is a struct of numbers and references: a shortcut for what is most
    /// frequent, which reads as [`content`](Self::content) would. `None` for anything else.
    #[must_use]
    pub fn plain(&self) -> Option<Plain<'_>> {
        let segment = match self.0.place {
            Place::Root => self.0.message.get_segments().single()?,
            Place::Call | Place::Return => return None,
        };
        quick::plain(segment, self.0.count)
    }

    /// The references in the payload, by index. They keep their counts.
    #[must_use]
    pub fn caps(&self) -> &[NodeId] {
        &self.0.caps
    }

    /// Takes the references, and with them their counts, out of the payload.
    ///
    /// Capability pointers in the content still read as the same indexes.
    #[must_use]
    pub fn take_caps(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.0.caps)
    }

    /// What was written, as it would arrive: for who looks at a message without knowing its types.
    /// `caps`: what its capability pointers mean, by index, each with a count.
    ///
    /// Data that lies apart is copied.
    #[must_use]
    pub fn of(content: &Content, caps: Vec<NodeId>) -> Self {
        let segment = content.segment_until(content.end());
        let message = Frame::of_bytes(&segment).into_message(OWN_TRAVERSAL, OWN_NESTING);
        Self::new(message, Place::Root, caps)
    }

    /// Puts other references, with their counts, in the place of those that were
    /// [taken](Self::take_caps): as many, in the same order.
    pub fn put_caps(&mut self, caps: Vec<NodeId>) {
        self.0.caps = caps;
    }

    /// Writes the same parameters or results again, with these references by index instead of its own.
    /// They are borrowed.
    ///
    /// # Errors
    /// If the message is malformed, or there are not as many references.
    pub fn copy_to(&self, caps: &[NodeId], to: &mut Content) -> Result<(), Exception> {
        let words = u32::try_from(self.bytes() / 8).unwrap_or(u32::MAX);
        to.build_with(words, caps, |mut root| {
            root.set_as::<any_pointer::Owned>(self.content()?)?;
            Ok(())
        })
    }

    /// Which reference, by index, is at the end of a path of pointer fields; `None` if there is a null
    /// pointer on the way.
    ///
    /// # Errors
    /// If the message is malformed.
    pub fn reference_at(&self, path: &[u16]) -> Result<Option<usize>, Exception> {
        Ok(self.cap_at(path)?)
    }

    /// The same bytes, which lie in this payload's content, to be kept beyond it without copying
    /// them. `None` if they are [too few](crate::SHARED_BYTES) or less than a quarter of the message,
    /// which lives as long as what is kept of it: they are better copied.
    #[must_use]
    pub fn share(&self, data: &[u8]) -> Option<bytes::Bytes> {
        self.0.message.get_segments().share(data)
    }

    /// Size of the message that it came in, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.message.get_segments().bytes()
    }

    pub(crate) fn caps_mut(&mut self) -> &mut [NodeId] {
        &mut self.0.caps
    }

    /// The index of the reference at the end of `path`; `None` if there is a null pointer.
    pub(crate) fn cap_at(&self, path: &[u16]) -> Result<Option<usize>, capnp::Error> {
        if self.0.place == Place::Root
            && let Some(found) = cap_in(&self.0.message, path, self.0.count)
        {
            return Ok(found);
        }
        follow(self.content()?, path)
    }
}

/// The content of the payload at `place` of `message`.
pub(crate) fn content_in(
    message: &Message,
    place: Place,
) -> Result<any_pointer::Reader<'_>, capnp::Error> {
    if place == Place::Root {
        return message.get_root();
    }
    Ok(payload_in(message, place)?.get_content())
}

fn payload_in(message: &Message, place: Place) -> Result<payload::Reader<'_>, capnp::Error> {
    let wrong = || capnp::Error {
        kind: capnp::ErrorKind::Failed,
        extra: "the message carries no payload here".to_owned(),
    };
    let root: message::Reader<'_> = message.get_root()?;
    match (place, root.which()) {
        (Place::Call, Ok(message::Call(call))) => call?.get_params(),
        (Place::Return, Ok(message::Return(ret))) => match ret?.which() {
            Ok(return_::Results(results)) => results,
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// The index of the reference at a path of a message whose root is the content, if that is plain to
/// see.
pub(crate) fn cap_in(message: &Message, path: &[u16], caps: usize) -> Option<Option<usize>> {
    quick::cap_at(message.get_segments().single()?, path, caps)
}

/// The index that the capability pointer at the end of `path` reads as.
pub(crate) fn follow(
    content: any_pointer::Reader<'_>,
    path: &[u16],
) -> Result<Option<usize>, capnp::Error> {
    let ops: Vec<PipelineOp> = path
        .iter()
        .map(|field| PipelineOp::GetPointerField(*field))
        .collect();
    match content.get_pipelined_cap(&ops) {
        Ok(hook) => Ok(cap_index(&*hook)),
        Err(error) if is_null_pointer(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_null_pointer(error: &capnp::Error) -> bool {
    matches!(
        error.kind,
        capnp::ErrorKind::MessageContainsNullCapabilityPointer
    )
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("place", &self.0.place)
            .field("bytes", &self.bytes())
            .field("caps", &self.0.caps)
            .finish_non_exhaustive()
    }
}
