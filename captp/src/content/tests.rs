//! What is written reads as it was meant.

use super::*;
use crate::captp_capnp::{exception, promised_answer};
use crate::frame::Frame;

/// The same, built by the generated code.
fn generated(write: impl FnOnce(any_pointer::Builder<'_>)) -> Vec<u8> {
    let mut content = Content::new();
    let written = content.build::<Exception>(100, |root| {
        write(root);
        Ok(())
    });
    written.unwrap();
    content.segment().to_vec()
}

#[test]
fn structs_lists_and_texts_lie_as_the_generated_builders_lay_them() {
    let theirs = generated(|root| {
        let mut answer = root.init_as::<promised_answer::Builder<'_>>();
        answer.set_question_id(7);
        let mut ops = answer.init_transform(3);
        ops.reborrow().get(1).set_get_pointer_field(0xabcd);
    });
    let mut ours = Content::new();
    let answer = ours.structure(ours.root(), 1, 1).unwrap();
    ours.set_number(answer, 5, 0, 7);
    let ops = ours.structs(Slot::new(answer, 1), 3, 1, 0).unwrap();
    ours.set_number(ops + 8, 4, 0, 1);
    ours.set_number(ops + 8, 4, 1, 0xabcd);
    assert_eq!(ours.segment(), theirs);

    let theirs = generated(|root| {
        let mut broken = root.init_as::<exception::Builder<'_>>();
        broken.set_reason("sixteen letters!");
        broken.set_obsolete_is_callers_fault(true);
        broken.set_trace("");
    });
    let mut ours = Content::new();
    let pointers = u16::from_le_bytes([theirs[6], theirs[7]]);
    let broken = ours.structure(ours.root(), 1, pointers).unwrap();
    ours.text(Slot::new(broken, 1), "sixteen letters!").unwrap();
    ours.set_number(broken, 0, 0, 1);
    ours.text(Slot::new(broken, 2), "").unwrap();
    assert_eq!(ours.segment(), theirs);
}

#[test]
fn what_is_built_in_pieces_is_joined() {
    let text = "x".repeat(1_000);
    let mut one = Content::new();
    one.text(one.root(), &text).unwrap();
    let mut other = Content::new();
    let written = other.build::<Exception>(0, |mut root| {
        root.set_as::<capnp::text::Owned>(&text[..])?;
        Ok(())
    });
    written.unwrap();
    assert_eq!(one.segment(), other.segment());
}

#[test]
fn an_empty_struct_is_not_null_wherever_it_lies() {
    for around in [0, 3] {
        let mut content = Content::new();
        content.begin(|out| {
            out.resize(8 * around + 16, 0);
            8 * around
        });
        content.structure(content.root(), 0, 0).unwrap();
        let message = Frame::of_bytes(content.segment()).into_message(1, 8);
        let root: any_pointer::Reader<'_> = message.get_root().unwrap();
        assert!(!root.is_null());
        root.get_as::<exception::Reader<'_>>().unwrap();
    }
}

#[test]
fn what_cannot_be_in_one_message_is_not_made() {
    let mut content = Content::new();
    let root = content.root();
    assert_eq!(content.structs(root, u32::MAX, 1, 0), None);
    assert_eq!(content.structs(root, 1 << 20, 1 << 15, 0), None);
    assert_eq!(content.structs(root, u32::MAX, 0, 0), None);
    assert_eq!(content.list(root, Elements::Void, 1 << 29), None);
    assert_eq!(content.list(root, Elements::Bits(6), 1 << 29), None);
    assert_eq!(content.segment(), [0; 8]);
}

#[test]
fn places_that_are_none_are_left_alone() {
    let mut content = Content::new();
    content.set_number(usize::MAX / 2, 6, 0, 1);
    content.set_number(8, 3, 0, 1);
    content.reference(Slot::new(1 << 40, 0), NodeId::new(0, 1));
    assert_eq!(content.segment(), [0; 8]);
}

#[test]
fn the_message_around_is_out_of_reach() {
    let mut content = Content::default();
    content.begin(|out| {
        out.resize(32, 0);
        16
    });
    content.set_number(0, 6, 1, u64::MAX);
    content.set_number(8, 0, 3, 1);
    content.reference(Slot::new(0, 1), NodeId::new(0, 1));
    assert_eq!(*content.message(), [0; 32]);
    content.set_number(16, 6, 0, u64::MAX);
    assert_eq!(content.segment()[..8], [0xff; 8]);
}
