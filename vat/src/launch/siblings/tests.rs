//! Who may be connected with whom.

use std::cell::Cell;
use std::future::Future;

use super::*;
use crate::Vat;
use crate::net::driver::Driver;
use crate::power::{Exposed, Grant, Program, ProgramRef, StoreFileRef};
use crate::sturdy::Seed;

/// A child, and what it does with a stream.
struct Child {
    vat: VatId,
    does: Cell<Does>,
    met: Rc<RefCell<Vec<String>>>,
    /// By what it does.
    program: BTreeMap<Does, ProgramRef>,
    /// Of the one that does not answer.
    _never: Resolver<ProgramRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    Take,
    Keep,
    Refuse,
    NotAnswer,
    NotRun,
}

impl Sibling for Child {
    fn path(&self) -> &str {
        "shop/program"
    }

    fn meet(&self, stream: StreamRef, vat: VatId) -> Option<Promise<()>> {
        let program = self.program.get(&self.does.get())?;
        Some(program.meet(stream, vat.to_string()))
    }
}

/// The program of such a child.
#[derive(vat::Object)]
#[object(external)]
struct Met {
    does: Does,
    met: Rc<RefCell<Vec<String>>>,
    kept: Vec<StreamRef>,
}

impl Program for Met {
    async fn start(
        _: Near<Self>,
        _: &Cx,
        _: Vec<Grant>,
        _: Vec<String>,
        _: Vec<String>,
        _: Vec<String>,
    ) -> Result<Vec<Exposed>> {
        Ok(Vec::new())
    }

    fn accept(&mut self, _: &Turn, _: StreamRef, _: Vec<u8>, _: Option<String>) -> Result<()> {
        Ok(())
    }

    fn meet(&mut self, _turn: &Turn, stream: StreamRef, vat: String) -> Result<()> {
        if self.does == Does::Refuse {
            return Err(Error::overloaded("enough"));
        }
        if self.does == Does::Keep {
            self.kept.push(stream);
        }
        self.met.borrow_mut().push(vat);
        Ok(())
    }

    fn stop(&mut self, _turn: &Turn) -> Result<()> {
        Ok(())
    }

    fn keep(&mut self, _turn: &Turn, _: StoreFileRef) -> Result<()> {
        Ok(())
    }
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&Seed::from_bytes([number; 32]))
}

fn id(number: u8) -> VatId {
    identity(number).id()
}

/// Who gives, as the engine has it, under this session.
fn giver(number: u8, session: u64) -> captp::Identity {
    captp::Identity::new(key(id(number)), session, Rc::new(identity(number)))
}

/// The launcher is 0, its children 1 to 4; 5 is a vat elsewhere. In its first life each gives under
/// its own number, and the launcher has given 10 references before.
struct Ensemble {
    driver: Driver,
    introducer: Rc<Introducer>,
    children: Vec<Rc<Child>>,
    lives: RefCell<BTreeMap<u8, Life>>,
}

const LAUNCHER: u8 = 0;
const ELSEWHERE: u8 = 5;

impl Ensemble {
    fn new() -> Self {
        let introducer = Rc::new(Introducer::new(identity(LAUNCHER), LAUNCHER.into()));
        let driver = Driver::new(Vat::new("launcher"));
        let ensemble = Self {
            children: (1..=4).map(|number| child(&driver, number)).collect(),
            driver,
            introducer,
            lives: RefCell::default(),
        };
        for (number, child) in (1..).zip(&ensemble.children) {
            let sibling: Rc<dyn Sibling> = child.clone();
            ensemble.introducer.add(child.vat, Rc::downgrade(&sibling));
            ensemble.begin(number, number.into(), 10);
        }
        ensemble
    }

    fn begin(&self, number: u8, session: u64, since: u64) {
        let life = self.introducer.begin(id(number), session, since);
        self.lives.borrow_mut().insert(number, life);
    }

    fn way(&self, number: u8) -> SiblingsRef {
        let life = self.lives.borrow()[&number];
        let way = |turn: &Turn| Ok(self.introducer.way_of(turn, id(number), life));
        self.driver.vat().turn(way).unwrap()
    }

    /// What `by` gets for an introduction by `gifter` to something of `exporter`.
    async fn reach(&self, by: u8, gifter: u8, exporter: u8, through: &[u8]) -> Result<Ref> {
        self.reach_in(gifter.into(), by, gifter, exporter, through)
            .await
    }

