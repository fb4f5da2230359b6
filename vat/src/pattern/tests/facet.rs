//! Facets and read-only references.

use crate::core::tests::link::Net;
use crate::core::tests::sample::{CounterRef, counter, run, taken, value};
use crate::pattern::{facet, read_only};
use crate::prelude::*;
use crate::schema::describe;
use crate::{ErrorKind, Vat};

fn unimplemented<T: crate::Data + std::fmt::Debug>(promise: &Promise<T>) -> String {
    let error = taken(promise).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    error.to_string()
}

#[test]
fn a_facet_has_the_named_methods_and_no_other() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (rust, schema) = vat
        .turn(|turn| {
            let rust = facet(turn, &reference, &["value", "add_both"])?;
            Ok((rust, facet(turn, &reference, &["value", "addBoth"])?))
        })
        .unwrap();
    let (_, other) = counter(&vat);
    for facet in [rust, schema] {
        let (both, value) = (facet.add_both(&other, false), facet.value());
        let (refused, described) = (facet.add(5), describe(&facet));
        run(&vat);
        taken(&both).unwrap();
        taken(&value).unwrap();
        assert_eq!(
            unimplemented(&refused),
            "this facet of sample::Counter does not have `add`"
        );
        assert!(taken(&described).is_ok());
    }
    assert_eq!(value(&vat, &near), 22);
}

#[test]
fn a_name_that_is_no_method_is_an_error_with_a_hint() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let told = |name: &str| {
        let made = vat.turn(|turn| facet(turn, &reference, &[name]));
        made.unwrap_err().to_string()
    };
    assert_eq!(
        told("vlaue"),
        "sample::Counter has no method `vlaue`; did you mean `value`?"
    );
    assert!(told("subtract").ends_with(
        "it has value, add, add_and_fail, add_and_panic, \
         add_and_keep, add_both, label, fork"
    ));
}

#[test]
fn a_read_only_reference_has_the_reading_methods() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let reader = vat.turn(|turn| Ok(read_only(turn, &reference))).unwrap();
    let (value_, label) = (reader.value(), reader.label("<", ">"));
    let (add, both, fork) = (
        reader.add(1),
        reader.add_both(&reference, false),
        reader.fork(),
    );
    let settled = fork.settled();
    run(&vat);
    assert_eq!(taken(&value_).unwrap(), 0);
    assert_eq!(taken(&label).unwrap(), "<0>");
    unimplemented(&add);
    unimplemented(&both);
    unimplemented(&settled);
    assert_eq!(value(&vat, &near), 0);
}

#[test]
fn inherited_methods_belong_to_a_facet_as_well() {
    #[vat::interface(name = "sample::Below")]
    trait Below {
        fn below(&self, turn: &Turn) -> Result<u64>;
        fn change(&mut self, turn: &Turn) -> Result<u64>;
    }
    #[vat::interface(name = "sample::Above")]
    trait Above: Below {
        fn above(&self, turn: &Turn) -> Result<u64>;
    }
    #[derive(Clone, vat::Object)]
    struct Both;
    impl Below for Both {
        fn below(&self, _: &Turn) -> Result<u64> {
            Ok(1)
        }
        fn change(&mut self, _: &Turn) -> Result<u64> {
            Ok(2)
        }
    }
    impl Above for Both {
        fn above(&self, _: &Turn) -> Result<u64> {
            Ok(3)
        }
    }
    let vat = Vat::new("a");
    let (some, reading) = vat
        .turn(|turn| {
            let both = AboveRef::new(turn, Both);
            Ok((facet(turn, &both, &["below"])?, read_only(turn, &both)))
        })
        .unwrap();
    let (below, change, above) = (some.below(), some.change(), some.above());
    let (reads, reads_too, refused) = (reading.below(), reading.above(), reading.change());
    run(&vat);
    assert_eq!(taken(&below).unwrap(), 1);
    unimplemented(&change);
    // Ordinals are those of one interface: above and below are both number 0.
    unimplemented(&above);
    assert_eq!((taken(&reads).unwrap(), taken(&reads_too).unwrap()), (1, 3));
    unimplemented(&refused);
}

#[test]
fn a_facet_of_an_object_in_another_vat_is_shown_to_a_third() {
    let mut net = Net::new(&["guest", "guard", "owner"]);
    let (near, reference) = counter(&net.vats[2]);
    let far: CounterRef = net.grant(1, 2, &reference);
    let some = net.vats[1]
        .turn(|turn| facet(turn, &far, &["add"]))
        .unwrap();
    let guest: CounterRef = net.grant(0, 1, &some);
    let (sum, refused) = (guest.add(2), guest.value());
    net.run();
    assert_eq!(taken(&sum).unwrap(), 2);
    unimplemented(&refused);
    assert_eq!(value(&net.vats[2], &near), 2);
}
