//! From a received message to an owned envelope. Here, and only here, the peer's view becomes ours:
//! its questions are our answers, its exports our imports.
//!
//! A message is either decoded as a whole or refused: nothing half valid reaches a table.

use std::borrow::Cow;
use std::rc::Rc;

use super::{
    Call, Context, Descriptor, DescriptorKind, Envelope, Return, ReturnBody, Target, Unimplemented,
};
use crate::captp_capnp::{
    accept, call, cap_descriptor, disembargo, exception, message, message_target, payload,
    promised_answer, provide, resolve, return_,
};
use crate::contact::{self, Await, Contact};
use crate::exception::{Detail, Exception, ExceptionKind};
use crate::frame::Message;
use crate::path::Path;
use crate::{AnswerId, EmbargoId, ExportId, ImportId, Limits, PeerMisbehaved, QuestionId};

type Result<T> = std::result::Result<T, PeerMisbehaved>;

/// Most details of one exception: an empty one takes no room in a message, but some here.
const MAX_DETAILS: u32 = 64;

/// Longest name of an embargo, in bytes.
const MAX_EMBARGO_NAME: usize = 64;

/// No descriptor is attached.
const NO_FD: u8 = 0xff;

pub(crate) fn decode(message: &Message, limits: &Limits) -> Result<Envelope> {
    let root: message::Reader<'_> = message.get_root()?;
    let Ok(which) = root.which() else {
        return Ok(Envelope::Unknown);
    };
    Ok(match which {
        message::Unimplemented(original) => {
            Envelope::Unimplemented(decode_unimplemented(original?)?)
        }
        message::Abort(reason) => Envelope::Abort(decode_exception(reason?)?),
        message::Bootstrap(bootstrap) => Envelope::Bootstrap {
            answer: AnswerId::new(bootstrap?.get_question_id()),
        },
        message::Call(call) => decode_call(call?, limits)?,
        message::Return(ret) => Envelope::Return(decode_return(ret?, limits)?),
        message::Finish(finish) => {
            let finish = finish?;
            Envelope::Finish {
                answer: AnswerId::new(finish.get_question_id()),
                release_results: finish.get_release_result_caps(),
            }
        }
        message::Resolve(resolve) => decode_resolve(resolve?, limits)?,
        message::Release(release) => {
            let release = release?;
            Envelope::Release {
                export: ExportId::new(release.get_id()),
                count: release.get_reference_count(),
            }
        }
        message::Disembargo(disembargo) => decode_disembargo(disembargo?, limits)?,
        message::Provide(provide) => decode_provide(provide?, limits)?,
        message::Accept(accept) => decode_accept(accept?)?,
        message::ObsoleteSave(_)
        | message::ObsoleteDelete(_)
        | message::ThirdPartyAnswer(_)
        | message::Join(_) => Envelope::Unknown,
    })
}

/// A Provide of another vat network is one that we do not speak.
fn decode_provide(provide: provide::Reader<'_>, limits: &Limits) -> Result<Envelope> {
    let Some(recipient) = Await::read(provide.get_recipient()) else {
        return Ok(Envelope::Unknown);
    };
    Ok(Envelope::Provide {
        answer: AnswerId::new(provide.get_question_id()),
        target: decode_target(provide.get_target()?, limits)?,
        recipient,
    })
}

fn decode_accept(accept: accept::Reader<'_>) -> Result<Envelope> {
    let Some(claim) = contact::read_completion(accept.get_provision()) else {
        return Ok(Envelope::Unknown);
    };
    let embargo = match accept.has_embargo() {
        true => Some(embargo_name(accept.get_embargo()?)?),
        false => None,
    };
    Ok(Envelope::Accept {
        answer: AnswerId::new(accept.get_question_id()),
        claim,
        embargo,
    })
}

fn embargo_name(name: &[u8]) -> Result<Rc<[u8]>> {
    if name.len() > MAX_EMBARGO_NAME {
        return Err(PeerMisbehaved::TableFull {
            what: "bytes in the name of an embargo",
            limit: MAX_EMBARGO_NAME,
        });
    }
    Ok(Rc::from(name))
}

