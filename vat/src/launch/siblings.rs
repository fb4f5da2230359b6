//! Connections between the vats of one launcher: a socket pair for each pair that was introduced.
//!
//! A vat may be connected with a sibling once it was given a reference there, and shows so with the
//! [`Introduction`] that came with the reference. Only connections beget connections: the gifter has
//! to be the launcher, or another of its vats that was connected with the exporter itself; and a
//! forwarder has to be one of these, too. All that counts for present lives only: each life gives
//! under a number of its own, and what the launcher gave of an earlier life leads nowhere. So two
//! programs that were given nothing of each other stay apart, also if both want to meet.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use captp::{Introduction, VatKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::carrier::carry;
use crate::net::{Bucket, Rate};
use crate::power::{Siblings, SiblingsRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Identity, VatId};
use crate::sys;

/// A vat of the launcher, for the others.
pub(super) trait Sibling {
    /// Its supervision path.
    fn path(&self) -> &str;

    /// Gives its present life one end of a socket pair with `vat`. `None`: it has none.
    fn meet(&self, stream: StreamRef, vat: VatId) -> Option<Promise<()>>;
}

/// The vats of one launcher, and which of them have met.
pub(super) struct Introducer {
    launcher: Identity,
    /// Under which the launcher hands references over.
    session: u64,
    members: RefCell<BTreeMap<VatKey, Member>>,
    /// Pairs that were connected in their present lives.
    met: RefCell<BTreeSet<[VatKey; 2]>>,
}

struct Member {
    child: Weak<dyn Sibling>,
    life: Option<Life>,
    /// Streams to it that are being made, or that somebody keeps.
    streams: Arc<Semaphore>,
}

/// A life of a vat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    vat: VatKey,
    /// Under which it hands references over.
    pub(super) session: u64,
    /// How much the launcher had handed over before.
    since: u64,
}

/// Streams to one vat that are being made, or whose references somebody keeps; of one other vat, and
/// of all.
const STREAMS: (usize, usize) = (2, 16);
/// Introductions of one vat that are looked at: at once, and per second in the long run.
const LOOKED_AT: (u32, u32) = (256, 64);
/// How long a vat may take to accept a connection, with the wait for those before it.
const MET_WITHIN: Duration = Duration::from_secs(4);

impl Introducer {
    /// For the launcher with this key, which hands references over under `session`.
    pub(super) fn new(launcher: Identity, session: u64) -> Self {
        Self {
            launcher,
            session,
            members: RefCell::default(),
            met: RefCell::default(),
        }
    }

    /// The launcher's vat.
    pub(super) fn launcher(&self) -> VatId {
        self.launcher.id()
    }

    pub(super) fn add(&self, vat: VatId, child: Weak<dyn Sibling>) {
        let member = Member {
            child,
            life: None,
            streams: Arc::new(Semaphore::new(STREAMS.1)),
        };
        self.members.borrow_mut().insert(key(vat), member);
    }

    /// A life of `vat` begins; `session` is new, and `since` is how much the launcher has handed over
    /// so far.
    pub(super) fn begin(&self, vat: VatId, session: u64, since: u64) -> Life {
        self.end(vat);
        let life = Life {
            vat: key(vat),
            session,
            since,
        };
        if let Some(member) = self.members.borrow_mut().get_mut(&life.vat) {
            member.life = Some(life);
        }
        life
    }

    /// What this life asks for its siblings.
    pub(super) fn way_of(self: &Rc<Self>, turn: &Turn, vat: VatId, life: Life) -> SiblingsRef {
        SiblingsRef::new(
            turn,
            Way {
                introducer: self.clone(),
                vat,
                life,
                streams: BTreeMap::new(),
                looked_at: Bucket::default(),
            },
        )
    }

    /// The present life of `vat` is over, and so are its connections.
    pub(super) fn end(&self, vat: VatId) {
        let gone = key(vat);
        if let Some(member) = self.members.borrow_mut().get_mut(&gone) {
            member.life = None;
        }
        self.met.borrow_mut().retain(|pair| !pair.contains(&gone));
    }

    fn life(&self, vat: VatKey) -> Option<Life> {
        self.members.borrow().get(&vat)?.life
    }

