//! Who comes in: how many connections there may be, in total and from one source, before and after
//! they have shown a key.
//!
//! Whoever can reach a port can connect to it, and a key costs nothing to make. So what one caller
//! can take from the others is bounded by what is hard to have many of: addresses. A *source* is an
//! IPv4 address or an IPv6 network of 64 bits, and one of 48 bits is a larger one; all local callers,
//! on Unix sockets, are one more, with room of its own, so that a flood from the network does not
//! lock the operator out.
//!
//! A connection beyond a limit is closed at once, before anything of it is read or allocated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Socket;

mod bucket;
mod limits;
mod refused;
#[cfg(feature = "launch")]
mod room;
mod source;
#[cfg(test)]
mod tests;

pub use limits::AdmissionLimits;
pub use refused::Refused;

pub(crate) use bucket::{Bucket, Rate};

pub(crate) use refused::Refusals;
#[cfg(feature = "launch")]
pub(crate) use room::{Full, Room, Ticket};

use source::Source;

/// Lets connections in, up to its [limits](AdmissionLimits). Cloning gives another handle to the
/// same.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: AdmissionLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of all sources on the network.
    network: Count,
    sources: BTreeMap<Source, Record>,
    /// When the sources of which nothing need be known were last forgotten.
    swept: Instant,
    refusals: Refusals,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    open: usize,
    /// Those of them that have not shown a key.
    handshakes: usize,
}

/// What is known of a source. Kept as long as any of it is.
#[derive(Debug, Default)]
struct Record {
    count: Count,
    arrivals: Bucket,
    misses: Bucket,
}

/// Sources of which something is known; further ones are taken for one.
const SOURCES: usize = 4096;

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self(Arc::new(Inner {
            limits,
            state: Mutex::new(State {
                network: Count::default(),
                sources: BTreeMap::new(),
                swept: Instant::now(),
                refusals: Refusals::default(),
            }),
        }))
    }

    /// The limits it keeps.
    pub fn limits(&self) -> &AdmissionLimits {
        &self.0.limits
    }

    /// Lets a connection in: it has its place until the socket, or the [`Stream`](super::Stream)
    /// that is made of it, is dropped. Until a handshake has succeeded on it, it counts as one that
    /// has not shown a key.
    ///
    /// # Errors
    ///
    /// [`Refused`] says which limit is reached. The socket is closed then, without a word.
    pub fn admit(&self, socket: Socket) -> Result<Socket, Refused> {
        self.admit_at(socket, Instant::now())
    }

    fn admit_at(&self, socket: Socket, now: Instant) -> Result<Socket, Refused> {
        let source = Source::of(&socket).ok_or(Refused::Gone)?;
        match self.enter(source, now) {
            Ok(place) => Ok(socket.holding(place)),
            Err(refused) => {
                socket.reset();
                Err(refused)
            }
        }
    }

    fn enter(&self, source: Source, now: Instant) -> Result<Place, Refused> {
        let limits = &self.0.limits;
        let mut state = self.state();
        let counted = state.counted(source, now);
        let blank = Record::default();
        for source in counted.into_iter().flatten() {
            let record = state.sources.get(&source).unwrap_or(&blank);
            if let Some(refused) = limits.exceeded(source, record, now) {
                state.refusals.note(source, refused, now);
                return Err(refused);
            }
        }
        let is_local = source == Source::Local;
        if let Some(refused) = limits.exceeded_by_all(state.network).filter(|_| !is_local) {
            state.refusals.note(source, refused, now);
            return Err(refused);
        }
        for source in counted.into_iter().flatten() {
            let record = state.sources.entry(source).or_default();
            record.arrivals.take(now, limits.arrivals_of(source));
            record.count.add(true);
        }
        if !is_local {
            state.network.add(true);
        }
        let origin = Origin {
            admission: self.clone(),
            counted,
        };
        Ok(Place {
            origin,
            handshaking: true,
        })
    }

    /// What is to be said of callers that were not let in, now and then.
    #[cfg(feature = "launch")]
    pub(crate) fn take_report(&self) -> Option<String> {
        self.state().refusals.take_report()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be left half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(AdmissionLimits::default())
    }
}

impl State {
    /// What is counted for this source: itself, and what it is a part of.
    fn counted(&mut self, source: Source, now: Instant) -> [Option<Source>; 2] {
        let own = self.known(source, now);
        let site = source.site().map(|site| self.known(site, now));
        [Some(own), site.filter(|site| *site != Source::Rest)]
    }

    /// The source as which this one is known.
    fn known(&mut self, source: Source, now: Instant) -> Source {
        if self.sources.len() < SOURCES || self.sources.contains_key(&source) {
            return source;
        }
        // Not for each caller, as it looks at all of them.
        if now.duration_since(self.swept) >= SWEEP_PAUSE {
            self.swept = now;
            self.sources.retain(|_, record| !record.is_blank(now));
        }
        match self.sources.len() < SOURCES {
            true => source,
            false => Source::Rest,
        }
    }
}

/// Time between two looks for sources that can be forgotten.
const SWEEP_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

impl Count {
    const fn add(&mut self, handshaking: bool) {
        self.open += 1;
        self.handshakes += handshaking as usize;
    }

    const fn remove(&mut self, handshaking: bool) {
        self.open = self.open.saturating_sub(1);
        self.handshakes = self.handshakes.saturating_sub(handshaking as usize);
    }
}

impl Record {
    fn is_blank(&self, now: Instant) -> bool {
        self.count.open == 0 && self.arrivals.is_full(now) && self.misses.is_full(now)
    }
}

/// Where a connection came from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    admission: Admission,
    counted: [Option<Source>; 2],
}

impl Origin {
    /// A restore of something that is not there came from here.
    pub(super) fn missed(&self, now: Instant) {
        let limits = &self.admission.0.limits;
        let mut state = self.admission.state();
        for source in self.counted() {
            if let Some(record) = state.sources.get_mut(&source) {
                record.misses.take(now, limits.misses_of(source));
            }
        }
    }

    fn counted(&self) -> impl Iterator<Item = Source> {
        self.counted.into_iter().flatten()
    }
}

/// A connection's place among those that are let in; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    origin: Origin,
    handshaking: bool,
}

impl Place {
    /// The connection has shown a key, or needs none.
    pub(super) fn handshake_done(&mut self) {
        if std::mem::replace(&mut self.handshaking, false) {
            self.change(|count| count.handshakes = count.handshakes.saturating_sub(1));
        }
    }

    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    fn change(&self, mut change: impl FnMut(&mut Count)) {
        let mut state = self.origin.admission.state();
        if self.origin.counted().all(|source| source != Source::Local) {
            change(&mut state.network);
        }
        for source in self.origin.counted() {
            if let Some(record) = state.sources.get_mut(&source) {
                change(&mut record.count);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let handshaking = self.handshaking;
        self.change(|count| count.remove(handshaking));
    }
}
