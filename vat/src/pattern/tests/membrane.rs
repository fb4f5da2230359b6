//! Membranes.

use std::time::Duration;

use crate::core::tests::link::Net;
use crate::core::tests::sample::{Count, CounterRef, counter, run, taken, value};
use crate::pattern::{Revoker, membrane};
use crate::prelude::*;
use crate::schema::describe;
use crate::{ErrorKind, Vat};

/// Two references in a struct.
#[derive(Clone, Debug, vat::Data)]
#[data(name = "sample::Both")]
struct Both {
    name: String,
    one: CounterRef,
    others: Vec<CounterRef>,
}

/// Keeps references.
#[vat::interface(name = "sample::Shelf")]
trait Shelf {
    /// The kept one.
    fn kept(&self, turn: &Turn) -> Result<CounterRef>;
    /// Keeps this one.
    fn keep(&mut self, turn: &Turn, one: CounterRef) -> Result<()>;
    /// Whether this is the kept one.
    fn is_kept(&self, turn: &Turn, one: CounterRef) -> Result<Option<bool>>;
    /// The same back.
    fn echo(&self, turn: &Turn, one: CounterRef) -> Result<CounterRef>;
    /// The kept one, several times.
    fn both(&self, turn: &Turn) -> Result<Both>;
    /// What will be the kept one when `settle` is called.
    fn coming(&mut self, turn: &Turn) -> Result<CounterRef>;
    /// See there.
    fn settle(&mut self, turn: &Turn) -> Result<()>;
    /// Adds to the kept one.
    fn add_to_kept(&self, turn: &Turn, amount: u64) -> Result<Promise<u64>>;
    /// Answers only when `settle` is called.
    fn slow(&mut self, turn: &Turn) -> Result<Promise<Both>>;
}

#[derive(Clone, vat::Object)]
struct Kept {
    one: CounterRef,
    coming: Vec<Resolver<CounterRef>>,
    slow: Vec<Resolver<Both>>,
}

impl Shelf for Kept {
    fn kept(&self, _: &Turn) -> Result<CounterRef> {
        Ok(self.one.clone())
    }

    fn keep(&mut self, _: &Turn, one: CounterRef) -> Result<()> {
        self.one = one;
        Ok(())
    }

    fn is_kept(&self, _: &Turn, one: CounterRef) -> Result<Option<bool>> {
        Ok(one.same(&self.one))
    }

    fn echo(&self, _: &Turn, one: CounterRef) -> Result<CounterRef> {
        Ok(one)
    }

    fn both(&self, _: &Turn) -> Result<Both> {
        Ok(Both {
            name: "both".into(),
            one: self.one.clone(),
            others: vec![self.one.clone(), self.one.clone()],
        })
    }

    fn coming(&mut self, turn: &Turn) -> Result<CounterRef> {
        let (promise, resolver) = turn.promise::<CounterRef>();
        self.coming.push(resolver);
        Ok(promise)
    }

    fn settle(&mut self, turn: &Turn) -> Result<()> {
        for resolver in self.coming.drain(..) {
            resolver.resolve(Ok(self.one.clone()));
        }
        let both = self.both(turn)?;
        for resolver in self.slow.drain(..) {
            resolver.resolve(Ok(both.clone()));
        }
        Ok(())
    }

    fn add_to_kept(&self, _: &Turn, amount: u64) -> Result<Promise<u64>> {
        Ok(self.one.add(amount))
    }

    fn slow(&mut self, turn: &Turn) -> Result<Promise<Both>> {
        let (promise, resolver) = turn.promise::<Both>();
        self.slow.push(resolver);
        Ok(promise)
    }
}

fn shelf(vat: &Vat, one: &CounterRef) -> ShelfRef {
    let (coming, slow) = (Vec::new(), Vec::new());
    let one = one.clone();
    vat.turn(|turn| Ok(ShelfRef::new(turn, Kept { one, coming, slow })))
        .unwrap()
}

/// What runs until nothing is left to do, and where.
enum World {
    One(Vat),
    Three(Net),
}

