//! Calls between vats: pipelining, answers, errors, lost connections.

use super::link::Net;
use super::sample::{Count, CounterRef, counter, run, taken, value};
use crate::prelude::*;
use crate::schema::describe;
use crate::{AnyCall, Dynamic};

/// Two vats; the first has a far reference to a counter of the second.
fn pair() -> (Net, Near<Count>, CounterRef) {
    let mut net = Net::new(&["here", "there"]);
    let (near, reference) = counter(&net.vats[1]);
    let far = net.grant(0, 1, &reference);
    (net, near, far)
}

#[test]
fn a_far_call_is_answered() {
    let (mut net, near, far) = pair();
    let (sum, label) = (far.add(3), far.label("<", ">"));
    net.run();
    assert_eq!(taken(&sum).unwrap(), 3);
    assert_eq!(taken(&label).unwrap(), "<3>");
    assert_eq!(value(&net.vats[1], &near), 3);
}

#[test]
fn a_chain_of_calls_costs_one_round_trip() {
    let (mut net, near, far) = pair();
    far.add(1).detach();
    let forked = far.fork();
    let (one, two) = (forked.add(10), forked.fork().fork().add(100));
    net.round_trip();
    assert_eq!((taken(&one).unwrap(), taken(&two).unwrap()), (11, 111));
    assert_eq!(value(&net.vats[1], &near), 1);
}

#[test]
fn fields_of_a_promised_struct_are_called_in_the_same_round_trip() {
    #[derive(Clone, Debug, vat::Data)]
    #[data(name = "sample::Named")]
    struct Named {
        name: String,
        counter: CounterRef,
    }
    #[vat::interface(name = "sample::Names")]
    trait Names {
        fn named(&self, turn: &Turn, name: &str) -> Result<Named>;
    }
    #[derive(Clone, vat::Object)]
    struct All(CounterRef);
    impl Names for All {
        fn named(&self, _: &Turn, name: &str) -> Result<Named> {
            Ok(Named {
                name: name.to_owned(),
                counter: self.0.clone(),
            })
        }
    }
    let mut net = Net::new(&["here", "there"]);
    let (near, reference) = counter(&net.vats[1]);
    let names = net.vats[1]
        .turn(|turn| Ok(NamesRef::new(turn, All(reference))))
        .unwrap();
    let names: NamesRef = net.grant(0, 1, &names);
    let named = names.named("n");
    let sum = named.counter.add(5);
    net.round_trip();
    assert_eq!(taken(&sum).unwrap(), 5);
    let named = taken(&named).unwrap();
    assert_eq!(named.name, "n");
    let again = named.counter.add(1);
    net.run();
    assert_eq!(taken(&again).unwrap(), 6);
    assert_eq!(value(&net.vats[1], &near), 6);
}

#[test]
fn a_reference_that_is_passed_is_called_back() {
    let (mut net, near, far) = pair();
    let (mine, my_reference) = counter(&net.vats[0]);
    let done = far.add_both(&my_reference, false);
    net.run();
    assert_eq!(taken(&done).unwrap(), 1);
    assert_eq!(value(&net.vats[0], &mine), 1);
    assert_eq!(value(&net.vats[1], &near), 11);
    // It comes home as the object itself.
    let home = net.vats[0]
        .turn(|turn| Ok(my_reference.downcast::<Count>(turn)))
        .unwrap();
    assert_eq!(home, Some(mine));
}

// Promise 8
#[test]
fn a_broken_far_answer_breaks_everything_pipelined_on_it() {
    #[vat::interface(name = "sample::Counter")]
    trait Twin {
        fn first(&self, turn: &Turn) -> Result<()>;
    }
    let (mut net, _, far) = pair();
    net.vats[1].turn(|_| Ok(())).unwrap();
    let broken = TwinRef::from(Ref::from(&far));
    let first = broken.first();
    net.run();
    // Method 0 of both is without parameters; the answer has a number where none is expected.
    taken(&first).unwrap();
    let pipelined = far.add_and_fail(1).then(|_, failed| failed);
    net.run();
    assert_eq!(taken(&pipelined).unwrap_err().to_string(), "told to fail");
}

#[test]
fn errors_cross_with_their_kind_and_only_with_deliberate_text() {
    let (mut net, near, far) = pair();
    let failed = far.add_and_fail(1);
    let panicked = far.add_and_panic(1);
    let kept = far.add_and_keep(1);
    net.run();
    assert_eq!(taken(&failed).unwrap_err().to_string(), "told to fail");
    let panicked = taken(&panicked).unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(
        panicked.to_string(),
        "the callee's turn panicked and was rolled back"
    );
    taken(&kept).unwrap_err();
    assert_eq!(value(&net.vats[1], &near), 1);
}

