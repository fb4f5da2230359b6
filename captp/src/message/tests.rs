//! The shortcuts for frequent messages against the generated builders and readers.

use std::rc::Rc;

use capnp::message::{Builder, HeapAllocator};
use capnp::{any_pointer, data, text};

use super::encode::{Cap, Described, write_descriptor, write_target};
use super::write::CallHead;
use super::{Envelope, decode, quick, write};
use crate::captp_capnp::{message, payload};
use crate::connection::question::Sort;
use crate::contact::{Claim, Contact, Identity, Signer, VatKey};
use crate::engine::node::Place;
use crate::frame::Frame;
use crate::path::Path;
use crate::payload::{Place as Lies, content_in};
use crate::{AnswerId, Content, Elements, ExportId, ImportId, Limits, NodeId, QuestionId, Slot};

fn answer(question: u32, path: &[u16]) -> Place {
    Place::Answer {
        question: QuestionId::new(question),
        path: Path::from(path),
    }
}

fn import(id: u32) -> Place {
    Place::Import {
        id: ImportId::new(id),
        settled: true,
    }
}

fn places() -> Vec<Place> {
    vec![
        import(0),
        import(u32::MAX),
        answer(7, &[]),
        answer(u32::MAX, &[0]),
        answer(1, &[3, 0, u16::MAX]),
    ]
}

fn capability_tables() -> Vec<Vec<Cap>> {
    let cap = |as_what, fd| Cap { as_what, fd };
    let theirs = places().into_iter().map(Described::Theirs);
    let third = |addresses: usize| Described::Third {
        contact: Rc::new(contact(addresses)),
        vine: ExportId::new(9),
    };
    let every: Vec<Cap> = [
        third(0),
        Described::Null,
        third(300),
        Described::Hosted(ExportId::new(5)),
        Described::Promise(ExportId::new(u32::MAX)),
    ]
    .into_iter()
    .chain(theirs)
    .zip([None, Some(0), Some(254)].into_iter().cycle())
    .map(|(as_what, fd)| cap(as_what, fd))
    .collect();
    vec![
        Vec::new(),
        vec![cap(Described::Null, None)],
        vec![cap(Described::Hosted(ExportId::new(0)), None)],
        every,
    ]
}

struct Sign;

impl Signer for Sign {
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [3; 64]
    }

    fn verify(&self, _: &VatKey, _: &[u8], _: &[u8; 64]) -> bool {
        true
    }
}

fn contact(addresses: usize) -> Contact {
    let key = VatKey([1; 32]);
    let by = Identity::new(key, 5, Rc::new(Sign));
    Contact {
        exporter: key,
        addresses: vec!["somewhere far away".to_owned(); addresses],
        claim: Claim::new(&by, 2, &key, VatKey([7; 32])),
    }
}

