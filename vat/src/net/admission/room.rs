//! Room for what waits somewhere, in all and of one source.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::Place;
use super::source::Source;

/// So many connections may wait, and so many of one source. Local callers, who are a source of their
/// own, take nothing from the network's. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    network: usize,
    source: usize,
    waiting: Rc<RefCell<BTreeMap<Source, usize>>>,
}

impl Room {
    /// For `network` connections from the network, and `source` of one source.
    pub(crate) fn new(network: usize, source: usize) -> Self {
        Self {
            network,
            source,
            waiting: Rc::default(),
        }
    }

    /// Room for the connection that has this place among those that were let in, until the ticket is
    /// dropped.
    pub(crate) fn enter(&self, place: Option<&Place>) -> Result<Ticket, Full> {
        let source = place.map_or(Source::Rest, |place| place.origin().source);
        let mut waiting = self.waiting.borrow_mut();
        let of_source = waiting.get(&source).copied().unwrap_or_default();
        if of_source >= self.source {
            return Err(Full::OfSource(source, of_source));
        }
        let network = waiting.iter().filter(|(one, _)| **one != Source::Local);
        let network: usize = network.map(|(_, count)| count).sum();
        if source != Source::Local && network >= self.network {
            return Err(Full::Network(network));
        }
        waiting.insert(source, of_source + 1);
        Ok(Ticket {
            room: self.clone(),
            source,
        })
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Network(usize),
    OfSource(Source, usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(count) => write!(f, "{count} connections wait for it already"),
            Self::OfSource(source, count) => {
                write!(f, "{count} connections from {source} wait for it already")
            }
        }
    }
}

/// One connection's room.
#[derive(Debug)]
pub(crate) struct Ticket {
    room: Room,
    source: Source,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.room.waiting.borrow_mut();
        if let Some(count) = waiting.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.source);
            }
        }
    }
}
