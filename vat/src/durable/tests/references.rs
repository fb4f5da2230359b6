//! References in durable state.

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::basics::{Knot, vat};
use crate::Vat;
use crate::core::Grants;
use crate::durable::Store;
use crate::power::{LogSinkRef, NetworkRef};
use crate::prelude::*;
use crate::sturdy::{Identity, Seed, SturdyRef, SwissNumber};

#[vat::interface]
pub(super) trait Thing {
    fn name(&self, turn: &Turn) -> Result<String>;
}

/// Not kept on disk.
#[derive(Clone, vat::Object)]
struct Fleeting;

impl Thing for Fleeting {
    fn name(&self, _: &Turn) -> Result<String> {
        Ok("fleeting".to_owned())
    }
}

#[derive(Clone, Default, Debug, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Holder")]
struct Holder {
    thing: Option<ThingRef>,
    untyped: Option<Ref>,
    count: u64,
}

#[derive(vat::Powers)]
struct Granted {
    thing: ThingRef,
    net: Option<NetworkRef>,
    log: Option<LogSinkRef>,
}

fn holder(turn: &Turn) -> Result<Near<Holder>> {
    turn.durable("holder", |_| Holder::default())
}

fn life(folder: &TempDir) -> (Vat, Near<Holder>) {
    let vat = vat(folder);
    let holder = vat.turn(holder).unwrap();
    (vat, holder)
}

#[test]
fn a_reference_that_cannot_be_had_again_breaks_the_turn_that_would_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let (vat, holder) = life(&folder);
    let near = vat.turn(|turn| Ok(ThingRef::new(turn, Fleeting))).unwrap();
    let (promised, _resolver) = vat.turn(|turn| Ok(turn.promise::<ThingRef>())).unwrap();
    for (reference, says) in [(near.clone(), "Fleeting"), (promised, "another life")] {
        let refused = vat.turn(|turn| {
            holder.with(turn, |holder| {
                holder.thing = Some(reference);
                holder.count += 1;
            })
        });
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("Holder") && text.contains("test.Holder"),
            "{text}"
        );
        assert!(text.contains(says), "{text}");
    }
    // Also in an object that this turn would be the first to keep.
    let refused = vat.turn(|turn| {
        let inner = turn.spawn(Holder {
            untyped: Some(near.clone().into()),
            ..Holder::default()
        });
        turn.durable("other", |_| Shelf { inner }).map(drop)
    });
    assert!(refused.unwrap_err().to_string().contains("Fleeting"));
    // Nothing of it stays, also not in memory.
    let (count, none) = vat
        .turn(|turn| holder.read(turn, |holder| (holder.count, holder.thing.is_none())))
        .unwrap();
    assert_eq!((count, none), (0, true));
    vat.flush_store().unwrap();
    drop((near, holder, vat));
    let contents = Store::check(&folder.path().join("store")).unwrap();
    assert_eq!(
        (contents.objects, contents.roots),
        (1, vec!["holder".to_owned()])
    );
}

#[derive(Clone, Debug, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Shelf")]
struct Shelf {
    inner: Near<Holder>,
}

#[test]
fn the_reference_in_a_slot_is_what_is_granted_there_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2 {
        let vat = vat(&folder);
        let fake = vat.turn(|turn| Ok(ThingRef::new(turn, Fleeting))).unwrap();
        let Granted { thing, .. } = Grants::new()
            .with::<ThingRef>("thing", fake.clone())
            .into_powers()
            .unwrap();
        let held = vat.turn(|turn| {
            let holder = holder(turn)?;
            holder.with(turn, |holder| {
                if number == 0 {
                    holder.thing = Some(thing.clone());
                }
                holder.count += 1;
                holder.thing.clone()
            })
        });
        let held: Ref = held.unwrap().unwrap().into();
        assert_eq!(held.same(fake.as_ref()), Some(true));
        vat.flush_store().unwrap();
    }
    // Without the grant it cannot be brought back, and says which one is missing.
    let refused = vat(&folder).turn(holder).unwrap_err().to_string();
    assert!(refused.contains("slot `thing`"), "{refused}");
}

#[test]
fn a_reference_from_a_sturdy_ref_comes_back_dormant() {
    let folder = tempfile::tempdir().unwrap();
    let somewhere = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
    let sturdy = SturdyRef::new(somewhere, SwissNumber::from_bytes([2; 16]), []).unwrap();
    for number in 0..3 {
        let vat = vat(&folder);
        let (network, _resolver) = vat.turn(|turn| Ok(turn.promise::<NetworkRef>())).unwrap();
        let fake = vat.turn(|turn| Ok(ThingRef::new(turn, Fleeting))).unwrap();
        let granted: Granted = Grants::new()
            .with::<ThingRef>("thing", fake)
            .with::<NetworkRef>("net", network)
            .into_powers()
            .unwrap();
        let net = granted.net.unwrap();
        drop(granted.log);
        let thing = vat.turn(|turn| {
            let holder = holder(turn)?;
            holder.with(turn, |holder| {
                if number == 0 {
                    holder.thing = Some(net.enliven(&sturdy).into());
                }
                holder.count += 1;
                holder.thing.clone()
            })
        });
        vat.flush_store().unwrap();
        if number == 2 {
            // The first call enlivens it; this vat is on no network, and the reason says so.
            let call = thing.unwrap().unwrap().name();
            vat.run(1_000);
            let broken = call.try_take().unwrap().unwrap_err().to_string();
            assert!(broken.contains("not on a network"), "{broken}");
        }
    }
    let mut text = Vec::new();
    Store::export(&folder.path().join("store"), &mut text, false).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(r#"{"$sturdy":["net","***"]}"#), "{text}");
}

#[test]
fn a_reference_is_written_nowhere_else() {
    let vat = Vat::new("elsewhere");
    let near = vat.turn(|turn| Ok(turn.spawn(Knot::default()))).unwrap();
    let refused = serde_json::to_string(&near).unwrap_err().to_string();
    assert!(refused.contains("durable object's state"), "{refused}");
    let thing = vat.turn(|turn| Ok(ThingRef::new(turn, Fleeting))).unwrap();
    serde_json::to_string(&thing).unwrap_err();
    serde_json::from_str::<ThingRef>("7").unwrap_err();
}
