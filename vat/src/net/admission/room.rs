//! Room for what waits somewhere, in all and of one source.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::Place;
use super::limits::share;
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
        let counted = place.map_or([Some(Source::Rest), None], |place| place.origin().counted);
        let mut waiting = self.waiting.borrow_mut();
        for source in counted.into_iter().flatten() {
            let of_source = waiting.get(&source).copied().unwrap_or_default();
            if of_source >= share(source, self.source, self.network) {
                return Err(Full::OfSource(source, of_source));
            }
        }
        let network = waiting.iter().filter(|(source, _)| is_on_network(source));
        let network = network.map(|(_, count)| count).sum();
        if network >= self.network && counted.iter().flatten().any(is_on_network) {
            return Err(Full::Network(network));
        }
        for source in counted.into_iter().flatten() {
            *waiting.entry(source).or_default() += 1;
        }
        Ok(Ticket {
            room: self.clone(),
            counted,
        })
    }
}

/// Whether it counts for the network as a whole, in which sites are counted by their parts.
fn is_on_network(source: &Source) -> bool {
    !matches!(source, Source::Local | Source::Site(_))
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
    counted: [Option<Source>; 2],
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.room.waiting.borrow_mut();
        for source in self.counted.into_iter().flatten() {
            if let Some(count) = waiting.get_mut(&source) {
                *count -= 1;
            }
        }
        waiting.retain(|_, count| *count > 0);
    }
}
