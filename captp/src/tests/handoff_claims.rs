//! What the signatures of a claim cover.

use super::handoff::claim_for;
use super::net::{identity, key};
use crate::contact::{Claim, read_completion, write_completion};
use crate::network_capnp::completion;

/// The same claim with one thing in it that is not what was signed.
fn with(claim: &Claim, change: impl FnOnce(completion::Builder<'_>)) -> Claim {
    let mut message = capnp::message::Builder::new_default();
    write_completion(claim, message.init_root());
    change(message.get_root().unwrap());
    read_completion(message.get_root_as_reader().unwrap()).unwrap()
}

/// Passed on twice: from vat 2 to vat 4 to vat 5.
fn passed_on_twice() -> Claim {
    let once = claim_for(key(2)).forwarded(&identity(2), &key(3), key(4));
    once.forwarded(&identity(4), &key(3), key(5))
}

#[test]
fn a_claim_is_good_with_every_forward_signed_by_the_one_before() {
    let exporter = identity(3);
    let claim = passed_on_twice();
    assert!(claim.is_signed(&exporter));
    assert_eq!((claim.giver(), claim.holder()), (key(4), key(5)));
    assert!(!claim.is_signed(&identity(7)), "for another exporter");
    let once = claim_for(key(2)).forwarded(&identity(2), &key(3), key(4));
    let skips = once.forwarded(&identity(2), &key(3), key(5));
    assert!(
        !skips.is_signed(&exporter),
        "vat 2 did not have it any more"
    );
    let elsewhere = claim_for(key(2)).forwarded(&identity(2), &key(7), key(4));
    assert!(
        !elsewhere.is_signed(&exporter),
        "passed on for another exporter"
    );
}

#[test]
fn a_signature_covers_who_gives_what_to_whom() {
    type Change = fn(completion::Builder<'_>);
    let changes: [(&str, Change); 7] = [
        ("gifter", |to| to.get_claim().unwrap().set_gifter(&key(9).0)),
        ("nonce", |to| to.get_claim().unwrap().set_nonce(&[9; 16])),
        ("recipient", |to| {
            to.get_claim().unwrap().set_recipient(&key(9).0);
        }),
        ("signature", |to| {
            to.get_claim().unwrap().set_signature(&[9; 64]);
        }),
        ("forward", |to| {
            let list = to.get_claim().unwrap().get_forwards().unwrap();
            list.get(0).set_to(&key(9).0);
        }),
        ("last forward", |to| {
            let list = to.get_claim().unwrap().get_forwards().unwrap();
            list.get(1).set_to(&key(9).0);
        }),
        ("forward's signature", |to| {
            let list = to.get_claim().unwrap().get_forwards().unwrap();
            list.get(1).set_signature(&[9; 64]);
        }),
    ];
    let claim = passed_on_twice();
    assert!(with(&claim, |_| ()).is_signed(&identity(3)));
    for (what, change) in &changes {
        let changed = with(&claim, change);
        assert!(!changed.is_signed(&identity(3)), "{what}");
    }
    // Where nobody has passed it on, the gifter's signature alone covers all of it.
    let direct = claim_for(key(2));
    assert!(with(&direct, |_| ()).is_signed(&identity(3)));
    for (what, change) in &changes[..4] {
        let changed = with(&direct, change);
        assert!(!changed.is_signed(&identity(3)), "{what}, directly");
    }
}

/// Forwards that were signed for one gift, put on another of the same gifter.
#[test]
fn a_forward_covers_the_gift_and_who_had_it() {
    let exporter = identity(3);
    let of_first = claim_for(key(2)).forwarded(&identity(2), &key(3), key(4));
    let signature = forward_signature(&of_first);
    let second = Claim::new(&identity(1), 2, &key(3), key(2));
    let moved = second.forwarded(&identity(2), &key(3), key(4));
    assert!(moved.is_signed(&exporter));
    let moved = with(&moved, |to| set_forward_signature(to, &signature));
    assert!(!moved.is_signed(&exporter), "of another gift");
    let other = Claim::new(&identity(6), 1, &key(3), key(2));
    let other = other.forwarded(&identity(2), &key(3), key(4));
    let moved = with(&other, |to| set_forward_signature(to, &signature));
    assert!(!moved.is_signed(&exporter), "of another gifter");
}

fn forward_signature(claim: &Claim) -> Vec<u8> {
    let mut message = capnp::message::Builder::new_default();
    write_completion(claim, message.init_root());
    let completion: completion::Reader<'_> = message.get_root_as_reader().unwrap();
    let forwards = completion.get_claim().unwrap().get_forwards().unwrap();
    forwards.get(0).get_signature().unwrap().to_vec()
}

fn set_forward_signature(to: completion::Builder<'_>, signature: &[u8]) {
    let list = to.get_claim().unwrap().get_forwards().unwrap();
    list.get(0).set_signature(signature);
}

#[test]
fn a_claim_is_passed_on_eight_times_at_most() {
    let mut claim = claim_for(key(2));
    for _ in 0..8 {
        assert!(claim.can_be_forwarded());
        claim = claim.forwarded(&identity(2), &key(3), key(2));
    }
    assert!(!claim.can_be_forwarded());
    let mut message = capnp::message::Builder::new_default();
    write_completion(&claim, message.init_root());
    assert!(read_completion(message.get_root_as_reader().unwrap()).is_some());
    let claim = claim.forwarded(&identity(2), &key(3), key(2));
    write_completion(&claim, message.init_root());
    assert!(read_completion(message.get_root_as_reader().unwrap()).is_none());
}

#[test]
fn gifts_of_one_vat_have_names_of_their_own() {
    let first = claim_for(key(2));
    let second = Claim::new(&identity(1), 2, &key(3), key(2));
    assert_ne!(first.gift, second.gift);
    let mut other = identity(1);
    other.session += 1;
    let again = Claim::new(&other, 1, &key(3), key(2));
    assert_ne!(first.gift, again.gift, "after a restart");
}
