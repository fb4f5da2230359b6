//! Promises 1, 8, 10 and 12, inside one vat.

use std::rc::Rc;

use super::sample::{Count, Counter, CounterRef, counter, run, taken, value};
use crate::core::vat::{Breakable, Shared};
use crate::prelude::*;
use crate::schema::describe;
use crate::{AnyCall, Dynamic, Vat};

// Promise 1
#[test]
fn sends_to_a_promise_arrive_in_order_behind_those_that_waited() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let promised = reference.fork();
    let labels: Vec<_> = (0..3)
        .map(|n| {
            promised.add(1).detach();
            promised.label(format!("{n}:"), "")
        })
        .collect();
    run(&vat);
    let labels: Vec<String> = labels.iter().map(|label| taken(label).unwrap()).collect();
    assert_eq!(labels, ["0:1", "1:2", "2:3"]);
    assert_eq!(value(&vat, &near), 0);
}

// Promise 2
#[test]
fn a_method_may_answer_with_a_promise() {
    #[vat::interface(name = "sample::Later")]
    trait Later {
        fn value(&self, turn: &Turn, of: CounterRef) -> Result<Promise<u64>>;
        fn itself(&self, turn: &Turn, of: CounterRef) -> Result<CounterRef>;
    }
    #[derive(Clone, vat::Object)]
    struct Asks;
    impl Later for Asks {
        fn value(&self, _: &Turn, of: CounterRef) -> Result<Promise<u64>> {
            Ok(of.value())
        }
        fn itself(&self, _: &Turn, of: CounterRef) -> Result<CounterRef> {
            Ok(of.fork())
        }
    }
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    reference.add(4).detach();
    let asks = vat.turn(|turn| Ok(LaterRef::new(turn, Asks))).unwrap();
    let (value, forked) = (asks.value(&reference), asks.itself(&reference).value());
    run(&vat);
    assert_eq!((taken(&value).unwrap(), taken(&forked).unwrap()), (4, 4));
}

// Promise 8
#[test]
fn a_broken_promise_passes_its_reason_on() {
    let vat = Vat::new("a");
    let (_, resolver) = vat.turn(|turn| Ok(turn.promise::<CounterRef>())).unwrap();
    let (promise, other) = vat.turn(|turn| Ok(turn.promise::<CounterRef>())).unwrap();
    let pipelined = promise.fork().value();
    let settled = promise.settled();
    other.resolve(Err(Error::overloaded("full")));
    run(&vat);
    let error = taken(&pipelined).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Overloaded, "full")
    );
    assert_eq!(taken(&settled).unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(promise.broken_reason().unwrap().to_string(), "full");
    assert!(format!("{promise:?}").contains("broken"));
    drop(resolver);
}

// Promise 8
#[test]
fn a_broken_reference_in_an_argument_does_not_break_the_call() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let broken = vat
        .turn(|turn| Ok(CounterRef::from(Ref::broken(turn, Error::failed("gone")))))
        .unwrap();
    let call = reference.add_both(broken, false);
    run(&vat);
    assert_eq!(taken(&call).unwrap_err().to_string(), "gone");
    assert_eq!(value(&vat, &near), 1, "the call itself ran");
}

// Promise 10
#[test]
fn identity_is_the_facet_and_unknown_while_unresolved() {
    #[vat::interface(name = "sample::Other")]
    trait Other {
        fn nothing(&self, turn: &Turn) -> Result<()>;
    }
    impl Other for Count {
        fn nothing(&self, _: &Turn) -> Result<()> {
            Ok(())
        }
    }
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let (_, stranger) = counter(&vat);
    let again = CounterRef::from(&near);
    assert_eq!(reference.same(&again), Some(true));
    assert!(reference.identity().is_some());
    assert_eq!(reference.identity(), again.identity());
    assert_ne!(reference.identity(), stranger.identity());
    assert_eq!(reference.same(&stranger), Some(false));
    assert_eq!(
        reference.same(&OtherRef::from(&near)),
        Some(false),
        "another facet"
    );
    let promise = reference.fork();
    assert_eq!(reference.same(&promise), None);
    assert_eq!(promise.identity(), None);
    run(&vat);
    assert_eq!(reference.same(&promise), Some(false));
    assert_eq!(promise.same(&promise.clone()), Some(true));
}