/// A guest, a membrane and an owner with a shelf.
struct Set {
    world: World,
    /// Inside: the kept counter, the shelf itself.
    near: Near<Count>,
    inside: ShelfRef,
    guest: ShelfRef,
    gate: Revoker,
}

impl Set {
    fn in_one_vat() -> Self {
        let vat = Vat::new("a");
        let (near, one) = counter(&vat);
        let inside = shelf(&vat, &one);
        let (guest, gate) = vat.turn(|turn| Ok(membrane(turn, &inside))).unwrap();
        Self {
            world: World::One(vat),
            near,
            inside,
            guest,
            gate,
        }
    }

    fn in_three_vats() -> Self {
        let mut net = Net::new(&["guest", "guard", "owner"]);
        let (near, one) = counter(&net.vats[2]);
        let inside = shelf(&net.vats[2], &one);
        let far: ShelfRef = net.grant(1, 2, &inside);
        let (guarded, gate) = net.vats[1].turn(|turn| Ok(membrane(turn, &far))).unwrap();
        let guest = net.grant(0, 1, &guarded);
        Self {
            world: World::Three(net),
            near,
            inside,
            guest,
            gate,
        }
    }

    fn run(&mut self) {
        match &mut self.world {
            World::One(vat) => run(vat),
            World::Three(net) => net.run(),
        }
    }

    fn guest_vat(&self) -> &Vat {
        match &self.world {
            World::One(vat) => vat,
            World::Three(net) => &net.vats[0],
        }
    }

    fn owner_vat(&self) -> &Vat {
        match &self.world {
            World::One(vat) => vat,
            World::Three(net) => &net.vats[2],
        }
    }
}

fn everywhere(test: fn(Set)) {
    test(Set::in_one_vat());
    test(Set::in_three_vats());
}

#[track_caller]
fn revoked<T: crate::Data + std::fmt::Debug>(promise: &Promise<T>) {
    assert_eq!(taken(promise).unwrap_err().kind(), ErrorKind::Revoked);
}

// Promise 16
#[test]
fn revocation_ends_what_was_reached_through_answers() {
    everywhere(|mut set| {
        let kept = set.guest.kept();
        let forked = kept.fork();
        let both = set.guest.both();
        let (one, two) = (kept.add(1), forked.add(1));
        set.run();
        assert_eq!((taken(&one).unwrap(), taken(&two).unwrap()), (1, 1));
        let both = taken(&both).unwrap();
        assert_eq!((both.name.as_str(), both.others.len()), ("both", 2));
        let three = both.others[1].add(1);
        set.run();
        assert_eq!(taken(&three).unwrap(), 2);
        set.gate.revoke();
        let late = [
            kept.add(1),
            forked.add(1),
            both.one.add(1),
            both.others[0].add(1),
        ];
        let more = [kept.fork().add(1), set.guest.kept().add(1)];
        set.run();
        late.iter().chain(&more).for_each(revoked);
        assert_eq!(value(set.owner_vat(), &set.near), 2);
    });
}

// Promise 16
#[test]
fn revocation_ends_what_was_given_in_arguments() {
    everywhere(|mut set| {
        let (near, given) = counter(set.guest_vat());
        set.guest.keep(&given).detach();
        let one = set.guest.add_to_kept(3);
        set.run();
        let itself = set.inside.add_to_kept(4);
        set.run();
        assert_eq!((taken(&one).unwrap(), taken(&itself).unwrap()), (3, 7));
        set.gate.revoke();
        let late = set.inside.add_to_kept(5);
        set.run();
        revoked(&late);
        assert_eq!(value(set.guest_vat(), &near), 7);
    });
}