#[test]
fn re_entrance_is_told_elsewhere_without_source_positions() {
    #[vat::interface(name = "sample::Loop")]
    trait Loop {
        fn walk(&mut self, turn: &Turn) -> Result<()>;
    }
    #[derive(Clone, vat::Object)]
    struct Endless;
    impl Loop for Endless {
        fn walk(&mut self, turn: &Turn) -> Result<()> {
            turn.this(self).walk(turn)
        }
    }
    let mut net = Net::new(&["here", "there"]);
    let endless = net.vats[1]
        .turn(|turn| Ok(LoopRef::new(turn, Endless)))
        .unwrap();
    let local = endless.walk();
    run(&net.vats[1]);
    assert!(taken(&local).unwrap_err().to_string().contains("far.rs:"));
    let far: LoopRef = net.grant(0, 1, &endless);
    let entered = far.walk();
    net.run();
    let error = taken(&entered).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reentrant);
    assert!(!error.to_string().contains(".rs"), "{error}");
}

#[test]
fn unknown_methods_and_wrong_arguments_are_answered() {
    #[vat::interface(name = "sample::Counter")]
    trait Wrong {
        fn a(&self, turn: &Turn) -> Result<()>;
        fn b(&self, turn: &Turn) -> Result<()>;
        fn c(&self, turn: &Turn) -> Result<()>;
        fn d(&self, turn: &Turn) -> Result<()>;
        fn e(&self, turn: &Turn) -> Result<()>;
        fn f(&self, turn: &Turn) -> Result<()>;
        fn label(&self, turn: &Turn, prefix: Vec<u64>, suffix: String) -> Result<String>;
        fn h(&self, turn: &Turn) -> Result<()>;
        fn unknown(&self, turn: &Turn) -> Result<()>;
    }
    let (mut net, _, far) = pair();
    let wrong = WrongRef::from(Ref::from(&far));
    let (label, missing, unknown) = (wrong.label(vec![1], "x"), wrong.f(), wrong.unknown());
    let right = far.value();
    net.run();
    let label = taken(&label).unwrap_err();
    assert_eq!(label.kind(), ErrorKind::Failed);
    assert!(label.to_string().starts_with("in prefix: "), "{label}");
    let missing = taken(&missing).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("in other: the reference is missing"),
        "{missing}"
    );
    assert_eq!(
        taken(&unknown).unwrap_err().kind(),
        ErrorKind::Unimplemented
    );
    assert_eq!(taken(&right).unwrap(), 0, "the connection goes on");
}

// Promise 9
#[test]
fn a_lost_connection_breaks_calls_and_references_with_disconnected() {
    let (mut net, near, far) = pair();
    let promised = far.fork();
    net.run();
    let (call, settled) = (far.add(1), promised.settled());
    net.cut(0);
    net.run();
    let error = taken(&call).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.to_string().contains("the cable was cut"), "{error}");
    taken(&settled).unwrap_err();
    let later = far.add(1);
    net.run();
    assert_eq!(taken(&later).unwrap_err().kind(), ErrorKind::Disconnected);
    assert_eq!(
        promised.broken_reason().unwrap().kind(),
        ErrorKind::Disconnected
    );
    assert_eq!(value(&net.vats[1], &near), 0);
}

// Promise 11
#[test]
fn a_far_object_goes_with_its_last_reference() {
    let (mut net, _near, far) = pair();
    let forked = far.fork();
    let sum = forked.add(1);
    net.run();
    taken(&sum).unwrap();
    assert_eq!(net.vats[1].objects(), 2);
    drop((forked, sum));
    net.run();
    assert_eq!(net.vats[1].objects(), 1);
    drop(far);
    net.run();
    assert!(net.is_drained(0) && net.is_drained(1));
}

// Promise 12
#[test]
fn a_far_call_runs_although_its_promise_is_dropped() {
    let (mut net, near, far) = pair();
    drop(far.add(1));
    drop(far.fork());
    net.run();
    assert_eq!(value(&net.vats[1], &near), 1);
}

// Promise 5
#[test]
fn a_failed_turn_sends_nothing_to_other_vats() {
    let (mut net, near, far) = pair();
    let mut promise = None;
    net.vats[0]
        .turn(|_| {
            promise = Some(far.add(1));
            Err::<(), _>(Error::failed("no"))
        })
        .unwrap_err();
    net.run();
    assert_eq!(net.crossings, 0);
    assert_eq!(taken(&promise.unwrap()).unwrap_err().to_string(), "no");
    assert_eq!(value(&net.vats[1], &near), 0);
}