type Fill = fn(any_pointer::Builder<'_>);

/// Contents of every kind of root pointer.
fn contents() -> Vec<Fill> {
    vec![
        |_| {},
        |to| {
            to.init_as::<message::Builder<'_>>();
        },
        |to| {
            let mut message = to.init_as::<message::Builder<'_>>().init_call();
            message.set_interface_id(9);
            message
                .init_params()
                .init_content()
                .set_as::<text::Owned>("inside")
                .unwrap();
        },
        |mut to| to.set_as::<data::Owned>(&[1; 100][..]).unwrap(),
        |mut to| to.set_as::<text::Owned>("").unwrap(),
        |to| {
            to.init_as::<crate::captp_capnp::finish::Builder<'_>>();
        },
    ]
}

fn content_of(fill: Fill) -> Vec<u8> {
    let mut built = Builder::new(HeapAllocator::new().first_segment_words(100));
    fill(built.get_root().unwrap());
    let segments = built.get_segments_for_output();
    assert_eq!(segments.len(), 1);
    segments.first().unwrap().to_vec()
}

fn write_caps(to: payload::Builder<'_>, caps: &[Cap]) {
    if caps.is_empty() {
        return;
    }
    let mut table = to.init_cap_table(u32::try_from(caps.len()).unwrap());
    for (index, cap) in (0u32..).zip(caps) {
        write_descriptor(table.reborrow().get(index), cap);
    }
}

/// With the generated builders; framed.
fn generated(make: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut built = Builder::new(HeapAllocator::new().first_segment_words(4_000));
    make(built.init_root());
    capnp::serialize::write_message_to_words(&built)
}

const QUESTION: QuestionId = QuestionId::new(0x8000_0001);

fn generated_call(head: CallHead<'_>, no_pipelining: bool, fill: Fill, caps: &[Cap]) -> Vec<u8> {
    generated(|message| {
        let mut call = message.init_call();
        call.set_question_id(QUESTION.raw());
        call.set_interface_id(head.interface);
        call.set_method_id(head.method);
        match head.sort {
            Sort::Call => {}
            Sort::Tail => call.reborrow().init_send_results_to().set_yourself(()),
            Sort::Pipeline => call.set_only_promise_pipeline(true),
        }
        call.set_no_promise_pipelining(no_pipelining);
        call.set_time_left(head.time_left);
        write_target(call.reborrow().init_target(), head.place);
        let mut params = call.init_params();
        fill(params.reborrow().init_content());
        write_caps(params, caps);
    })
}

fn generated_results(id: AnswerId, no_finish: bool, fill: Fill, caps: &[Cap]) -> Vec<u8> {
    generated(|message| {
        let mut ret = message.init_return();
        ret.set_answer_id(id.raw());
        ret.set_release_param_caps(false);
        ret.set_no_finish_needed(no_finish);
        let mut results = ret.init_results();
        fill(results.reborrow().init_content());
        write_caps(results, caps);
    })
}

/// Every combination, as the generated builders write it and as we do.
fn all() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    for fill in contents() {
        let content = content_of(fill);
        for caps in capability_tables() {
            let sorts = [Sort::Call, Sort::Tail, Sort::Pipeline];
            for (place, sort) in places().iter().zip(sorts.into_iter().cycle()) {
                let head = CallHead {
                    sort,
                    place,
                    interface: 0xfedc_ba98_7654_3210,
                    method: 0xabcd,
                    time_left: if caps.is_empty() { 0 } else { 0x1234_5678 },
                };
                let no_pipelining = !caps.is_empty();
                let mut ours = Content::default();
                write::begin_call(&mut ours, head);
                ours.lay(&content);
                write::end_call(&mut ours, no_pipelining, &caps);
                write::set_question(&mut ours, QUESTION);
                let generated = generated_call(head, no_pipelining, fill, &caps);
                pairs.push((generated, ours.message().clone()));
            }
            for no_finish in [false, true] {
                let id = AnswerId::new(u32::MAX);
                let mut ours = Content::default();
                write::begin_results(&mut ours);
                ours.lay(&content);
                write::end_results(&mut ours, id, no_finish, &caps);
                let generated = generated_results(id, no_finish, fill, &caps);
                pairs.push((generated, ours.message().clone()));
            }
        }
    }
    pairs
}

#[test]
fn calls_and_returns_are_written_byte_for_byte_as_the_generated_builders_write_them() {
    for (generated, ours) in all() {
        assert_eq!(generated, ours);
    }
}

/// The content as a message of its own, or that it cannot be read.
fn canonical(frame: Frame, lies: Lies, nesting: u16) -> Option<Vec<u8>> {
    let message = frame.into_message(64, nesting);
    let mut copy = Builder::new_default();
    let mut to: any_pointer::Builder<'_> = copy.get_root().unwrap();
    to.set_as::<any_pointer::Owned>(content_in(&message, lies).ok()?)
        .ok()?;
    Some(capnp::serialize::write_message_to_words(&copy))
}

/// Compares the two readings of a segment; whether the shortcut took it.
fn compare(segment: &[u8], limits: &Limits) -> bool {
    let Some((envelope, content)) = quick::decode(segment, limits) else {
        return false;
    };
    let message = Frame::of_bytes(segment).into_message(64, limits.nesting);
    let full = decode::decode(&message, limits).expect("the shortcut takes what is valid only");
    assert_eq!(format!("{envelope:?}"), format!("{full:?}"));
    let lies = match envelope {
        Envelope::Call(_) => Lies::Call,
        Envelope::Return(_) => Lies::Return,
        _ => {
            assert_eq!(content, None);
            return true;
        }
    };
    let mut focused = Frame::of_bytes(segment);
    focused.focus(content.expect("a payload has a content"));
    let depth = limits.nesting - quick::CONTENT_DEPTH;
    let ours = canonical(focused, Lies::Root, depth);
    let theirs = canonical(Frame::of_bytes(segment), lies, limits.nesting);
    // Words that belong to the envelope and to the content may differ: only a peer that lets them
    // overlap sees that.
    if ours.is_some() && theirs.is_some() && !overlaps(segment) {
        assert_eq!(ours, theirs);
    }
    true
}

