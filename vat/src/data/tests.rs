//! Values out to bytes and back.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::*;

/// Writes `value` as the only field of a struct and reads it back.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the callers make them on the way"
)]
fn there_and_back<T: Data + PartialEq + Debug>(value: T) {
    let mut content = Content::new();
    let size = match T::KIND {
        Kind::Void => Size::default(),
        Kind::Bits(_) => Size {
            data: 1,
            pointers: 0,
        },
        Kind::Pointer => Size {
            data: 0,
            pointers: 1,
        },
    };
    let mut writer = Writer::root(&mut content, size).unwrap();
    value.write(&mut writer, 0).unwrap();
    let source = Source::new(&[]);
    let message = message_of(&content);
    let reader = Reader::root(message.get_root().unwrap(), &source).unwrap();
    assert_eq!(T::read(&reader, 0).unwrap(), value);
    let written = content.segment().len() / 8;
    assert_eq!(written, 1 + size.words() + value.words(), "{value:?}");
}

#[test]
fn values_come_back_as_they_were() {
    there_and_back(());
    there_and_back(true);
    there_and_back(-1i8);
    there_and_back(u8::MAX);
    there_and_back(i16::MIN);
    there_and_back(u32::MAX);
    there_and_back(i64::MIN);
    there_and_back(-0.5f32);
    there_and_back(f64::NEG_INFINITY);
    there_and_back("Hello, wörld".to_owned());
    there_and_back(b"\0\xff".to_vec());
    there_and_back([7u8; 16]);
    there_and_back(Box::new(5u16));
    there_and_back(vec![true, false, true]);
    there_and_back(vec![(); 3]);
    there_and_back(vec![vec![1u64, 2], vec![]]);
    there_and_back(vec!["a".to_owned(), String::new()]);
    there_and_back(vec![Some("a".to_owned()), None, Some(String::new())]);
    there_and_back(None::<u32>);
    there_and_back(Some(0u32));
    there_and_back(Some(()));
    there_and_back(Some(String::new()));
    there_and_back(BTreeMap::from([("a".to_owned(), 1u8), ("b".to_owned(), 2)]));
}

#[test]
fn writing_outside_of_the_struct_is_refused() {
    let mut content = Content::new();
    let mut writer = Writer::root(
        &mut content,
        Size {
            data: 1,
            pointers: 1,
        },
    )
    .unwrap();
    for (size, at) in [(0, 64), (3, 8), (4, 4), (5, 2), (6, 1), (6, u32::MAX)] {
        let refused = writer.bits(size, at, 1).unwrap_err();
        assert_eq!(*refused.fault(), Fault::NoSlot { at });
    }
    assert_eq!(
        *writer.text(1, "x").unwrap_err().fault(),
        Fault::NoSlot { at: 1 }
    );
    let mut list = writer.list(0, Element::Bits(4), 2).unwrap();
    assert_eq!(
        *list.bits(4, 2, 1).unwrap_err().fault(),
        Fault::NoSlot { at: 2 }
    );
    assert_eq!(
        *list.bits(6, 0, 1).unwrap_err().fault(),
        Fault::NoSlot { at: 0 }
    );
    assert_eq!(
        *list.text(0, "x").unwrap_err().fault(),
        Fault::NoSlot { at: 0 }
    );
}

#[test]
fn a_key_that_comes_twice_is_an_error() {
    let mut content = Content::new();
    let mut writer = Writer::root(
        &mut content,
        Size {
            data: 0,
            pointers: 1,
        },
    )
    .unwrap();
    let entry = Size {
        data: 1,
        pointers: 1,
    };
    let mut list = writer.list(0, Element::Struct(entry), 2).unwrap();
    for at in 0..2 {
        list.structure(at, entry).unwrap().text(0, "same").unwrap();
    }
    let source = Source::new(&[]);
    let message = message_of(&content);
    let reader = Reader::root(message.get_root().unwrap(), &source).unwrap();
    let error = BTreeMap::<String, u64>::read(&reader, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "in [1]: the map has the key of this entry twice"
    );
}

#[test]
fn a_small_message_cannot_make_a_large_value() {
    let mut content = Content::new();
    let mut writer = Writer::root(
        &mut content,
        Size {
            data: 0,
            pointers: 1,
        },
    )
    .unwrap();
    writer
        .list(0, Element::Struct(Size::default()), 1 << 22)
        .unwrap();
    let source = Source::new(&[]);
    let message = message_of(&content);
    let reader = Reader::root(message.get_root().unwrap(), &source).unwrap();
    let error = reader
        .list(0, Element::Struct(Size::default()), 1000)
        .unwrap_err();
    assert_eq!(
        *error.fault(),
        Fault::TooLarge {
            limit: MEMORY_LIMIT
        }
    );
}
