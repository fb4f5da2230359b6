//! Who may be connected with whom.

use std::cell::Cell;

use super::*;
use crate::sturdy::Seed;
use crate::{Vat, power};

/// A child that keeps what it is given.
struct Program {
    vat: VatId,
    runs: Cell<bool>,
    met: RefCell<Vec<VatId>>,
    /// What it answers with.
    answer: Box<dyn Fn() -> Promise<()>>,
}

impl Sibling for Program {
    fn path(&self) -> &str {
        "shop/program"
    }

    fn vat(&self) -> VatId {
        self.vat
    }

    fn meet(&self, _stream: StreamRef, vat: VatId) -> Option<Promise<()>> {
        self.met.borrow_mut().push(vat);
        self.runs.get().then(|| (self.answer)())
    }
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([number; 32]))
}

fn id(number: u8) -> VatId {
    identity(number).id()
}

/// Who gives, as the engine has it.
fn giver(number: u8) -> captp::Identity {
    captp::Identity::new(key(id(number)), 1, Rc::new(identity(number)))
}

/// The launcher is 0, its children 1 to 4; 5 is a vat elsewhere.
struct Ensemble {
    vat: Vat,
    introducer: Rc<Introducer>,
    children: Vec<Rc<Program>>,
}

const LAUNCHER: u8 = 0;
const ELSEWHERE: u8 = 5;

impl Ensemble {
    fn new() -> Self {
        let introducer = Rc::new(Introducer::new(identity(LAUNCHER)));
        let vat = Vat::new("launcher");
        let children = (1..=4).map(|number| {
            let answer = vat.turn(|turn| Ok(turn.promise::<()>()));
            let (promise, _) = answer.unwrap();
            let child = Rc::new(Program {
                vat: id(number),
                runs: Cell::new(true),
                met: RefCell::default(),
                answer: Box::new(move || promise.clone()),
            });
            let sibling: Rc<dyn Sibling> = child.clone();
            introducer.add(child.vat, Rc::downgrade(&sibling));
            child
        });
        Self {
            children: children.collect(),
            vat,
            introducer,
        }
    }

    fn way(&self, number: u8) -> Way {
        Way::new(self.introducer.clone(), id(number))
    }

    /// What `by` gets for an introduction by `gifter` to something of `exporter`.
    fn reach(&self, by: u8, gifter: u8, exporter: u8, through: &[u8]) -> Result<StreamRef> {
        let forwarders: Vec<_> = through.iter().map(|number| giver(*number)).collect();
        let (exporter, recipient) = (key(id(exporter)), key(id(by)));
        let introduction = Introduction::new(&giver(gifter), exporter, &forwarders, recipient);
        self.ask(&mut self.way(by), &introduction.to_bytes())
    }

    fn ask(&self, way: &mut Way, introduction: &[u8]) -> Result<StreamRef> {
        self.vat
            .turn(|turn| power::Siblings::reach(way, turn, introduction.to_vec()))
    }
}

fn text(result: Result<StreamRef>) -> String {
    result.unwrap_err().to_string()
}

/// Tests in a place where tasks can be spawned.
fn run(test: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async { test() });
}

#[test]
fn the_launcher_introduces_and_whoever_has_met_introduces_others() {
    run(|| {
        let ensemble = Ensemble::new();
        let early = text(ensemble.reach(3, 2, 1, &[]));
        assert!(early.contains("not connected with that vat"), "{early}");
        ensemble.reach(2, LAUNCHER, 1, &[]).unwrap();
        assert_eq!(*ensemble.children[0].met.borrow(), [id(2)]);
        // 2 has met 1, and gives on what 1 hosts; and so does 3, before and after it has met it.
        ensemble.reach(4, 2, 1, &[3]).unwrap();
        ensemble.reach(3, 2, 1, &[]).unwrap();
        ensemble.reach(4, 3, 1, &[2]).unwrap();
        assert_eq!(
            *ensemble.children[0].met.borrow(),
            [id(2), id(4), id(3), id(4)]
        );
        // A connection leads both ways.
        ensemble.reach(3, 1, 2, &[]).unwrap();
        // In a new life it has met nobody.
        ensemble.introducer.forget(id(2));
        assert!(ensemble.reach(4, 2, 1, &[]).is_err());
        assert!(ensemble.reach(4, 3, 1, &[]).is_ok());
    });
}

