//! Calls that are taken apart and put together again without knowing their interface.

use std::cell::RefCell;
use std::rc::Rc;

use super::link::Net;
use super::sample::{CounterRef, counter, run, taken, value};
use crate::core::carry::{Body, Carried, Parts};
use crate::core::turn::{Effect, Work};
use crate::core::vat::Shared;
use crate::prelude::*;
use crate::{AnyCall, Dynamic, Vat};

/// Passes every call on with another reference in the place of each argument's, and answers with
/// another in the place of each result's.
#[derive(Clone, vat::Object)]
struct Swap {
    to: Ref,
    argument: Ref,
    result: Ref,
}

impl Dynamic for Swap {
    fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
        let swapping = Swapping(self.clone(), call);
        turn.0.effect(Effect::Now(Box::new(swapping)));
        Ok(())
    }
}

struct Swapping(Swap, AnyCall);

impl Work for Swapping {
    fn run(self: Box<Self>, vat: &Rc<Shared>) {
        let Self(swap, call) = *self;
        let Some(Parts {
            method,
            params,
            deadline,
            asker,
        }) = call.take_apart(vat)
        else {
            return;
        };
        let Swap {
            to,
            argument,
            result,
        } = swap;
        let carried = Carried {
            method,
            params: params.map_references(|_| argument.clone()),
            deadline,
            answered: Box::new(move |vat, answer| {
                let swap = |body: Body| body.map_references(|_| result.clone());
                asker.settle(vat, answer.map(swap));
            }),
        };
        carried.send(vat, &to);
    }

    fn fail(self: Box<Self>, vat: &Rc<Shared>, reason: Error) {
        self.1.fail_now(vat, reason);
    }
}

fn swap(vat: &Vat, to: &Ref, argument: &Ref, result: &Ref) -> Ref {
    let (to, argument, result) = (to.clone(), argument.clone(), result.clone());
    let swap = Swap {
        to,
        argument,
        result,
    };
    vat.turn(|turn| Ok(turn.spawn(swap).dynamic())).unwrap()
}

#[derive(Clone, Debug, vat::Data)]
#[data(name = "sample::Labelled")]
struct Labelled {
    label: String,
    counter: CounterRef,
}

#[vat::interface(name = "sample::Labels")]
trait Labels {
    fn labelled(&self, turn: &Turn, label: String) -> Result<Labelled>;
}

#[derive(Clone, vat::Object)]
struct With(CounterRef);

impl Labels for With {
    fn labelled(&self, _: &Turn, label: String) -> Result<Labelled> {
        let counter = self.0.clone();
        Ok(Labelled { label, counter })
    }
}

#[test]
fn references_are_exchanged_in_both_directions_and_values_stay() {
    let vat = Vat::new("a");
    let ((near, to), (argument, one), (result, two)) =
        (counter(&vat), counter(&vat), counter(&vat));
    let swapped = CounterRef::from(swap(&vat, &to, &one, &two));
    let (_, other) = counter(&vat);
    let (sum, both) = (swapped.add(5), swapped.add_both(&other, false));
    let forked = swapped.fork().add(9);
    run(&vat);
    assert_eq!((taken(&sum).unwrap(), taken(&both).unwrap()), (5, 1));
    assert_eq!(taken(&forked).unwrap(), 9);
    assert_eq!(value(&vat, &near), 16);
    assert_eq!(value(&vat, &argument), 1, "in the place of the argument");
    assert_eq!(value(&vat, &result), 9, "in the place of the fork");
}

#[test]
fn promised_fields_lead_to_what_was_put_in_their_place() {
    let mut net = Net::new(&["here", "there"]);
    let (behind, one) = counter(&net.vats[1]);
    let labels = net.vats[1]
        .turn(|turn| Ok(LabelsRef::new(turn, With(one))))
        .unwrap();
    let far: LabelsRef = net.grant(0, 1, &labels);
    let (instead, two) = counter(&net.vats[0]);
    let swapped = LabelsRef::from(swap(&net.vats[0], &far, &two, &two));
    let labelled = swapped.labelled("l");
    let ahead = labelled.counter.add(2);
    net.run();
    assert_eq!(taken(&ahead).unwrap(), 2);
    let labelled = taken(&labelled).unwrap();
    assert_eq!(labelled.label, "l");
    assert_eq!(labelled.counter.same(&two), Some(true));
    let sums = (value(&net.vats[0], &instead), value(&net.vats[1], &behind));
    assert_eq!(sums, (2, 0));
}

#[test]
fn what_was_in_a_call_is_given_back() {
    let mut net = Net::new(&["guest", "guard", "owner"]);
    let (near, to) = counter(&net.vats[2]);
    let far: CounterRef = net.grant(1, 2, &to);
    let (_, two) = counter(&net.vats[1]);
    let swapped = swap(&net.vats[1], &far, &two, &two);
    let guest: CounterRef = net.grant(0, 1, &swapped);
    drop((to, far, two, swapped));
    for _ in 0..3 {
        let (_, own) = counter(&net.vats[0]);
        let (both, forked) = (guest.add_both(&own, false), guest.fork().add(1));
        net.run();
        taken(&both).unwrap();
        taken(&forked).unwrap();
    }
    net.run();
    let objects = |net: &Net| -> Vec<usize> { net.vats.iter().map(Vat::objects).collect() };
    assert_eq!(objects(&net), [0, 2, 1]);
    assert_eq!(value(&net.vats[2], &near), 33);
}

#[test]
fn parameters_that_cannot_be_written_break_their_call_only() {
    let (vat, another) = (Vat::new("a"), Vat::new("b"));
    let ((_, to), (_, foreign)) = (counter(&vat), counter(&another));
    let swapped = CounterRef::from(swap(&vat, &to, &to, &to));
    let (refused, sum) = (swapped.add_both(&foreign, false), swapped.add(1));
    run(&vat);
    taken(&refused).unwrap_err();
    assert_eq!(taken(&sum).unwrap(), 1);
}

#[test]
fn a_tap_is_told_the_outcome_before_the_caller_is() {
    #[derive(vat::Object)]
    #[object(external)]
    struct Tapping(Ref, Rc<RefCell<Vec<bool>>>);
    impl Dynamic for Tapping {
        fn call(&mut self, turn: &Turn, call: AnyCall) -> Result<()> {
            let told = Rc::clone(&self.1);
            let tap = move |_: &Rc<Shared>, error: Option<&Error>| {
                told.borrow_mut().push(error.is_none());
            };
            self.0.forward(call.tapped(&turn.0, Box::new(tap)));
            Ok(())
        }
    }
    let vat = Vat::new("a");
    let (_, to) = counter(&vat);
    let told = Rc::default();
    let tapping = Tapping(to.into(), Rc::clone(&told));
    let tapped = vat
        .turn(|turn| Ok(turn.spawn(tapping).dynamic::<CounterRef>()))
        .unwrap();
    let seen = |promise: Promise<u64>| {
        let told = Rc::clone(&told);
        promise.then(move |_, _| Ok(told.borrow().len() as u64))
    };
    let (sum, failed) = (seen(tapped.add(1)), seen(tapped.add_and_fail(1)));
    let broken = tapped.fork();
    run(&vat);
    assert!(taken(&sum).unwrap() >= 1);
    assert!(taken(&failed).unwrap() >= 2);
    assert!(broken.is_near());
    assert_eq!(*told.borrow(), [true, false, true]);
}
