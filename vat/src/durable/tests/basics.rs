//! Objects that come back.

use serde::{Deserialize, Serialize};

use crate::Vat;
use crate::durable::Store;
use crate::prelude::*;

#[derive(Clone, Default, Debug, PartialEq, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Knot")]
pub(super) struct Knot {
    pub(super) value: u64,
    pub(super) next: Option<Near<Self>>,
}

/// A vat with the store in this folder.
pub(super) fn vat(folder: &tempfile::TempDir) -> Vat {
    let vat = Vat::new("durable");
    let store = Store::at(&folder.path().join("store")).unwrap();
    vat.attach_store(store).unwrap();
    vat
}

#[test]
fn what_was_changed_is_there_in_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let vat = vat(&folder);
        let value = vat.turn(|turn| {
            let cell = turn.durable("cell", |_| Knot::default())?;
            cell.with(turn, |cell| {
                cell.value += 1;
                cell.value
            })
        });
        assert_eq!(value.unwrap(), life + 1);
        vat.flush_store().unwrap();
    }
}

#[test]
fn cycles_and_shared_objects_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let life = vat(&folder);
    life.turn(|turn| {
        let first = turn.durable("first", |_| Knot::default())?;
        let second = turn.spawn(Knot {
            value: 2,
            next: Some(first.clone()),
        });
        first.with(turn, |cell| cell.next = Some(second.clone()))?;
        turn.durable("second", |_| Knot {
            value: 3,
            next: Some(second),
        })?;
        Ok(())
    })
    .unwrap();
    life.flush_store().unwrap();
    drop(life);
    let life = vat(&folder);
    life.turn(|turn| {
        let none = |_: &Turn| -> Knot { unreachable!() };
        let first = turn.durable("first", none)?;
        let second = first.read(turn, |cell| cell.next.clone())?.unwrap();
        assert_eq!(second.read(turn, |cell| cell.value)?, 2);
        let back = second.read(turn, |cell| cell.next.clone())?.unwrap();
        assert_eq!(back, first);
        let other = turn.durable("second", none)?;
        assert_eq!(other.read(turn, |cell| cell.next.clone())?.unwrap(), second);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_turn_that_fails_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let life = vat(&folder);
    let cell = |turn: &Turn| turn.durable("cell", |_| Knot::default());
    life.turn(|turn| cell(turn).map(drop)).unwrap();
    let failed: Result<()> = life.turn(|turn| {
        cell(turn)?.with(turn, |cell| cell.value = 7)?;
        turn.durable("other", |_| Knot::default())?;
        Err(Error::failed("no"))
    });
    failed.unwrap_err();
    life.flush_store().unwrap();
    drop(life);
    let life = vat(&folder);
    life.turn(|turn| {
        assert_eq!(cell(turn)?.read(turn, |cell| cell.value)?, 0);
        let other = turn.durable("other", |_| Knot {
            value: 1,
            next: None,
        })?;
        assert_eq!(other.read(turn, |cell| cell.value)?, 1);
        Ok(())
    })
    .unwrap();
}