#[test]
fn nobody_else_reaches_anything() {
    run(|| {
        let ensemble = Ensemble::new();
        ensemble.reach(2, LAUNCHER, 1, &[]).unwrap();
        let refused = |by, gifter, exporter, through: &[u8], why: &str| {
            let text = text(ensemble.reach(by, gifter, exporter, through));
            assert!(text.contains(why), "{text}");
        };
        // Two that would like to meet sign what they like.
        refused(4, 4, 3, &[], "not connected with that vat");
        refused(4, 3, 3, &[], "not connected with that vat");
        refused(4, ELSEWHERE, 3, &[], "not connected with that vat");
        refused(4, LAUNCHER, 3, &[ELSEWHERE], "not of this launcher");
        refused(4, LAUNCHER, 4, &[], "no other vat of this launcher");
        refused(4, LAUNCHER, ELSEWHERE, &[], "no other vat of this launcher");
        refused(4, LAUNCHER, LAUNCHER, &[], "no other vat of this launcher");
        // What was meant for another one, or is said to be by somebody who has not signed it.
        let by = |signer| {
            let session = captp::Identity::new(key(id(LAUNCHER)), 1, Rc::new(identity(signer)));
            Introduction::new(&session, key(id(1)), &[], key(id(3))).to_bytes()
        };
        let stolen = text(ensemble.ask(&mut ensemble.way(4), &by(LAUNCHER)));
        assert!(stolen.contains("for another vat"), "{stolen}");
        let forged = text(ensemble.ask(&mut ensemble.way(3), &by(3)));
        assert!(forged.contains("not signed"), "{forged}");
        for bytes in [&[][..], &[0; 8], b"let me in", &[0xff; 4096]] {
            let error = text(ensemble.ask(&mut ensemble.way(3), bytes));
            assert!(error.contains("no introduction"), "{error}");
        }
        assert!(ensemble.children[2].met.borrow().is_empty());
        ensemble.ask(&mut ensemble.way(3), &by(LAUNCHER)).unwrap();
    });
}

#[test]
fn who_does_not_run_is_not_reached_and_is_not_met() {
    run(|| {
        let mut ensemble = Ensemble::new();
        ensemble.children[0].runs.set(false);
        let text = text(ensemble.reach(2, LAUNCHER, 1, &[]));
        assert!(text.contains("shop/program does not run"), "{text}");
        assert!(!ensemble.introducer.have_met(key(id(1)), key(id(2))));
        drop(ensemble.children.remove(0));
        assert!(ensemble.reach(2, LAUNCHER, 1, &[]).is_err());
    });
}

#[test]
fn streams_that_are_kept_and_signatures_that_are_checked_are_limited() {
    run(|| {
        let ensemble = Ensemble::new();
        let mut way = ensemble.way(2);
        let good = Introduction::new(&giver(LAUNCHER), key(id(1)), &[], key(id(2))).to_bytes();
        let mut kept: Vec<_> = (0..STREAMS)
            .map(|_| ensemble.ask(&mut way, &good).unwrap())
            .collect();
        let full = ensemble.ask(&mut way, &good).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Overloaded);
        assert!(full.to_string().contains("in use"), "{full}");
        kept.clear();
        let often = (0..STREAMS).find_map(|_| {
            ensemble.vat.run(usize::MAX);
            ensemble.ask(&mut way, &good).err()
        });
        let often = often.unwrap();
        assert_eq!(often.kind(), ErrorKind::Overloaded);
        assert!(often.to_string().contains("in a second"), "{often}");
        // Another vat has a budget of its own.
        ensemble.reach(3, LAUNCHER, 1, &[]).unwrap();
    });
}