    async fn reach_in(
        &self,
        session: u64,
        by: u8,
        gifter: u8,
        exporter: u8,
        through: &[u8],
    ) -> Result<Ref> {
        let through: Vec<_> = through.iter().map(|by| giver(*by, 99)).collect();
        let gifter = giver(gifter, session);
        let introduction = Introduction::new(&gifter, 11, key(id(exporter)), &through, key(id(by)));
        ask(&self.way(by), &introduction.to_bytes()).await
    }

    fn met(&self, number: u8) -> Vec<String> {
        self.children[usize::from(number) - 1].met.take()
    }
}

fn child(driver: &Driver, number: u8) -> Rc<Child> {
    let met = Rc::<RefCell<Vec<String>>>::default();
    let does = [Does::Take, Does::Keep, Does::Refuse].map(|does| {
        let met = met.clone();
        let kept = Vec::new();
        let program = Met { does, met, kept };
        let program = |turn: &Turn| Ok(ProgramRef::from(&turn.spawn(program)));
        (does, driver.vat().turn(program).unwrap())
    });
    let (silent, never) = driver.vat().turn(|turn| Ok(turn.promise())).unwrap();
    let program = does.into_iter().chain([(Does::NotAnswer, silent)]);
    Rc::new(Child {
        vat: id(number),
        does: Cell::new(Does::Take),
        met,
        program: program.collect(),
        _never: never,
    })
}

/// A stream that came.
async fn ask(way: &SiblingsRef, introduction: &[u8]) -> Result<Ref> {
    let stream: Ref = way.reach(introduction.to_vec()).into();
    stream.settled().await?;
    Ok(stream)
}

fn ids(numbers: &[u8]) -> Vec<String> {
    numbers
        .iter()
        .map(|number| id(*number).to_string())
        .collect()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { timeout(Duration::from_secs(30), test).await };
    tokio::task::LocalSet::new()
        .block_on(&runtime, limited)
        .unwrap();
}

#[test]
fn the_launcher_introduces_and_whoever_has_met_introduces_others() {
    run(async {
        let ensemble = Ensemble::new();
        assert!(ensemble.reach(3, 2, 1, &[]).await.is_err());
        let stream = ensemble.reach(2, LAUNCHER, 1, &[]).await.unwrap();
        assert!(stream.take_fd().is_ok());
        assert_eq!(ensemble.met(1), ids(&[2]));
        // 2 has met 1, and gives on what 1 hosts; and so does whom it goes through.
        ensemble.reach(4, 2, 1, &[3]).await.unwrap();
        ensemble.reach(3, 2, 1, &[LAUNCHER]).await.unwrap();
        ensemble.reach(4, 3, 1, &[2]).await.unwrap();
        assert_eq!(ensemble.met(1), ids(&[4, 3, 4]));
        // A connection leads both ways.
        ensemble.reach(3, 1, 2, &[]).await.unwrap();
    });
}

#[test]
fn nobody_else_reaches_anything() {
    run(async {
        let ensemble = Ensemble::new();
        ensemble.reach(2, LAUNCHER, 1, &[]).await.unwrap();
        assert_eq!(ensemble.met(1), ids(&[2]));
        // Two that would like to meet sign what they like.
        for (gifter, exporter, through) in [
            (4, 3, &[][..]),
            (3, 3, &[]),
            (ELSEWHERE, 3, &[]),
            (LAUNCHER, 3, &[ELSEWHERE]),
            (LAUNCHER, 4, &[]),
            (LAUNCHER, ELSEWHERE, &[]),
            (LAUNCHER, LAUNCHER, &[]),
        ] {
            let refused = ensemble.reach(4, gifter, exporter, through).await;
            let text = refused.unwrap_err().to_string();
            // It is not told what is wrong: that would say who else there is.
            assert!(text.contains("leads to no sibling"), "{text}");
        }
        // What was meant for another one, or is said to be by somebody who has not signed it.
        let by = |signer| {
            let signer = Rc::new(identity(signer));
            let launcher = captp::Identity::new(key(id(LAUNCHER)), LAUNCHER.into(), signer);
            Introduction::new(&launcher, 11, key(id(1)), &[], key(id(3))).to_bytes()
        };
        assert!(ask(&ensemble.way(4), &by(LAUNCHER)).await.is_err());
        assert!(ask(&ensemble.way(3), &by(3)).await.is_err());
        for bytes in [&[][..], &[0; 8], b"let me in", &[0xff; 4096]] {
            assert!(ask(&ensemble.way(3), bytes).await.is_err());
        }
        assert!((1..=4).all(|number| ensemble.met(number).is_empty()));
        ask(&ensemble.way(3), &by(LAUNCHER)).await.unwrap();
    });
}