    /// Whom `of` may reach by this introduction.
    fn exporter(&self, of: Life, introduction: &Introduction) -> Result<Life, &'static str> {
        if !introduction.is_signed(&self.launcher) {
            return Err("it is not signed by who gave it");
        }
        if introduction.recipient() != of.vat || self.life(of.vat) != Some(of) {
            return Err("it is for another vat");
        }
        let exporter = self.life(introduction.exporter());
        let exporter = exporter.filter(|exporter| exporter.vat != of.vat);
        let exporter = exporter.ok_or("it leads to no other vat that runs here")?;
        if !self.may_give(exporter, introduction) {
            return Err("who gave it is not connected with that vat here");
        }
        let is_ours = |by| by == key(self.launcher()) || self.life(by).is_some();
        match introduction.forwarders().all(is_ours) {
            true => Ok(exporter),
            false => Err("it came through a vat that does not run here"),
        }
    }

    /// Whether the gifter could have a reference to what the exporter hosts in its present life, and
    /// gave it in its own.
    fn may_give(&self, exporter: Life, introduction: &Introduction) -> bool {
        let (gifter, session) = (introduction.gifter(), introduction.session());
        if gifter == key(self.launcher()) {
            return session == self.session && introduction.number() > exporter.since;
        }
        let gives = self
            .life(gifter)
            .is_some_and(|life| life.session == session);
        gives && self.have_met(gifter, exporter.vat)
    }

    fn have_met(&self, one: VatKey, other: VatKey) -> bool {
        self.met.borrow().contains(&pair(one, other))
    }

    fn member(&self, vat: VatKey) -> Option<(Rc<dyn Sibling>, Arc<Semaphore>)> {
        let members = self.members.borrow();
        let member = members.get(&vat)?;
        Some((member.child.upgrade()?, member.streams.clone()))
    }

    /// Connects two lives: one end of a socket pair for each.
    async fn connect(&self, cx: &Cx, asks: &Asks) -> Result<StreamRef> {
        let does_not_run = || Error::disconnected("the vat does not run any more");
        let (child, streams) = self.member(asks.exporter.vat).ok_or_else(does_not_run)?;
        let room = Rc::new(Room {
            _of_pair: acquire(asks.streams.clone()).await?,
            _of_vat: acquire(streams).await?,
        });
        let (one, other) = socket_pair().map_err(Error::of)?;
        let met = child.meet(carry(cx, other, room.clone()), asks.vat);
        met.ok_or_else(does_not_run)?.await?;
        let present = [asks.life, asks.exporter].map(|life| self.life(life.vat) == Some(life));
        if present != [true, true] {
            return Err(does_not_run());
        }
        let pair = pair(asks.life.vat, asks.exporter.vat);
        self.met.borrow_mut().insert(pair);
        tracing::debug!(vat = %asks.vat, to = child.path(), "siblings meet");
        Ok(carry(cx, one, room))
    }
}

/// A socket pair on which the kernel lets no descriptors through, where it can (Linux 6.16): a
/// program cannot change that.
fn socket_pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair()?;
    for end in [&one, &other] {
        if let Err(error) = sys::refuse_descriptors(end.as_fd()) {
            tracing::debug!(err = %error, "siblings may pass descriptors");
        }
    }
    Ok((one.into(), other.into()))
}

/// Streams for as long as anybody keeps one of the two ends on its way.
struct Room {
    _of_pair: OwnedSemaphorePermit,
    _of_vat: OwnedSemaphorePermit,
}

async fn acquire(streams: Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    streams.acquire_owned().await.map_err(Error::of)
}

/// What one life of a vat asks for its siblings.
#[derive(vat::Object)]
#[object(external)]
struct Way {
    introducer: Rc<Introducer>,
    vat: VatId,
    life: Life,
    /// Those that it gets, by whom they lead to.
    streams: BTreeMap<VatKey, Arc<Semaphore>>,
    looked_at: Bucket,
}

/// A connection that is wanted and may be made.
struct Asks {
    introducer: Rc<Introducer>,
    vat: VatId,
    life: Life,
    exporter: Life,
    streams: Arc<Semaphore>,
}

impl Way {
    /// Whom the introduction leads to. What is wrong with it is not told: it would say who else there
    /// is.
    fn check(&mut self, introduction: &[u8]) -> Result<Asks> {
        let (burst, per_second) = LOOKED_AT;
        let rate = Rate::new(burst, per_second, Duration::from_secs(1));
        if !self.looked_at.take(Instant::now(), rate) {
            return Err(Error::overloaded(format!(
                "more than {per_second} introductions to siblings came in a second"
            )));
        }
        let read = Introduction::from_bytes(introduction).ok_or("it is none");
        let exporter = read.and_then(|read| self.introducer.exporter(self.life, &read));
        let exporter = exporter.map_err(|why| {
            tracing::debug!(vat = %self.vat, why, "an introduction leads to no sibling");
            Error::failed("the introduction leads to no sibling")
        })?;
        let streams = self.streams.entry(exporter.vat);
        let streams = streams.or_insert_with(|| Arc::new(Semaphore::new(STREAMS.0)));
        Ok(Asks {
            introducer: self.introducer.clone(),
            vat: self.vat,
            life: self.life,
            exporter,
            streams: streams.clone(),
        })
    }
}

impl Siblings for Way {
    async fn reach(this: Near<Self>, cx: &Cx, introduction: Vec<u8>) -> Result<StreamRef> {
        let asks = this.call(cx, |way| way.check(&introduction))?;
        let met = timeout(MET_WITHIN, asks.introducer.connect(cx, &asks));
        let too_slow = || Error::overloaded("the sibling does not take the connection in time");
        met.await.unwrap_or_else(|_| Err(too_slow()))
    }
}

fn key(vat: VatId) -> VatKey {
    VatKey(*vat.as_bytes())
}

/// In one order, whoever was first.
fn pair(one: VatKey, other: VatKey) -> [VatKey; 2] {
    [one.min(other), one.max(other)]
}

#[cfg(test)]
mod tests;