// Promise 10
#[test]
fn what_passes_twice_is_the_same_and_what_goes_back_is_itself() {
    everywhere(|mut set| {
        let (_, own) = counter(set.guest_vat());
        let (first, second) = (set.guest.kept(), set.guest.kept());
        let echoed = set.guest.echo(&own);
        set.run();
        let same = [set.guest.is_kept(&first), set.guest.is_kept(&own)];
        let first_again = set.guest.echo(&first);
        set.run();
        let same: Vec<_> = same.iter().map(|one| taken(one).unwrap()).collect();
        assert_eq!(same[0], Some(true), "unwrapped on the way back in");
        assert_ne!(same[1], Some(true));
        assert_eq!(first.same(&second), Some(true));
        assert_eq!(first.same(&first_again), Some(true));
        assert_eq!(
            echoed.same(&own),
            Some(true),
            "unwrapped on the way back out"
        );
        assert!(first.identity().is_some());
        assert_eq!(first.identity(), second.identity());
    });
}

// Promise 10
#[test]
fn a_proxy_is_another_facet_than_what_it_stands_for() {
    let mut set = Set::in_one_vat();
    let kept = set.guest.kept();
    set.run();
    let inside = CounterRef::from(&set.near);
    assert_eq!(kept.same(&inside), Some(false));
    assert_eq!(set.guest.same(&set.inside), Some(false));
    assert!(
        set.guest_vat()
            .turn(|turn| Ok(kept.downcast::<Count>(turn).is_none()))
            .unwrap()
    );
}

// Promise 1
#[test]
fn calls_through_a_membrane_stay_in_order_also_on_what_came_through_it() {
    everywhere(|mut set| {
        let kept = set.guest.kept();
        let coming = set.guest.coming();
        let early: Vec<_> = (0..3).map(|_| coming.add(1)).collect();
        let straight: Vec<_> = (0..3).map(|_| kept.add(1)).collect();
        set.run();
        let sums = |some: &[Promise<u64>]| -> Vec<u64> {
            some.iter().map(|one| taken(one).unwrap()).collect()
        };
        assert_eq!(sums(&straight), [1, 2, 3]);
        assert!(early.iter().all(|one| one.try_take().is_none()));
        assert_eq!(coming.same(&kept), None);
        set.guest.settle().detach();
        let behind: Vec<_> = (0..3).map(|_| coming.add(1)).collect();
        set.run();
        let later: Vec<_> = (0..3).map(|_| coming.add(1)).collect();
        set.run();
        assert_eq!(sums(&early), [4, 5, 6]);
        assert_eq!(sums(&behind), [7, 8, 9]);
        assert_eq!(sums(&later), [10, 11, 12]);
        assert_eq!(coming.same(&kept), Some(true));
    });
}

// Promise 1
#[test]
fn what_was_sent_before_a_reference_is_given_away_arrives_first() {
    everywhere(|mut set| {
        let kept = set.guest.kept();
        set.run();
        let pairs: Vec<_> = (0..3)
            .map(|_| {
                let mine = kept.add(1);
                set.guest.keep(&kept).detach();
                (mine, set.guest.add_to_kept(10))
            })
            .collect();
        set.run();
        for (mine, theirs) in &pairs {
            let (mine, theirs) = (taken(mine).unwrap(), taken(theirs).unwrap());
            assert!(mine < theirs, "{mine} {theirs}");
        }
        assert_eq!(value(set.owner_vat(), &set.near), 33);
    });
}

// Promise 16
#[test]
fn an_answer_that_comes_after_the_revocation_delivers_nothing() {
    everywhere(|mut set| {
        let slow = set.guest.slow();
        let coming = set.guest.coming();
        let pipelined = [slow.one.add(1), coming.add(1)];
        let ahead = set.guest.add_to_kept(1);
        set.run();
        assert!(slow.try_take().is_none());
        assert_eq!(taken(&ahead).unwrap(), 1);
        set.gate.revoke();
        set.run();
        let told = taken(&slow).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Revoked);
        assert_eq!(
            told.to_string(),
            "the reference was revoked; the call may have run"
        );
        pipelined.iter().for_each(revoked);
        assert_eq!(coming.broken_reason().unwrap().kind(), ErrorKind::Revoked);
        set.inside.settle().detach();
        set.run();
        assert_eq!(value(set.owner_vat(), &set.near), 1);
    });
}