/// Passes everything on.
#[derive(Clone, vat::Object)]
struct Proxy(Ref);

impl Dynamic for Proxy {
    fn call(&mut self, _: &Turn, call: AnyCall) -> Result<()> {
        self.0.forward(call);
        Ok(())
    }
}

#[test]
fn a_forwarder_passes_calls_on_between_other_vats() {
    let mut net = Net::new(&["caller", "proxy", "host"]);
    let (near, reference) = counter(&net.vats[2]);
    let there: Ref = net.grant(1, 2, &reference);
    let proxy: CounterRef = net.vats[1]
        .turn(|turn| Ok(turn.spawn(Proxy(there)).dynamic()))
        .unwrap();
    let far: CounterRef = net.grant(0, 1, &proxy);
    let (mine, my_reference) = counter(&net.vats[0]);
    let (sum, forked) = (far.add(2), far.fork().add(5));
    let both = far.add_both(&my_reference, false);
    let described = describe(&far);
    let failed = far.add_and_fail(1);
    net.run();
    assert_eq!((taken(&sum).unwrap(), taken(&forked).unwrap()), (2, 7));
    assert_eq!(taken(&both).unwrap(), 1);
    assert_eq!(
        taken(&described).unwrap().interfaces[0].name,
        "sample::Counter"
    );
    assert_eq!(taken(&failed).unwrap_err().to_string(), "told to fail");
    assert_eq!(
        (value(&net.vats[2], &near), value(&net.vats[0], &mine)),
        (13, 1)
    );
}

#[test]
fn after_a_panic_outside_of_any_turn_nobody_counts_as_the_caller() {
    #[derive(Clone, Debug, vat::Data)]
    #[data(name = "sample::Fuse")]
    struct Fuse {
        lit: bool,
    }
    impl Drop for Fuse {
        fn drop(&mut self) {
            assert!(!self.lit, "a result that panics when it is dropped");
        }
    }
    #[vat::interface(name = "sample::Fuses")]
    trait Fuses {
        fn fuse(&self, turn: &Turn) -> Result<Fuse>;
    }
    #[derive(Clone, vat::Object)]
    struct Box;
    impl Fuses for Box {
        fn fuse(&self, turn: &Turn) -> Result<Fuse> {
            assert!(turn.caller().is_some());
            Ok(Fuse { lit: true })
        }
    }
    let mut net = Net::new(&["here", "there"]);
    let offered = net.vats[1].turn(|turn| Ok(FusesRef::new(turn, Box)));
    let far: FusesRef = net.grant(0, 1, &offered.unwrap());
    far.fuse().detach();
    net.run();
    let caller = net.vats[1].turn(|turn| Ok(turn.caller()));
    assert_eq!(caller.unwrap(), None);
}

#[test]
fn a_panic_after_forwarding_does_not_answer_twice() {
    #[derive(Clone, vat::Object)]
    struct Panics(Ref);
    impl Dynamic for Panics {
        fn call(&mut self, _: &Turn, call: AnyCall) -> Result<()> {
            self.0.forward(call);
            panic!("after the fact")
        }
    }
    let mut net = Net::new(&["here", "there"]);
    let (near, reference) = counter(&net.vats[1]);
    let panics: CounterRef = net.vats[1]
        .turn(|turn| Ok(turn.spawn(Panics(reference.into())).dynamic()))
        .unwrap();
    let far: CounterRef = net.grant(0, 1, &panics);
    let sum = far.add(1);
    net.run();
    assert_eq!(taken(&sum).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(value(&net.vats[1], &near), 0);
    drop((far, sum));
    net.run();
    assert!(net.is_drained(1));
}

#[test]
fn references_of_different_vats_are_never_mixed_up() {
    let (mut net, near, far) = pair();
    let (_, there) = counter(&net.vats[1]);
    assert_eq!(far.same(&there), None);
    let (promise, resolver) = net.vats[0]
        .turn(|turn| Ok(turn.promise::<CounterRef>()))
        .unwrap();
    resolver.resolve(Ok(there));
    let call = promise.add(1);
    net.run();
    let error = taken(&call).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the promise was resolved to a reference of another vat"
    );
    assert_eq!(value(&net.vats[1], &near), 0);
}

#[test]
fn a_reference_of_another_vat_does_not_leave_in_a_message() {
    let (mut net, near, far) = pair();
    // A reference of the other vat, smuggled past the link.
    let (_, smuggled) = counter(&net.vats[1]);
    let call = far.add_both(&smuggled, false);
    net.run();
    let error = taken(&call).unwrap_err();
    assert!(
        error.to_string().contains("belongs to another vat"),
        "{error}"
    );
    assert_eq!(value(&net.vats[1], &near), 0);
}