// Promise 10
#[test]
fn a_facet_that_everybody_dropped_is_made_again() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    drop(reference);
    // The drop is noted, not yet told by the engine, when the new reference is made.
    let again = CounterRef::from(&near);
    let promise = again.add(1);
    run(&vat);
    assert_eq!(taken(&promise).unwrap(), 1);
    drop(again);
    run(&vat);
    let again = CounterRef::from(&near);
    let promise = again.add(1);
    run(&vat);
    assert_eq!(taken(&promise).unwrap(), 2);
}

#[test]
fn downcast_finds_the_own_object_and_nothing_else() {
    #[derive(Clone, vat::Object)]
    struct Stranger;
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    let promise = reference.fork();
    vat.turn(|turn| {
        assert_eq!(reference.downcast::<Count>(turn), Some(near.clone()));
        assert!(reference.downcast::<Stranger>(turn).is_none());
        assert!(promise.downcast::<Count>(turn).is_none());
        Ok(())
    })
    .unwrap();
    run(&vat);
    assert!(
        vat.turn(|turn| Ok(promise.downcast::<Count>(turn).is_some()))
            .unwrap()
    );
}

// Promise 12
#[test]
fn a_call_runs_although_its_promise_is_dropped() {
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    drop(reference.add(1));
    reference.add(2).detach();
    run(&vat);
    assert_eq!(value(&vat, &near), 3);
}

#[test]
fn promises_are_cloned_chained_and_awaited() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let (sum, text) = vat
        .turn(|turn| {
            let one = reference.add(1);
            let text = one.clone().then(|_, one| Ok(format!("<{}>", one?)));
            let two = reference.add(1);
            let sum = turn.spawn_async(async move |_| {
                let (one, two) = futures_util::future::join(one, two).await;
                Ok(one? + two?)
            });
            Ok((sum, text))
        })
        .unwrap();
    run(&vat);
    assert_eq!(taken(&sum).unwrap(), 3);
    assert_eq!(taken(&text).unwrap(), "<1>");
}

#[test]
fn a_promise_whose_resolver_is_dropped_breaks() {
    let vat = Vat::new("a");
    let (value, reference) = vat
        .turn(|turn| Ok((turn.promise::<u64>().0, turn.promise::<CounterRef>().0)))
        .unwrap();
    run(&vat);
    taken(&value).unwrap_err();
    assert!(reference.broken_reason().is_some());
}

#[test]
fn fields_of_a_promised_struct_are_called_before_it_is_there() {
    #[derive(Clone, Debug, vat::Data)]
    #[data(name = "sample::Pair")]
    struct Pair {
        name: String,
        left: CounterRef,
        right: CounterRef,
    }
    #[vat::interface(name = "sample::Pairs")]
    trait Pairs {
        fn pair(&self, turn: &Turn) -> Result<Pair>;
        fn none(&self, turn: &Turn) -> Result<Pair>;
    }
    #[derive(Clone, vat::Object)]
    struct Both(CounterRef, CounterRef);
    impl Pairs for Both {
        fn pair(&self, _: &Turn) -> Result<Pair> {
            let (left, right) = (self.0.clone(), self.1.clone());
            Ok(Pair {
                name: "both".into(),
                left,
                right,
            })
        }
        fn none(&self, _: &Turn) -> Result<Pair> {
            Err(Error::failed("no pair"))
        }
    }
    let vat = Vat::new("a");
    let ((left, one), (right, two)) = (counter(&vat), counter(&vat));
    let pairs = vat
        .turn(|turn| Ok(PairsRef::new(turn, Both(one, two))))
        .unwrap();
    let pair = pairs.pair();
    pair.right.add(5).detach();
    let broken = pairs.none().left.add(1);
    run(&vat);
    assert_eq!((value(&vat, &left), value(&vat, &right)), (0, 5));
    assert_eq!(taken(&broken).unwrap_err().to_string(), "no pair");
    assert_eq!(taken(&pair).unwrap().name, "both");
}

/// A caretaker: passes on until it is revoked.
#[derive(Clone, vat::Object)]
struct Caretaker {
    to: Ref,
    revoked: bool,
    seen: Vec<Option<&'static str>>,
}

