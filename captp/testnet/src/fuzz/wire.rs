//! Messages as a peer may send them that knows the protocol and has no shame: well-formed, with
//! references that may or may not exist.

use capnp::message::{Builder, HeapAllocator};
use capnp::traits::ImbueMut as _;
use captp::testing::Tables;
use captp::{Config, Engine, NodeId, VatKey};

use super::input::Input;
use crate::captp_capnp::{
    call, cap_descriptor, disembargo, exception, message, message_target, payload, promised_answer,
    return_,
};
use crate::content::{self, Caps};
use crate::network_capnp::{claim, completion, contact, third_party_await};
use crate::vat::Script;

/// Who there is: the key of vat `number`.
pub(super) const fn key(number: u8) -> VatKey {
    VatKey([number; 32])
}

/// A signature that only says who signed what: good enough against whom nobody attacks keys.
pub(super) fn sign(by: &VatKey, message: &[u8]) -> [u8; 64] {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for byte in by.0.iter().chain(message) {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut signature = [0; 64];
    for part in signature.chunks_exact_mut(8) {
        part.copy_from_slice(&state.to_le_bytes());
    }
    signature
}

/// The victim's number, and those of everybody whom claims may name.
pub(super) const VICTIM: u8 = 1;
const VATS: usize = 6;

/// The ids that mean something to the victim at the moment: without them nearly every message would
/// be the connection's last.
#[derive(Default)]
pub(super) struct Known {
    exports: Vec<u32>,
    imports: Vec<u32>,
    /// Its questions.
    asked: Vec<u32>,
    /// Questions of the peer.
    answers: Vec<u32>,
    /// What the peer's next question is called.
    next: u32,
}

impl Known {
    pub(super) fn new(tables: &Tables) -> Self {
        let answers = tables.running.iter().chain(&tables.returned).copied();
        let answers: Vec<u32> = answers.collect();
        Self {
            exports: tables.exports.keys().copied().collect(),
            imports: tables.imports.keys().copied().collect(),
            asked: tables.asked.clone(),
            next: answers.iter().max().map_or(0, |last| last.wrapping_add(1)),
            answers,
        }
    }

    /// The id of a new question, nearly always.
    fn question(&mut self, input: &mut Input<'_>) -> u32 {
        if input.one_in(16) {
            return input.id();
        }
        self.answers.push(self.next);
        self.next = self.next.wrapping_add(1);
        self.next.wrapping_sub(1)
    }
}

/// One of these, nearly always.
fn one_of(input: &mut Input<'_>, known: &[u32]) -> u32 {
    match input.byte() {
        0..240 if !known.is_empty() => input.pick(known),
        _ => input.id(),
    }
}

/// Makes messages.
pub(super) struct Writer {
    /// Stands for any reference while a capability pointer is written.
    some: NodeId,
}

impl Writer {
    pub(super) fn new() -> Self {
        let some = Engine::<Script>::new(Config::default()).promise();
        Self { some }
    }

    /// With which every acquaintance begins.
    pub(super) fn bootstrap() -> Vec<u8> {
        let mut built = Builder::new_default();
        let root: message::Builder<'_> = built.init_root();
        root.init_bootstrap().set_question_id(0);
        capnp::serialize::write_message_to_words(&built)
    }

    /// One message with its frame.
    pub(super) fn message(&self, input: &mut Input<'_>, known: &mut Known) -> Vec<u8> {
        let mut built = Builder::new(HeapAllocator::new().first_segment_words(64));
        let mut caps = capnp::private::layout::CapTable::new();
        let mut root: message::Builder<'_> = built.init_root();
        root.imbue_mut(&mut caps);
        self.fill(input, known, root, 0);
        let mut bytes = capnp::serialize::write_message_to_words(&built);
        if input.one_in(8) {
            for _ in 0..=input.below(4) {
                let at = usize::from(input.byte()) * usize::from(input.byte());
                let byte = input.byte();
                if let Some(changed) = bytes.get_mut(8 + at % (at + 1).max(1)) {
                    *changed = byte;
                }
            }
        }
        bytes
    }

    fn fill(&self, input: &mut Input<'_>, known: &mut Known, to: message::Builder<'_>, depth: u8) {
        match input.below(20) {
            0..5 => self.call(input, known, to.init_call()),
            5..8 => self.answer(input, known, to.init_return()),
            8 | 9 => {
                let mut finish = to.init_finish();
                finish.set_question_id(one_of(input, &known.answers));
                finish.set_release_result_caps(input.one_in(2));
            }
            10 | 11 => {
                let mut resolve = to.init_resolve();
                resolve.set_promise_id(one_of(input, &known.imports));
                if input.one_in(5) {
                    exception(input, resolve.init_exception());
                } else {
                    descriptor(input, known, resolve.init_cap());
                }
            }
            12 => {
                let mut release = to.init_release();
                release.set_id(one_of(input, &known.exports));
                release.set_reference_count(match input.byte() {
                    0..240 => 1,
                    _ => input.id(),
                });
            }
            13 => disembargo(input, known, to.init_disembargo()),
            14 => {
                let mut provide = to.init_provide();
                provide.set_question_id(known.question(input));
                target(input, known, provide.reborrow().init_target());
                let mut recipient: third_party_await::Builder<'_> =
                    provide.init_recipient().init_as();
                recipient.set_recipient(&someone(input).0);
                recipient.set_nonce(&nonce(input));
            }
            15 | 16 => {
                let mut accept = to.init_accept();
                accept.set_question_id(known.question(input));
                if input.one_in(2) {
                    accept.set_embargo(&[input.byte() % 4]);
                }
                let to: completion::Builder<'_> = accept.init_provision().init_as();
                claim(input, &key(VICTIM), to.init_claim());
            }
            17 | 18 => to.init_bootstrap().set_question_id(known.question(input)),
            _ => self.rare(input, known, to, depth),
        }
    }

    fn rare(&self, input: &mut Input<'_>, known: &mut Known, to: message::Builder<'_>, depth: u8) {
        match input.below(8) {
            0..5 if depth < 2 => self.fill(input, known, to.init_unimplemented(), depth + 1),
            5 => to.init_join().set_question_id(input.id()),
            6 => {
                to.init_third_party_answer();
            }
            _ => exception(input, to.init_abort()),
        }
    }

    fn call(&self, input: &mut Input<'_>, known: &mut Known, mut call: call::Builder<'_>) {
        call.set_question_id(known.question(input));
        call.set_interface_id(7);
        call.set_method_id(u16::from(input.byte()));
        let flags = input.byte();
        call.set_only_promise_pipeline(flags & 7 == 7);
        call.set_no_promise_pipelining(flags & 8 != 0);
        if flags & 0x30 == 0x30 {
            let mut results = call.reborrow().init_send_results_to();
            match input.below(6) {
                0 => results.set_caller(()),
                1 => claim(
                    input,
                    &key(VICTIM),
                    results
                        .init_third_party()
                        .init_as::<completion::Builder<'_>>()
                        .init_claim(),
                ),
                _ => results.set_yourself(()),
            }
        }
        target(input, known, call.reborrow().init_target());
        self.payload(input, known, call.init_params());
    }

    fn answer(&self, input: &mut Input<'_>, known: &mut Known, mut ret: return_::Builder<'_>) {
        ret.set_answer_id(one_of(input, &known.asked));
        let flags = input.byte();
        ret.set_release_param_caps(flags & 1 != 0);
        ret.set_no_finish_needed(flags & 2 != 0);
        match flags >> 4 {
            0..10 => self.payload(input, known, ret.init_results()),
            10 | 11 => exception(input, ret.init_exception()),
            12 => ret.set_canceled(()),
            13 => ret.set_results_sent_elsewhere(()),
            14 => ret.set_take_from_other_question(one_of(input, &known.answers)),
            _ => {
                let to = ret.init_await_from_third_party();
                to.init_as::<completion::Builder<'_>>();
            }
        }
    }

    fn payload(&self, input: &mut Input<'_>, known: &mut Known, mut to: payload::Builder<'_>) {
        let shape = input.byte();
        let count = u32::from(shape % 5);
        let mut caps = Caps::default();
        for slot in caps.iter_mut().take(count as usize) {
            *slot = Some(self.some);
        }
        match shape >> 5 {
            0..5 => content::write(to.reborrow().init_content(), u64::from(shape), &caps),
            5 => {
                let size = u32::from(input.byte()) * 32;
                let _room: capnp::data::Builder<'_> = to.reborrow().init_content().initn_as(size);
            }
            // A single reference without a struct around it, and nothing at all.
            6 => to
                .reborrow()
                .init_content()
                .set_as_capability(captp::cap_hook(self.some)),
            _ => {}
        }
        if count > 0 {
            let mut table = to.init_cap_table(count);
            for index in 0..count {
                descriptor(input, known, table.reborrow().get(index));
            }
        }
    }
}

fn target(input: &mut Input<'_>, known: &Known, mut to: message_target::Builder<'_>) {
    if input.one_in(3) {
        promised(input, known, to.init_promised_answer());
    } else {
        to.set_imported_cap(one_of(input, &known.exports));
    }
}

fn promised(input: &mut Input<'_>, known: &Known, mut to: promised_answer::Builder<'_>) {
    to.set_question_id(one_of(input, &known.answers));
    let path: &[u16] = match input.below(8) {
        slot @ 0..4 => content::path(slot),
        4 => &[0; 70],
        _ => &[],
    };
    if !path.is_empty() {
        let length = u32::try_from(path.len()).unwrap_or_default();
        let mut ops = to.init_transform(length);
        for (index, field) in (0u32..).zip(path) {
            ops.reborrow().get(index).set_get_pointer_field(*field);
        }
    }
}

fn descriptor(input: &mut Input<'_>, known: &Known, mut to: cap_descriptor::Builder<'_>) {
    match input.below(16) {
        0 => to.set_none(()),
        1..4 => to.set_sender_hosted(input.id()),
        4..8 => to.set_sender_promise(input.id()),
        8 | 9 => to.set_receiver_hosted(one_of(input, &known.exports)),
        10 | 11 => promised(input, known, to.reborrow().init_receiver_answer()),
        12 => to.set_attached_fd(input.byte() % 3),
        _ => {
            let mut third = to.reborrow().init_third_party_hosted();
            third.set_vine_id(input.id());
            let mut contact: contact::Builder<'_> = third.init_id().init_as();
            let exporter = someone(input);
            contact.set_exporter(&exporter.0);
            if input.one_in(4) {
                contact.reborrow().init_addresses(1).set(0, "unix:/a");
            }
            claim(input, &exporter, contact.init_claim());
        }
    }
}

fn disembargo(input: &mut Input<'_>, known: &Known, mut to: disembargo::Builder<'_>) {
    target(input, known, to.reborrow().init_target());
    let mut context = to.init_context();
    match input.below(4) {
        0 => context.set_sender_loopback(input.id()),
        1 | 2 => context.set_receiver_loopback(input.id()),
        _ => context.set_accept(&[input.byte() % 4]),
    }
}

fn exception(input: &mut Input<'_>, mut to: exception::Builder<'_>) {
    let flags = input.byte();
    to.set_reason(if flags & 1 == 0 { "no" } else { "" });
    to.set_type(match flags >> 6 {
        0 => exception::Type::Failed,
        1 => exception::Type::Overloaded,
        2 => exception::Type::Disconnected,
        _ => exception::Type::Unimplemented,
    });
    if flags & 0x30 == 0x30 {
        let mut details = to.init_details(u32::from(input.byte()));
        if !details.is_empty() {
            details.reborrow().get(0).set_data(&[1, 2, 3]);
        }
    }
}

/// A claim whose signatures are nearly always good.
fn claim(input: &mut Input<'_>, exporter: &VatKey, mut to: claim::Builder<'_>) {
    let (gifter, recipient, nonce) = (someone(input), someone(input), nonce(input));
    to.set_gifter(&gifter.0);
    to.set_recipient(&recipient.0);
    to.set_nonce(&nonce);
    let signed = [&b"vat handoff 1\0"[..], &exporter.0, &recipient.0, &nonce].concat();
    let mut signature = sign(&gifter, &signed);
    let flags = input.byte();
    if flags == 0xff {
        signature[0] ^= 1;
    }
    to.set_signature(&signature);
    let forwards = match flags >> 4 {
        0..12 => 0,
        15 => 9,
        some => u32::from(some) - 11,
    };
    let mut holder = recipient;
    let mut list = to.init_forwards(forwards);
    for index in 0..forwards {
        let next = someone(input);
        let parts: [&[u8]; 6] = [
            b"vat forward 1\0",
            &exporter.0,
            &gifter.0,
            &nonce,
            &holder.0,
            &next.0,
        ];
        let mut entry = list.reborrow().get(index);
        entry.set_to(&next.0);
        entry.set_signature(&sign(&holder, &parts.concat()));
        holder = next;
    }
}

fn someone(input: &mut Input<'_>) -> VatKey {
    key(VICTIM + u8::try_from(input.below(VATS)).unwrap_or_default())
}

fn nonce(input: &mut Input<'_>) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[8] = input.byte() % 6;
    nonce
}
