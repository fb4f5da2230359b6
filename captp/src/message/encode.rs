//! From our values to messages, built in place.

use std::rc::Rc;

use capnp::message::HeapAllocator;

use crate::captp_capnp::{cap_descriptor, exception, message, message_target, promised_answer};
use crate::contact::{self, Await, Claim, Contact};
use crate::engine::node::Place;
use crate::exception::{Exception, ExceptionKind};
use crate::{AnswerId, EmbargoId, ExportId, QuestionId};

/// A message being built.
pub(crate) type Built = capnp::message::Builder<HeapAllocator>;

/// A message with room for `words` in its first segment.
pub(crate) fn new_message(words: u32) -> Built {
    Built::new(HeapAllocator::new().first_segment_words(words.clamp(8, 1 << 16)))
}

/// How a reference is described to the peer.
#[derive(Clone, Debug)]
pub(crate) enum Described {
    Null,
    Hosted(ExportId),
    Promise(ExportId),
    Theirs(Place),
    Third {
        contact: Rc<Contact>,
        vine: ExportId,
    },
}

/// A capability descriptor, and which of the message's file descriptors goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Cap {
    pub(crate) as_what: Described,
    pub(crate) fd: Option<u8>,
}

pub(crate) fn write_target(mut to: message_target::Builder<'_>, place: &Place) {
    match place {
        Place::Import { id, .. } => to.set_imported_cap(id.raw()),
        Place::Answer { question, path } => {
            write_promised(to.init_promised_answer(), *question, path);
        }
    }
}

fn write_promised(mut to: promised_answer::Builder<'_>, question: QuestionId, path: &[u16]) {
    to.set_question_id(question.raw());
    if path.is_empty() {
        return;
    }
    let mut transform = to.init_transform(u32::try_from(path.len()).unwrap_or(u32::MAX));
    for (index, field) in (0u32..).zip(path) {
        transform
            .reborrow()
            .get(index)
            .set_get_pointer_field(*field);
    }
}

pub(crate) fn write_descriptor(mut to: cap_descriptor::Builder<'_>, cap: &Cap) {
    match &cap.as_what {
        Described::Null => to.set_none(()),
        Described::Hosted(id) => to.set_sender_hosted(id.raw()),
        Described::Promise(id) => to.set_sender_promise(id.raw()),
        Described::Theirs(Place::Import { id, .. }) => to.set_receiver_hosted(id.raw()),
        Described::Theirs(Place::Answer { question, path }) => {
            write_promised(to.reborrow().init_receiver_answer(), *question, path);
        }
        Described::Third { contact, vine } => {
            let mut third = to.reborrow().init_third_party_hosted();
            third.set_vine_id(vine.raw());
            contact.write(third.init_id());
        }
    }
    if let Some(fd) = cap.fd {
        to.set_attached_fd(fd);
    }
}

pub(crate) fn write_exception(mut to: exception::Builder<'_>, from: &Exception) {
    to.set_type(match from.kind() {
        ExceptionKind::Failed => exception::Type::Failed,
        ExceptionKind::Overloaded => exception::Type::Overloaded,
        ExceptionKind::Disconnected => exception::Type::Disconnected,
        ExceptionKind::Unimplemented => exception::Type::Unimplemented,
    });
    to.set_reason(from.reason());
    if !from.trace().is_empty() {
        to.set_trace(from.trace());
    }
    let details = from.details();
    if !details.is_empty() {
        let count = u32::try_from(details.len()).unwrap_or(u32::MAX);
        let mut list = to.init_details(count);
        for (index, detail) in (0u32..).zip(details) {
            let mut entry = list.reborrow().get(index);
            entry.set_detail_id(detail.id);
            entry.set_data(&detail.data);
        }
    }
}

pub(crate) fn abort(reason: &Exception) -> Built {
    let mut built = new_message(16 + text_words(reason));
    write_exception(
        built.init_root::<message::Builder<'_>>().init_abort(),
        reason,
    );
    built
}

pub(crate) fn bootstrap(question: QuestionId) -> Built {
    let mut built = new_message(8);
    let root = built.init_root::<message::Builder<'_>>();
    root.init_bootstrap().set_question_id(question.raw());
    built
}

pub(crate) fn sender_loopback(place: &Place, embargo: EmbargoId) -> Built {
    let mut built = new_message(16);
    let mut disembargo = built.init_root::<message::Builder<'_>>().init_disembargo();
    write_target(disembargo.reborrow().init_target(), place);
    disembargo.get_context().set_sender_loopback(embargo.raw());
    built
}

/// Without a place if there is none any more: the receiver goes by its own number.
pub(crate) fn receiver_loopback(place: Option<&Place>, embargo: u32) -> Built {
    let mut built = new_message(16);
    let mut disembargo = built.init_root::<message::Builder<'_>>().init_disembargo();
    let target = disembargo.reborrow().init_target();
    if let Some(place) = place {
        write_target(target, place);
    }
    disembargo.get_context().set_receiver_loopback(embargo);
    built
}

/// Follows the calls on a promise that became a gift.
pub(crate) fn accept_disembargo(place: &Place, embargo: &[u8]) -> Built {
    let mut built = new_message(24);
    let mut disembargo = built.init_root::<message::Builder<'_>>().init_disembargo();
    write_target(disembargo.reborrow().init_target(), place);
    disembargo.get_context().set_accept(embargo);
    built
}

pub(crate) fn provide(question: QuestionId, target: &Place, recipient: &Await) -> Built {
    let mut built = new_message(32);
    let mut provide = built.init_root::<message::Builder<'_>>().init_provide();
    provide.set_question_id(question.raw());
    write_target(provide.reborrow().init_target(), target);
    recipient.write(provide.init_recipient());
    built
}

pub(crate) fn accept(question: QuestionId, claim: &Claim, embargo: Option<&[u8]>) -> Built {
    let mut built = new_message(48);
    let mut accept = built.init_root::<message::Builder<'_>>().init_accept();
    accept.set_question_id(question.raw());
    if let Some(embargo) = embargo {
        accept.set_embargo(embargo);
    }
    contact::write_completion(claim, accept.init_provision());
    built
}

pub(crate) fn take_from_other(answer: AnswerId, question: QuestionId) -> Built {
    let mut built = new_message(8);
    let mut ret = built.init_root::<message::Builder<'_>>().init_return();
    ret.set_answer_id(answer.raw());
    ret.set_release_param_caps(false);
    ret.set_take_from_other_question(question.raw());
    built
}

pub(crate) fn resolve(promise: ExportId, to: Result<&Cap, &Exception>) -> Built {
    let mut built = new_message(16);
    let mut resolve = built.init_root::<message::Builder<'_>>().init_resolve();
    resolve.set_promise_id(promise.raw());
    match to {
        Ok(cap) => write_descriptor(resolve.init_cap(), cap),
        Err(reason) => write_exception(resolve.init_exception(), reason),
    }
    built
}

/// About how many words the texts of an exception take.
pub(crate) fn text_words(reason: &Exception) -> u32 {
    u32::try_from((reason.reason().len() + reason.trace().len()) / 8 + 4).unwrap_or(u32::MAX)
}