/// Whether a pointer of the message leads to its first word, which changes.
fn overlaps(segment: &[u8]) -> bool {
    segment
        .as_chunks::<8>()
        .0
        .iter()
        .zip(0i64..)
        .any(|(word, at)| {
            let pointer = u64::from_le_bytes(*word);
            let [a, b, c, d, ..] = *word;
            let offset = i64::from(i32::from_le_bytes([a, b, c, d]) >> 2);
            pointer & 0b10 == 0 && at + 1 + offset <= 0
        })
}

#[test]
fn the_shortcut_reads_every_call_and_return_as_the_generated_readers_do() {
    let limits = Limits::default();
    let (mut taken, mut left) = (0, 0);
    for (message, _) in all() {
        match compare(&message[8..], &limits) {
            true => taken += 1,
            false => left += 1,
        }
    }
    // A reference that stands for a promised answer of ours is not frequent.
    assert!(taken >= 3 * left && left > 0, "{taken} taken, {left} left");
}

#[test]
fn finish_and_release_are_read_and_written_as_the_generated_code_does() {
    let limits = Limits::default();
    for flag in [false, true] {
        let finish = generated(|message| {
            let mut finish = message.init_finish();
            finish.set_question_id(77);
            finish.set_release_result_caps(flag);
        });
        let mut ours = Vec::new();
        write::finish(&mut ours, QuestionId::new(77), flag);
        assert_eq!(ours, finish);
        assert!(compare(&finish[8..], &limits));
    }
    let release = generated(|message| {
        let mut release = message.init_release();
        release.set_id(3);
        release.set_reference_count(u32::MAX);
    });
    let mut ours = Vec::new();
    write::release(&mut ours, ImportId::new(3), u32::MAX);
    assert_eq!(ours, release);
    assert!(compare(&release[8..], &limits));
}

#[test]
fn the_shortcut_reads_damaged_messages_as_the_generated_readers_do_or_not_at_all() {
    let limits = Limits {
        nesting: 16,
        ..Limits::default()
    };
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % below
    };
    let mut taken = 0;
    for (message, _) in all() {
        let whole = &message[8..];
        for _ in 0..300 {
            let mut segment = whole.to_vec();
            if random(4) == 0 {
                segment.truncate(random(whole.len() / 8) * 8 + 8);
            }
            for _ in 0..=random(3) {
                let at = random(segment.len());
                segment[at] = match random(3) {
                    0 => segment[at] ^ 1 << random(8),
                    1 => 0,
                    _ => u8::try_from(random(256)).unwrap(),
                };
            }
            taken += usize::from(compare(&segment, &limits));
        }
    }
    assert!(taken > 1_000, "only {taken} were taken");
}

#[test]
fn a_struct_of_numbers_and_references_is_plain() {
    let mut content = Content::new();
    let at = content.structure(content.root(), 2, 3).unwrap();
    content.set_number(at, 6, 1, 0x0123_4567_89ab_cdef);
    let slot = |index| Slot::new(at + 16, index);
    content.reference(slot(2), NodeId::new(7, 1));
    content.reference(slot(0), NodeId::new(8, 1));
    let plain = quick::plain(content.segment(), 2).unwrap();
    assert_eq!(plain.data(), &content.segment()[8..24]);
    let references = [0, 1, 2, 3].map(|index| plain.reference(index));
    assert_eq!(references, [Some(1), None, Some(0), None]);

    assert!(quick::plain(content.segment(), 1).is_none(), "not so many");
    let cut = &content.segment()[..content.segment().len() - 8];
    assert!(quick::plain(cut, 2).is_none(), "not all there");
    content.text(slot(1), "more").unwrap();
    assert!(quick::plain(content.segment(), 2).is_none());
}

#[test]
fn only_a_struct_of_few_pointers_is_plain() {
    let segment = |build: &dyn Fn(&mut Content)| {
        let mut content = Content::new();
        build(&mut content);
        content.segment().to_vec()
    };
    let null = segment(&|_| {});
    let list = segment(&|content| {
        content.list(content.root(), Elements::Pointer, 1).unwrap();
    });
    let wide = segment(&|content| {
        content.structure(content.root(), 0, 9).unwrap();
    });
    for other in [null, list, wide] {
        assert!(quick::plain(&other, 0).is_none());
    }
    let empty = segment(&|content| {
        content.structure(content.root(), 0, 0).unwrap();
    });
    let plain = quick::plain(&empty, 0).unwrap();
    assert_eq!((plain.data().len(), plain.reference(0)), (0, None));
}