#[test]
fn a_revoked_membrane_keeps_nothing_alive() {
    let mut set = Set::in_one_vat();
    let kept = set.guest.kept();
    let forked = kept.fork();
    let slow = set.guest.coming().add(1);
    set.run();
    let World::One(vat) = &set.world else {
        panic!()
    };
    let Set { near, inside, .. } = &set;
    assert_eq!(
        vat.objects(),
        6,
        "shelf, counter and fork, each with a proxy"
    );
    let (near, inside) = (near.downgrade(), inside.clone());
    set.gate.revoke();
    let Set {
        world,
        guest,
        near: strong,
        inside: shelf,
        ..
    } = set;
    drop((strong, shelf, inside));
    let World::One(vat) = world else { panic!() };
    run(&vat);
    revoked(&slow);
    assert!(near.upgrade().is_none());
    assert_eq!(vat.objects(), 3, "the proxies");
    drop((guest, kept, forked));
    run(&vat);
    assert_eq!(vat.objects(), 0);
}

#[test]
fn what_nobody_holds_any_more_leaves_the_membrane() {
    let mut set = Set::in_one_vat();
    for _ in 0..3 {
        let (kept, echoed) = (set.guest.kept(), {
            let (_, own) = counter(set.guest_vat());
            set.guest.echo(&own)
        });
        set.run();
        drop((kept, echoed));
        set.run();
        assert_eq!(set.guest_vat().objects(), 3, "counter, shelf and its proxy");
    }
}

#[test]
fn what_breaks_inside_breaks_outside_for_the_same_reason() {
    everywhere(|mut set| {
        let kept = set.guest.kept();
        let (failed, panicked) = (kept.add_and_fail(1), kept.add_and_panic(1));
        let broken = set
            .guest_vat()
            .turn(|turn| {
                Ok(CounterRef::from(Ref::broken(
                    turn,
                    Error::overloaded("full"),
                )))
            })
            .unwrap();
        set.guest.keep(&broken).detach();
        let reason = set.guest.add_to_kept(1);
        let described = describe(&set.guest);
        set.run();
        let failed = taken(&failed).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Failed);
        assert!(failed.to_string().contains("told to fail"));
        assert_eq!(taken(&panicked).unwrap_err().kind(), ErrorKind::Panicked);
        assert_eq!(taken(&reason).unwrap_err().kind(), ErrorKind::Overloaded);
        let described = taken(&described).unwrap();
        let root = described.interface(described.root).unwrap();
        assert_eq!(root.name, "sample::Shelf");
    });
}

#[test]
fn a_lost_connection_behind_a_membrane_is_told_outside() {
    let mut set = Set::in_three_vats();
    let slow = set.guest.slow();
    set.run();
    let World::Three(net) = &mut set.world else {
        panic!()
    };
    net.cut(0);
    net.run();
    assert_eq!(taken(&slow).unwrap_err().kind(), ErrorKind::Disconnected);
    let late = set.guest.kept().add(1);
    set.run();
    assert_eq!(taken(&late).unwrap_err().kind(), ErrorKind::Disconnected);
}

#[test]
fn a_membrane_around_a_promise_is_one_around_what_it_becomes() {
    let vat = Vat::new("a");
    vat.handle_time(Duration::ZERO);
    let (_, reference) = counter(&vat);
    let ((guest, gate), resolver) = vat
        .turn(|turn| {
            let (promise, resolver) = turn.promise::<CounterRef>();
            Ok((membrane(turn, &promise), resolver))
        })
        .unwrap();
    let (one, two) = (guest.add(1), guest.add(1));
    run(&vat);
    assert!(one.try_take().is_none());
    resolver.resolve(Ok(reference));
    run(&vat);
    assert_eq!((taken(&one).unwrap(), taken(&two).unwrap()), (1, 2));
    gate.revoke();
    let late = guest.add(1);
    run(&vat);
    revoked(&late);
}

#[test]
fn a_failed_turn_leaves_no_membrane() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let failed = vat.turn(|turn| {
        drop(membrane(turn, &reference));
        Err::<(), _>(Error::failed("told to fail"))
    });
    failed.unwrap_err();
    run(&vat);
    assert_eq!(vat.objects(), 1);
}
