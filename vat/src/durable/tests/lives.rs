//! Objects that die, are forgotten or are not reached any more.

use serde::{Deserialize, Serialize};

use super::basics::{Knot, vat};
use crate::durable::Store;
use crate::prelude::*;
use crate::supervisor::{ChildSpec, SupervisorSpec};

#[vat::interface]
pub(super) trait Worker {
    fn work(&mut self, turn: &Turn) -> Result<u64>;
    fn panic(&mut self, turn: &Turn) -> Result<()>;
}

#[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Diligent")]
struct Diligent {
    done: u64,
}

impl Worker for Diligent {
    fn work(&mut self, _: &Turn) -> Result<u64> {
        self.done += 1;
        Ok(self.done)
    }

    fn panic(&mut self, _: &Turn) -> Result<()> {
        self.done = 1_000;
        panic!("as asked")
    }
}

#[test]
fn a_restarted_object_begins_with_its_durable_state() {
    let folder = tempfile::tempdir().unwrap();
    // Whether the disk knows the last state when the object dies.
    for (life, flushed) in [true, false].into_iter().enumerate() {
        let vat = vat(&folder);
        let worker = vat.turn(|turn| {
            let supervisor = turn.supervise(SupervisorSpec::default());
            supervisor.add(turn, ChildSpec::new("worker"), |turn| {
                let worker = turn.durable("worker", |_| Diligent::default())?;
                Ok(WorkerRef::from(&worker))
            })
        });
        let worker = worker.unwrap();
        let ask = |promise: Promise<u64>| {
            vat.run(1_000);
            promise.try_take().unwrap()
        };
        let before = life as u64 * 2;
        assert_eq!(ask(worker.work()).unwrap(), before + 1);
        if flushed {
            vat.flush_store().unwrap();
        }
        let died = worker.panic();
        vat.run(1_000);
        died.try_take().unwrap().unwrap_err();
        assert_eq!(ask(worker.work()).unwrap(), before + 2, "{flushed}");
        vat.flush_store().unwrap();
    }
}

#[test]
fn what_nothing_leads_to_goes_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let life = vat(&folder);
    life.turn(|turn| {
        let lost = turn.spawn(Knot {
            value: 2,
            next: None,
        });
        // A cycle is no reason to stay.
        lost.with(turn, |knot| knot.next = Some(lost.clone()))?;
        let first = turn.durable("first", |_| Knot::default())?;
        first.with(turn, |knot| knot.next = Some(lost))?;
        turn.durable("second", |_| Knot::default()).map(drop)
    })
    .unwrap();
    life.flush_store().unwrap();
    life.turn(|turn| {
        let first = turn.durable("first", |_| Knot::default())?;
        first.with(turn, |knot| knot.next = None)?;
        turn.forget_durable("second")
    })
    .unwrap();
    life.flush_store().unwrap();
    drop(life);
    let contents = Store::check(&path).unwrap();
    assert_eq!((contents.objects, contents.unreachable), (3, 2));
    assert_eq!(contents.roots, ["first"]);
    assert_eq!(Store::at(&path).unwrap().swept(), 2);
    assert_eq!(Store::check(&path).unwrap().objects, 1);
}

#[test]
fn a_forgotten_name_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let life = vat(&folder);
    let value = |turn: &Turn| {
        let knot = turn.durable("knot", |_| Knot::default())?;
        knot.with(turn, |knot| {
            knot.value += 1;
            knot.value
        })
    };
    assert_eq!(life.turn(value).unwrap(), 1);
    life.flush_store().unwrap();
    life.turn(|turn| turn.forget_durable("knot")).unwrap();
    assert_eq!(life.turn(value).unwrap(), 1);
    life.flush_store().unwrap();
    drop(life);
    assert_eq!(vat(&folder).turn(value).unwrap(), 2);
}

#[test]
fn what_an_async_method_changed_before_it_failed_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let life = vat(&folder);
    let knot = life.turn(|turn| turn.durable("knot", |_| Knot::default()));
    let knot = knot.unwrap();
    let failed = life.turn(|turn| {
        Ok(turn.spawn_async::<()>(async move |cx: &Cx| {
            knot.with(cx, |knot| knot.value = 1)?;
            let (promise, resolver) = cx.promise::<u64>();
            resolver.resolve(Ok(0));
            promise.await?;
            knot.with(cx, |knot| knot.value = 2)?;
            Err(Error::failed("no"))
        }))
    });
    life.run(1_000);
    failed.unwrap().try_take().unwrap().unwrap_err();
    life.flush_store().unwrap();
    drop(life);
    let value = vat(&folder).turn(|turn| {
        let knot = turn.durable("knot", |_| Knot::default())?;
        knot.read(turn, |knot| knot.value)
    });
    assert_eq!(value.unwrap(), 1);
}

/// Its state can be written as often as it says.
#[derive(Clone, Default, Debug, vat::Object, Deserialize)]
#[object(durable = "test.Touchy")]
struct Touchy {
    touchy: bool,
    value: u64,
}

impl Serialize for Touchy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.touchy, "do not write me");
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Touchy", 2)?;
        fields.serialize_field("touchy", &self.touchy)?;
        fields.serialize_field("value", &self.value)?;
        fields.end()
    }
}

#[test]
fn a_panic_of_a_types_own_code_breaks_the_turn_alone() {
    let folder = tempfile::tempdir().unwrap();
    let life = vat(&folder);
    let touchy = life.turn(|turn| turn.durable("touchy", |_| Touchy::default()));
    let touchy = touchy.unwrap();
    let change = |touchy: &mut Touchy, panics| {
        touchy.value += 1;
        touchy.touchy = panics;
    };
    let broken = life.turn(|turn| touchy.with(turn, |touchy| change(touchy, true)));
    let text = broken.unwrap_err().to_string();
    assert!(
        text.contains("do not write me") && text.contains("test.Touchy"),
        "{text}"
    );
    life.turn(|turn| touchy.with(turn, |touchy| change(touchy, false)))
        .unwrap();
    let value = life.turn(|turn| touchy.read(turn, |touchy| touchy.value));
    assert_eq!(value.unwrap(), 1);
    life.flush_store().unwrap();
}

#[test]
fn a_vat_that_ends_writes_what_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..2 {
        let value = vat(&folder).turn(|turn| {
            let knot = turn.durable("knot", |_| Knot::default())?;
            knot.with(turn, |knot| {
                knot.value += 1;
                knot.value
            })
        });
        assert_eq!(value.unwrap(), life + 1);
    }
}