impl Dynamic for Caretaker {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        self.seen.push(call.name());
        if self.revoked {
            call.refuse(turn, Error::failed("revoked"));
        } else {
            self.to.forward(call);
        }
        Ok(())
    }
}

#[test]
fn a_caretaker_passes_calls_of_any_interface_on() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let guard = vat
        .turn(|turn| {
            let to = reference.clone().into();
            Ok(turn.spawn(Caretaker {
                to,
                revoked: false,
                seen: Vec::new(),
            }))
        })
        .unwrap();
    let guarded: CounterRef = guard.dynamic();
    let (value, forked) = (guarded.add(3), guarded.fork().value());
    let described = describe(&guarded);
    run(&vat);
    assert_eq!((taken(&value).unwrap(), taken(&forked).unwrap()), (3, 3));
    assert_eq!(
        taken(&described).unwrap().interfaces[0].name,
        "sample::Counter"
    );
    vat.turn(|turn| guard.with(turn, |guard| guard.revoked = true))
        .unwrap();
    let refused = guarded.value();
    run(&vat);
    assert_eq!(taken(&refused).unwrap_err().to_string(), "revoked");
    let seen = vat
        .turn(|turn| guard.read(turn, |guard| guard.seen.clone()))
        .unwrap();
    let names: Vec<_> = seen.into_iter().flatten().collect();
    assert_eq!(
        names,
        [
            "Counter.add",
            "Counter.fork",
            "Describe.describe",
            "Counter.value"
        ]
    );
}

#[test]
fn a_forwarder_that_fails_or_forgets_answers_its_caller() {
    #[derive(Clone, vat::Object)]
    struct Careless {
        to: Ref,
        how: &'static str,
    }
    impl Dynamic for Careless {
        fn call(&mut self, _: &Turn, call: AnyCall) -> Result<()> {
            match self.how {
                "forgets" => drop(call),
                "fails after forwarding" => {
                    self.to.forward(call);
                    return Err(Error::failed("its own reason"));
                }
                "panics" => panic!("its own panic"),
                _ => return Err(Error::failed("its own reason")),
            }
            Ok(())
        }
    }
    let vat = Vat::new("a");
    let (near, reference) = counter(&vat);
    for (how, told) in [
        ("forgets", "the call was dropped without an answer"),
        ("fails after forwarding", "its own reason"),
        ("fails", "its own reason"),
        ("panics", "its own panic"),
    ] {
        let to = reference.clone().into();
        let careless = vat
            .turn(|turn| Ok(turn.spawn(Careless { to, how }).dynamic::<CounterRef>()))
            .unwrap();
        let promise = careless.add(1);
        run(&vat);
        assert_eq!(taken(&promise).unwrap_err().to_string(), told, "{how}");
    }
    assert_eq!(value(&vat, &near), 0);
}

#[test]
fn an_object_without_the_interface_refuses() {
    #[vat::interface(name = "sample::Unknown")]
    trait Unknown {
        fn anything(&self, turn: &Turn) -> Result<()>;
    }
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let wrong = UnknownRef::from(Ref::from(&reference));
    let promise = wrong.anything();
    run(&vat);
    let error = taken(&promise).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented);
    assert!(
        error
            .to_string()
            .starts_with("sample::Counter has no method 0 of interface 0x")
    );
}

#[test]
fn an_interface_extends_another() {
    #[vat::interface(name = "sample::Base")]
    trait Base {
        fn base(&self, turn: &Turn) -> Result<u64>;
    }
    #[vat::interface(name = "sample::Extended")]
    trait Extended: Base {
        fn extra(&self, turn: &Turn) -> Result<u64>;
    }
    #[derive(Clone, vat::Object)]
    struct Both;
    impl Base for Both {
        fn base(&self, _: &Turn) -> Result<u64> {
            Ok(1)
        }
    }
    impl Extended for Both {
        fn extra(&self, _: &Turn) -> Result<u64> {
            Ok(2)
        }
    }
    let vat = Vat::new("a");
    let extended = vat.turn(|turn| Ok(ExtendedRef::new(turn, Both))).unwrap();
    let base: BaseRef = extended.clone().into();
    let (one, two, three) = (extended.base(), extended.extra(), base.base());
    let described = describe(&extended);
    run(&vat);
    assert_eq!(
        (
            taken(&one).unwrap(),
            taken(&two).unwrap(),
            taken(&three).unwrap()
        ),
        (1, 2, 1)
    );
    let described = taken(&described).unwrap();
    let root = described.interface(described.root).unwrap();
    assert_eq!(root.extends.len(), 1);
    assert_eq!(
        described.interface(root.extends[0]).unwrap().name,
        "sample::Base"
    );
}