#[test]
fn what_was_given_in_an_earlier_life_leads_nowhere() {
    run(async {
        let ensemble = Ensemble::new();
        ensemble.reach(2, LAUNCHER, 1, &[]).await.unwrap();
        ensemble.reach(3, 2, 1, &[]).await.unwrap();
        // In an earlier life of the launcher, or of another gifter.
        assert!(ensemble.reach_in(77, 3, LAUNCHER, 1, &[]).await.is_err());
        assert!(ensemble.reach_in(77, 3, 2, 1, &[]).await.is_err());
        // Of an earlier life of the exporter: the launcher had given 11 references before this one.
        let old = ensemble.way(1);
        ensemble.begin(1, 71, 11);
        assert!(ensemble.reach(2, LAUNCHER, 1, &[]).await.is_err());
        // In its new life it has met nobody, and what the old one still asks is not heard.
        assert!(ensemble.reach(4, 2, 1, &[]).await.is_err());
        let given = Introduction::new(&giver(LAUNCHER, 0), 12, key(id(2)), &[], key(id(1)));
        ensemble.met(2);
        assert!(ask(&old, &given.to_bytes()).await.is_err());
        assert!(ensemble.met(2).is_empty());
        ask(&ensemble.way(1), &given.to_bytes()).await.unwrap();
        ensemble.reach(4, 2, 1, &[]).await.unwrap();
        ensemble.introducer.end(id(1));
        assert!(ensemble.reach(4, 2, 1, &[]).await.is_err());
        assert!(ask(&ensemble.way(1), &given.to_bytes()).await.is_err());
    });
}

#[test]
fn who_does_not_take_the_connection_has_not_been_met() {
    run(async {
        let ensemble = Ensemble::new();
        for does in [Does::NotRun, Does::Refuse, Does::NotAnswer] {
            ensemble.children[0].does.set(does);
            assert!(ensemble.reach(2, LAUNCHER, 1, &[]).await.is_err());
            assert!(!ensemble.introducer.have_met(key(id(1)), key(id(2))));
        }
        ensemble.children[0].does.set(Does::Take);
        ensemble.reach(2, LAUNCHER, 1, &[]).await.unwrap();
        assert!(ensemble.introducer.have_met(key(id(1)), key(id(2))));
    });
}

#[test]
fn streams_that_anybody_keeps_are_limited_by_pair() {
    run(async {
        let ensemble = Ensemble::new();
        let way = ensemble.way(2);
        let given = Introduction::new(&giver(LAUNCHER, 0), 11, key(id(1)), &[], key(id(2)));
        let given = given.to_bytes();
        // Kept by who asked.
        let kept = [ask(&way, &given).await, ask(&way, &given).await];
        assert!(kept.iter().all(Result::is_ok));
        let full = ask(&way, &given).await.unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Overloaded);
        drop(kept);
        ask(&way, &given).await.unwrap();
        // Kept by who was met. Another vat has room of its own.
        ensemble.children[0].does.set(Does::Keep);
        ask(&way, &given).await.unwrap();
        ask(&way, &given).await.unwrap();
        assert!(ask(&way, &given).await.is_err());
        ensemble.reach(3, LAUNCHER, 1, &[]).await.unwrap();
    });
}

#[test]
fn introductions_are_looked_at_so_often() {
    run(async {
        let ensemble = Ensemble::new();
        let way = ensemble.way(2);
        let mut refused = Vec::new();
        for _ in 0..2 * LOOKED_AT.0 {
            refused.push(ask(&way, b"nothing").await.unwrap_err().kind());
        }
        assert!(refused.contains(&ErrorKind::Overloaded));
        ensemble.reach(3, LAUNCHER, 1, &[]).await.unwrap();
    });
}

#[test]
fn the_kernel_lets_no_descriptor_through_a_pair() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    let (one, other) = socket_pair().unwrap();
    if sys::refuse_descriptors(one.as_fd()).is_err() {
        return println!("this kernel cannot refuse descriptors");
    }
    for (from, to) in [(&one, &other), (&other, &one)] {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let passed = [to.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
        let piece = [std::io::IoSlice::new(b"x")];
        let sent = sendmsg(from, &piece, &mut ancillary, SendFlags::NOSIGNAL);
        assert_eq!(sent, Err(rustix::io::Errno::PERM));
    }
}