fn decode_unimplemented(original: message::Reader<'_>) -> Result<Unimplemented> {
    let Ok(which) = original.which() else {
        return Ok(Unimplemented::Optional);
    };
    Ok(match which {
        message::Resolve(resolve) => Unimplemented::Resolve(resolved_export(resolve?)?),
        message::Call(_) => Unimplemented::Required("call"),
        message::Return(ret) => match ret?.which() {
            Ok(return_::Results(_) | return_::Exception(_)) | Err(_) => {
                Unimplemented::Required("return")
            }
            // capnp-rpc echoes those that come for a call whose results it no longer wants.
            Ok(
                return_::Canceled(())
                | return_::ResultsSentElsewhere(())
                | return_::TakeFromOtherQuestion(_)
                | return_::AwaitFromThirdParty(_),
            ) => Unimplemented::Optional,
        },
        message::Finish(_) => Unimplemented::Required("finish"),
        message::Bootstrap(_) => Unimplemented::Required("bootstrap"),
        message::Release(_) => Unimplemented::Required("release"),
        message::Disembargo(_) => Unimplemented::Required("disembargo"),
        message::Provide(provide) => {
            Unimplemented::Handoff(QuestionId::new(provide?.get_question_id()))
        }
        message::Accept(accept) => {
            Unimplemented::Handoff(QuestionId::new(accept?.get_question_id()))
        }
        message::Unimplemented(_)
        | message::Abort(_)
        | message::ObsoleteSave(_)
        | message::ObsoleteDelete(_)
        | message::ThirdPartyAnswer(_)
        | message::Join(_) => Unimplemented::Optional,
    })
}

/// The export that an echoed Resolve of ours gave: its ids are still in our own view.
fn resolved_export(resolve: resolve::Reader<'_>) -> Result<Option<ExportId>> {
    let Ok(resolve::Cap(cap)) = resolve.which() else {
        return Ok(None);
    };
    Ok(match cap?.which() {
        Ok(cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id)) => {
            Some(ExportId::new(id))
        }
        Ok(cap_descriptor::ThirdPartyHosted(third)) => Some(ExportId::new(third?.get_vine_id())),
        _ => None,
    })
}

fn decode_call(call: call::Reader<'_>, limits: &Limits) -> Result<Envelope> {
    let keep_results = match call.get_send_results_to().which() {
        Ok(call::send_results_to::Caller(())) => false,
        Ok(call::send_results_to::Yourself(())) => true,
        // Level 3, or later than this.
        Ok(call::send_results_to::ThirdParty(_)) | Err(_) => return Ok(Envelope::Unknown),
    };
    Ok(Envelope::Call(Call {
        answer: AnswerId::new(call.get_question_id()),
        target: decode_target(call.get_target()?, limits)?,
        interface: call.get_interface_id(),
        method: call.get_method_id(),
        pipeline_only: call.get_only_promise_pipeline(),
        no_pipelining: call.get_no_promise_pipelining(),
        keep_results,
        time_left: call.get_time_left(),
        caps: decode_caps(call.get_params()?, limits)?,
    }))
}

fn decode_return(ret: return_::Reader<'_>, limits: &Limits) -> Result<Return> {
    let body = match ret.which() {
        Ok(return_::Results(results)) => ReturnBody::Results(decode_caps(results?, limits)?),
        Ok(return_::Exception(reason)) => ReturnBody::Exception(decode_exception(reason?)?),
        Ok(return_::Canceled(())) => ReturnBody::Canceled,
        Ok(return_::ResultsSentElsewhere(())) => ReturnBody::SentElsewhere,
        Ok(return_::TakeFromOtherQuestion(id)) => ReturnBody::TakeFrom(AnswerId::new(id)),
        Ok(return_::AwaitFromThirdParty(_)) | Err(_) => ReturnBody::Unknown,
    };
    Ok(Return {
        question: QuestionId::new(ret.get_answer_id()),
        release_params: ret.get_release_param_caps(),
        no_finish_needed: ret.get_no_finish_needed(),
        body,
    })
}

fn decode_resolve(resolve: resolve::Reader<'_>, limits: &Limits) -> Result<Envelope> {
    let to = match resolve.which() {
        Ok(resolve::Cap(cap)) => Ok(decode_descriptor(cap?, limits)?),
        Ok(resolve::Exception(reason)) => Err(decode_exception(reason?)?),
        Err(_) => return Ok(Envelope::Unknown),
    };
    Ok(Envelope::Resolve {
        import: ImportId::new(resolve.get_promise_id()),
        to,
    })
}

fn decode_disembargo(disembargo: disembargo::Reader<'_>, limits: &Limits) -> Result<Envelope> {
    let context = match disembargo.get_context().which() {
        Ok(disembargo::context::SenderLoopback(id)) => Context::SenderLoopback(id),
        Ok(disembargo::context::ReceiverLoopback(id)) => {
            // The target is the peer's business: our id says what is meant.
            Context::ReceiverLoopback(EmbargoId::new(id))
        }
        Ok(disembargo::context::Accept(name)) => Context::Accept(embargo_name(name?)?),
        Err(_) => Context::Unknown,
    };
    Ok(Envelope::Disembargo {
        target: decode_target(disembargo.get_target()?, limits)?,
        context,
    })
}