#[test]
fn every_object_describes_itself() {
    let vat = Vat::new("a");
    let (_, reference) = counter(&vat);
    let described = describe(&reference);
    run(&vat);
    let described = taken(&described).unwrap();
    let interface = described.interface(described.root).unwrap();
    assert_eq!(interface.name, "sample::Counter");
    assert_eq!(interface.doc, "A counter.");
    let add = interface
        .methods
        .iter()
        .find(|method| method.name == "addBoth")
        .unwrap();
    assert!(add.doc.starts_with("Adds to this one"));
    let params = described.structure(add.params).unwrap();
    let names: Vec<_> = params
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["other", "fail"]);
}

#[test]
fn a_call_on_its_way_keeps_its_object_alive() {
    #[vat::interface]
    trait Ticker {
        fn tick(&mut self, turn: &Turn, left: u64) -> Result<()>;
    }
    #[derive(Clone, vat::Object)]
    struct Ticks {
        count: Near<Count>,
    }
    impl Ticker for Ticks {
        fn tick(&mut self, turn: &Turn, left: u64) -> Result<()> {
            self.count.add(turn, 1)?;
            if left > 0 {
                TickerRef::from(turn.this(self)).tick(left - 1).detach();
            }
            Ok(())
        }
    }

    let vat = Vat::new("a");
    let (count, _) = counter(&vat);
    vat.turn(|turn| {
        // Nobody keeps the reference, neither here nor in the object itself.
        let count = count.clone();
        TickerRef::new(turn, Ticks { count }).tick(9).detach();
        Ok(())
    })
    .unwrap();
    run(&vat);
    assert_eq!(value(&vat, &count), 10);
    assert_eq!(vat.objects(), 1);
}

#[test]
fn a_long_chain_of_linked_promises_settles_without_a_deep_stack() {
    let vat = Vat::new("a");
    let (first, last) = vat
        .turn(|turn| {
            let (mut promise, resolver) = turn.promise::<u64>();
            for _ in 0..100_000 {
                let (next, linked) = turn.promise::<u64>();
                promise.link(&turn.0, linked);
                promise = next;
            }
            Ok((resolver, promise))
        })
        .unwrap();
    first.resolve(Ok(7));
    run(&vat);
    assert_eq!(taken(&last).unwrap(), 7);
}

#[test]
fn a_resolver_dropped_outside_of_turns_wakes_the_driver() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let vat = Vat::new("a");
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = woken.clone();
    vat.on_wake(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<u64>())).unwrap();
    run(&vat);
    woken.store(0, Ordering::Relaxed);
    drop(resolver);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    run(&vat);
    assert!(taken(&promise).is_err());
}

#[test]
fn a_callback_runs_although_its_resolver_was_dropped_between_runs() {
    let vat = Vat::new("a");
    let (last, resolver) = vat
        .turn(|turn| {
            let (promise, resolver) = turn.promise::<u64>();
            let last = promise.then(|_, result| Ok(u64::from(result.is_err())));
            Ok((last, resolver))
        })
        .unwrap();
    run(&vat);
    drop(resolver);
    // Whoever drives it runs it once.
    vat.run(32);
    assert_eq!(taken(&last).unwrap(), 1);
}

#[test]
fn what_panics_while_it_breaks_takes_nothing_else_with_it() {
    struct Panics;
    impl Breakable for Panics {
        fn break_with(self: Box<Self>, _: &Rc<Shared>, _: Error) {
            panic!("while it breaks")
        }
    }
    let vat = Vat::new("a");
    let (promise, resolver) = vat.turn(|turn| Ok(turn.promise::<u64>())).unwrap();
    let done = vat.turn(|turn| {
        turn.0.abandon(Box::new(Panics));
        drop(resolver);
        Ok(())
    });
    done.unwrap();
    run(&vat);
    assert!(taken(&promise).is_err());
}
