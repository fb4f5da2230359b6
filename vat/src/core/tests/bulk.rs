//! Bulk data between vats: `Bytes` and `Vec<u8>` are the same on the wire, however they are sent.

#![expect(clippy::cast_possible_truncation, reason = "numbers are small")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::link::Net;
use super::sample::taken;
use crate::Bytes;
use crate::prelude::*;

#[derive(Clone, Debug, PartialEq, vat::Data)]
#[data(name = "sample::Shared")]
struct Shared {
    name: String,
    one: Bytes,
    many: Vec<Bytes>,
    maybe: Option<Bytes>,
    number: u64,
}

#[derive(Clone, Debug, PartialEq, vat::Data)]
#[data(name = "sample::Copied")]
struct Copied {
    name: String,
    one: Vec<u8>,
    many: Vec<Vec<u8>>,
    maybe: Option<Vec<u8>>,
    number: u64,
}

impl From<Shared> for Copied {
    fn from(from: Shared) -> Self {
        Self {
            name: from.name,
            one: from.one.to_vec(),
            many: from.many.iter().map(|bytes| bytes.to_vec()).collect(),
            maybe: from.maybe.map(|bytes| bytes.to_vec()),
            number: from.number,
        }
    }
}

/// Two views of one interface.
#[vat::interface(name = "sample::BulkShared", id = 0xb5a1_0e5b_17c6_4d21)]
trait BulkShared {
    fn back(&self, turn: &Turn, bulk: Shared) -> Result<Shared>;
}

#[vat::interface(name = "sample::BulkCopied", id = 0xb5a1_0e5b_17c6_4d21)]
trait BulkCopied {
    fn back(&self, turn: &Turn, bulk: Copied) -> Result<Copied>;
}

#[derive(Clone, vat::Object)]
struct Sharing;

impl BulkShared for Sharing {
    fn back(&self, _: &Turn, bulk: Shared) -> Result<Shared> {
        Ok(bulk)
    }
}

#[derive(Clone, vat::Object)]
struct Copying;

impl BulkCopied for Copying {
    fn back(&self, _: &Turn, bulk: Copied) -> Result<Copied> {
        Ok(bulk)
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let least = captp::SHARED_BYTES;
    let size = prop_oneof![0..100usize, least - 9..least + 9, 0..100_000usize];
    (size, any::<u8>()).prop_map(|(size, first)| {
        (0..size)
            .map(|at| first.wrapping_add((at % 251) as u8))
            .collect()
    })
}

prop_compose! {
    fn shared()(
        name in ".{0,9}",
        one in bytes(),
        many in vec(bytes(), 0..5),
        maybe in proptest::option::of(bytes()),
        number in any::<u64>(),
    ) -> Shared {
        Shared { name, one, many, maybe, number }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shared_and_copied_bytes_are_read_as_each_other(value in shared()) {
        let copied = Copied::from(value.clone());
        let mut net = Net::new(&["here", "there"]);
        let sharing = net.vats[1].turn(|turn| Ok(BulkSharedRef::new(turn, Sharing))).unwrap();
        let copying = net.vats[1].turn(|turn| Ok(BulkCopiedRef::new(turn, Copying))).unwrap();
        for object in [Ref::from(sharing), Ref::from(copying)] {
            let object: Ref = net.grant(0, 1, &object);
            let as_shared = BulkSharedRef::from(object.clone()).back(value.clone());
            let as_copied = BulkCopiedRef::from(object).back(copied.clone());
            net.run();
            prop_assert!(taken(&as_shared).unwrap() == value);
            prop_assert!(taken(&as_copied).unwrap() == copied);
        }
    }
}

#[test]
fn a_part_of_a_message_knows_how_large_that_is() {
    let large = |len: usize| Bytes::from(vec![7; len]);
    let value = Shared {
        name: String::new(),
        one: large(40_000),
        many: vec![large(60_000)],
        maybe: None,
        number: 1,
    };
    let mut net = Net::new(&["here", "there"]);
    let sharing = net.vats[1].turn(|turn| Ok(BulkSharedRef::new(turn, Sharing)));
    let object: Ref = net.grant(0, 1, &Ref::from(sharing.unwrap()));
    let back = BulkSharedRef::from(object).back(value);
    net.run();
    let back = taken(&back).unwrap();
    assert_eq!(back.one.len(), 40_000);
    assert!(back.one.holds() > 100_000, "{}", back.one.holds());
    assert!(!captp::is_shared(20_000, back.one.slice(..20_000).holds()));
}
