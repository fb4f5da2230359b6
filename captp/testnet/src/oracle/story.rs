//! Messages as a person reads them: for finding out why a run failed.

use std::fmt::Write as _;

use capnp::message::ReaderOptions;
use capnp::serialize;

use crate::captp_capnp::{
    cap_descriptor, disembargo, message, message_target, payload, promised_answer, resolve, return_,
};

/// What a message says, in one line.
pub(super) fn summary(bytes: &[u8]) -> String {
    let mut bytes = bytes;
    let read = serialize::read_message_from_flat_slice(&mut bytes, ReaderOptions::new());
    let text = read.and_then(|message| root(message.get_root()?));
    text.unwrap_or_else(|error| format!("unreadable: {error}"))
}

fn root(root: message::Reader<'_>) -> capnp::Result<String> {
    let Ok(which) = root.which() else {
        return Ok("unknown".to_owned());
    };
    Ok(match which {
        message::Bootstrap(it) => format!("bootstrap {}", it?.get_question_id()),
        message::Call(it) => {
            let it = it?;
            let (only, caps) = (it.get_only_promise_pipeline(), caps(it.get_params()?)?);
            let only = if only { " for references only" } else { "" };
            let to = target(it.get_target()?)?;
            format!("call {} to {to}{only}{caps}", it.get_question_id())
        }
        message::Return(it) => {
            let it = it?;
            let what = match it.which() {
                Ok(return_::Results(results)) => caps(results?)?,
                Ok(return_::Exception(reason)) => {
                    format!(" exception: {}", reason?.get_reason()?.to_str()?)
                }
                Ok(return_::TakeFromOtherQuestion(id)) => format!(" as question {id}"),
                Ok(return_::ResultsSentElsewhere(())) => " elsewhere".to_owned(),
                _ => " otherwise".to_owned(),
            };
            format!("return {}{what}", it.get_answer_id())
        }
        message::Finish(it) => format!("finish {}", it?.get_question_id()),
        message::Resolve(it) => {
            let it = it?;
            let what = match it.which() {
                Ok(resolve::Cap(cap)) => descriptor(cap?)?,
                _ => "broken".to_owned(),
            };
            format!("resolve {} as {what}", it.get_promise_id())
        }
        message::Release(it) => {
            let it = it?;
            format!("release {} times {}", it.get_id(), it.get_reference_count())
        }
        message::Disembargo(it) => {
            let it = it?;
            let context = match it.get_context().which() {
                Ok(disembargo::context::SenderLoopback(id)) => format!("out {id}"),
                Ok(disembargo::context::ReceiverLoopback(id)) => format!("back {id}"),
                _ => "for an accept".to_owned(),
            };
            format!("disembargo {} {context}", target(it.get_target()?)?)
        }
        message::Provide(it) => {
            let it = it?;
            format!(
                "provide {} {}",
                it.get_question_id(),
                target(it.get_target()?)?
            )
        }
        message::Accept(it) => {
            let it = it?;
            let embargo = if it.get_embargo()?.is_empty() {
                ""
            } else {
                " embargoed"
            };
            format!("accept {}{embargo}", it.get_question_id())
        }
        message::Unimplemented(_) => "unimplemented".to_owned(),
        message::Abort(reason) => format!("abort: {}", reason?.get_reason()?.to_str()?),
        _ => "something else".to_owned(),
    })
}

fn target(from: message_target::Reader<'_>) -> capnp::Result<String> {
    Ok(match from.which() {
        Ok(message_target::ImportedCap(id)) => format!("export {id}"),
        Ok(message_target::PromisedAnswer(it)) => promised(it?)?,
        Err(_) => "nothing".to_owned(),
    })
}

fn promised(from: promised_answer::Reader<'_>) -> capnp::Result<String> {
    let fields = from
        .get_transform()?
        .iter()
        .filter_map(|op| match op.which() {
            Ok(promised_answer::op::GetPointerField(field)) => Some(field),
            _ => None,
        });
    let fields: Vec<u16> = fields.collect();
    Ok(format!("answer {} {fields:?}", from.get_question_id()))
}

fn caps(from: payload::Reader<'_>) -> capnp::Result<String> {
    let mut text = String::new();
    for cap in from.get_cap_table()? {
        let _: std::fmt::Result = write!(text, ", {}", descriptor(cap)?);
    }
    Ok(text)
}

fn descriptor(from: cap_descriptor::Reader<'_>) -> capnp::Result<String> {
    Ok(match from.which() {
        Ok(cap_descriptor::SenderHosted(id)) => format!("hosts {id}"),
        Ok(cap_descriptor::SenderPromise(id)) => format!("promises {id}"),
        Ok(cap_descriptor::ReceiverHosted(id)) => format!("yours {id}"),
        Ok(cap_descriptor::ReceiverAnswer(it)) => format!("your {}", promised(it?)?),
        Ok(cap_descriptor::ThirdPartyHosted(it)) => format!("gift with vine {}", it?.get_vine_id()),
        Ok(cap_descriptor::None(())) | Err(_) => "null".to_owned(),
    })
}
