//! Connections between the vats of one launcher: a socket pair for each pair that was introduced.
//!
//! A vat may be connected with a sibling once it was given a reference there, and shows so with the
//! [`Introduction`] that came with the reference. Only connections beget connections: the gifter
//! has to be the launcher, or another of its vats that is connected with the exporter itself; and a
//! forwarder has to be one of its vats. So two programs that were given nothing of each other stay
//! apart, also if both want to meet.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use captp::{Introduction, VatKey};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::net::{Bucket, Rate};
use crate::power::{SiblingsRef, Stream, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Identity, VatId};

/// Streams of one vat that are being made, or whose reference it keeps.
const STREAMS: usize = 64;
/// Introductions of one vat whose signatures are checked at once, and per second in the long run.
const CHECKS: (u32, u32) = (64, 16);

/// A vat of the launcher, for the others.
pub(super) trait Sibling {
    /// Its supervision path.
    fn path(&self) -> &str;

    /// Its id.
    fn vat(&self) -> VatId;

    /// Gives its present life one end of a socket pair with `vat`. `None`: it has none.
    fn meet(&self, stream: StreamRef, vat: VatId) -> Option<Promise<()>>;
}

/// The vats of one launcher, and which of them have met.
pub(super) struct Introducer {
    launcher: Identity,
    children: RefCell<BTreeMap<VatKey, Weak<dyn Sibling>>>,
    /// Pairs that were connected in their present lives.
    met: RefCell<BTreeSet<[VatKey; 2]>>,
}

impl Introducer {
    pub(super) fn new(launcher: Identity) -> Self {
        Self {
            launcher,
            children: RefCell::default(),
            met: RefCell::default(),
        }
    }

    /// The launcher's vat.
    pub(super) fn launcher(&self) -> VatId {
        self.launcher.id()
    }

    pub(super) fn add(&self, vat: VatId, child: Weak<dyn Sibling>) {
        self.children.borrow_mut().insert(key(vat), child);
    }

    /// What `vat` gets in a new life.
    pub(super) fn way_of(self: &Rc<Self>, turn: &Turn, vat: VatId) -> SiblingsRef {
        SiblingsRef::new(turn, Way::new(self.clone(), vat))
    }

    /// A life of `vat` is over, and so are its connections.
    pub(super) fn forget(&self, vat: VatId) {
        let gone = key(vat);
        self.met.borrow_mut().retain(|pair| !pair.contains(&gone));
    }

    /// Whom `vat` may reach by this introduction, apart from whether it is signed.
    fn exporter(&self, vat: VatId, introduction: &Introduction) -> Result<Rc<dyn Sibling>> {
        if introduction.recipient() != key(vat) {
            return Err(refused("it is for another vat"));
        }
        let exporter = introduction.exporter();
        let child = match self.children.borrow().get(&exporter).map(Weak::upgrade) {
            Some(Some(child)) if exporter != key(vat) => child,
            _ => return Err(refused("it leads to no other vat of this launcher")),
        };
        let gifter = introduction.gifter();
        if gifter != key(self.launcher()) && !self.have_met(gifter, exporter) {
            return Err(refused("who gave it is not connected with that vat here"));
        }
        let children = self.children.borrow();
        match introduction
            .forwarders()
            .all(|key| children.contains_key(&key))
        {
            true => Ok(child),
            false => Err(refused(
                "it came through a vat that is not of this launcher",
            )),
        }
    }

    fn have_met(&self, one: VatKey, other: VatKey) -> bool {
        self.met.borrow().contains(&pair(one, other))
    }

    /// Connects `vat` with `child`: one end for each.
    fn connect(
        &self,
        turn: &Turn,
        vat: VatId,
        child: &dyn Sibling,
        room: OwnedSemaphorePermit,
    ) -> Result<StreamRef> {
        let (one, other) = UnixStream::pair().map_err(Error::of)?;
        let met = child
            .meet(carrier(turn, other, None), vat)
            .ok_or_else(|| Error::disconnected(format!("{} does not run", child.path())))?;
        self.met
            .borrow_mut()
            .insert(pair(key(vat), key(child.vat())));
        let name = child.path().to_owned();
        tokio::task::spawn_local(async move {
            if let Err(error) = met.await {
                tracing::debug!(child = %name, err = %error, "it does not meet its sibling");
            }
        });
        Ok(carrier(turn, one, Some(room)))
    }
}

/// What one life of a vat asks for its siblings.
#[derive(vat::Object)]
#[object(external)]
struct Way {
    introducer: Rc<Introducer>,
    vat: VatId,
    streams: Arc<Semaphore>,
    checks: Bucket,
}

impl Way {
    fn new(introducer: Rc<Introducer>, vat: VatId) -> Self {
        Self {
            introducer,
            vat,
            streams: Arc::new(Semaphore::new(STREAMS)),
            checks: Bucket::default(),
        }
    }

    /// Whom the introduction leads to.
    fn check(&mut self, introduction: &[u8]) -> Result<Rc<dyn Sibling>> {
        let introduction = Introduction::from_bytes(introduction)
            .ok_or_else(|| Error::failed("this is no introduction"))?;
        let child = self.introducer.exporter(self.vat, &introduction)?;
        let (burst, per_second) = CHECKS;
        let rate = Rate::new(burst, per_second, Duration::from_secs(1));
        if !self.checks.take(Instant::now(), rate) {
            return Err(Error::overloaded(format!(
                "more than {per_second} connections to siblings were asked for in a second"
            )));
        }
        match introduction.is_signed(&self.introducer.launcher) {
            true => Ok(child),
            false => Err(refused("it is not signed by who gave it")),
        }
    }
}

impl crate::power::Siblings for Way {
    fn reach(&mut self, turn: &Turn, introduction: Vec<u8>) -> Result<StreamRef> {
        let room = self.streams.clone().try_acquire_owned().map_err(|_| {
            Error::overloaded(format!("{STREAMS} streams to siblings are in use already"))
        })?;
        let child = self.check(&introduction)?;
        self.introducer.connect(turn, self.vat, &*child, room)
    }
}

/// What a stream's descriptor is attached to on its way.
#[derive(vat::Object)]
#[object(external)]
struct Carrier {
    _room: Option<OwnedSemaphorePermit>,
}

impl Stream for Carrier {}

fn carrier(turn: &Turn, end: UnixStream, room: Option<OwnedSemaphorePermit>) -> StreamRef {
    let carrier = StreamRef::from(&turn.spawn(Carrier { _room: room }));
    Ref::from(carrier).with_fd(Rc::new(end.into())).into()
}

fn refused(why: &str) -> Error {
    Error::failed(format!("the introduction does not count: {why}"))
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