fn decode_target(target: message_target::Reader<'_>, limits: &Limits) -> Result<Target> {
    match target.which() {
        Ok(message_target::ImportedCap(id)) => Ok(Target::Export(ExportId::new(id))),
        Ok(message_target::PromisedAnswer(answer)) => decode_promised(answer?, limits),
        Err(_) => Err(PeerMisbehaved::UnknownValue("MessageTarget")),
    }
}

fn decode_promised(answer: promised_answer::Reader<'_>, limits: &Limits) -> Result<Target> {
    let transform = answer.get_transform()?;
    if transform.len() > u32::from(limits.nesting) {
        return Err(PeerMisbehaved::TableFull {
            what: "steps in the path of a pipelined call",
            limit: usize::from(limits.nesting),
        });
    }
    let mut path = Vec::with_capacity(transform.len() as usize);
    for op in transform {
        match op.which() {
            Ok(promised_answer::op::Noop(())) => {}
            Ok(promised_answer::op::GetPointerField(field)) => path.push(field),
            Err(_) => return Err(PeerMisbehaved::UnknownValue("PromisedAnswer.Op")),
        }
    }
    Ok(Target::Answer(
        AnswerId::new(answer.get_question_id()),
        Path::from(&path[..]),
    ))
}

fn decode_caps(payload: payload::Reader<'_>, limits: &Limits) -> Result<Vec<Descriptor>> {
    if !payload.has_cap_table() {
        return Ok(Vec::new());
    }
    let table = payload.get_cap_table()?;
    let count = table.len() as usize;
    if count > limits.caps_per_message {
        return Err(PeerMisbehaved::TooManyCaps(count));
    }
    table
        .iter()
        .map(|descriptor| decode_descriptor(descriptor, limits))
        .collect()
}

fn decode_descriptor(from: cap_descriptor::Reader<'_>, limits: &Limits) -> Result<Descriptor> {
    let imported = |id, promise| DescriptorKind::Import {
        id: ImportId::new(id),
        promise,
    };
    let kind = match from.which() {
        Ok(cap_descriptor::None(())) => DescriptorKind::Null,
        Ok(cap_descriptor::SenderHosted(id)) => imported(id, false),
        Ok(cap_descriptor::SenderPromise(id)) => imported(id, true),
        Ok(cap_descriptor::ReceiverHosted(id)) => {
            DescriptorKind::Ours(Target::Export(ExportId::new(id)))
        }
        Ok(cap_descriptor::ReceiverAnswer(answer)) => {
            DescriptorKind::Ours(decode_promised(answer?, limits)?)
        }
        Ok(cap_descriptor::ThirdPartyHosted(third)) => {
            let third = third?;
            DescriptorKind::Third {
                contact: Contact::read(third.get_id()).map(Rc::new),
                vine: ImportId::new(third.get_vine_id()),
            }
        }
        Err(_) => return Err(PeerMisbehaved::UnknownValue("CapDescriptor")),
    };
    let fd = Some(from.get_attached_fd()).filter(|fd| *fd != NO_FD);
    Ok(Descriptor { kind, fd })
}

pub(crate) fn decode_exception(from: exception::Reader<'_>) -> Result<Exception> {
    let kind = match from.get_type() {
        Ok(exception::Type::Overloaded) => ExceptionKind::Overloaded,
        Ok(exception::Type::Disconnected) => ExceptionKind::Disconnected,
        Ok(exception::Type::Unimplemented) => ExceptionKind::Unimplemented,
        Ok(exception::Type::Failed) | Err(_) => ExceptionKind::Failed,
    };
    let reason = text(from.get_reason()?);
    let trace = text(from.get_trace()?);
    let mut exception = Exception::from_wire(kind, &reason, &trace);
    if from.has_details() {
        let list = from.get_details()?;
        if list.len() > MAX_DETAILS {
            let limit = MAX_DETAILS as usize;
            return Err(PeerMisbehaved::TableFull {
                what: "details of an exception",
                limit,
            });
        }
        for detail in list {
            let data = detail.get_data()?;
            if data.len() <= Exception::DETAILS {
                let detail = Detail::new(detail.get_detail_id(), data.to_vec());
                exception = exception.with_detail(detail);
            }
        }
    }
    Ok(exception)
}

/// Of a text that is far too long only the beginning is looked at.
fn text(from: capnp::text::Reader<'_>) -> Cow<'_, str> {
    let bytes = from.as_bytes();
    String::from_utf8_lossy(bytes.get(..2 * Exception::TRACE).unwrap_or(bytes))
}
