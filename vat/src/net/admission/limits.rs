//! How many connections may come in.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Rate;
use super::source::Source;
use super::{Count, Record, Refused};

/// How many connections may come in, and how often. What each of them may use say
/// [`captp::Limits`], how slow it may be [`Timeouts`](crate::net::driver::Timeouts).
///
/// A *source* is an IPv4 address, or the first 64 bits of an IPv6 address. Local callers, on Unix
/// sockets, have room of their own and none of the limits by source: whoever may open the socket's
/// file is the vat's own user.
///
/// Whoever has an IPv6 network of 48 bits has 65,536 sources. So all sources of such a network
/// together may do four times what one may, and have at most three quarters of the connections and
/// handshakes of all: by default 768 connections, 64 handshakes, 200 arrivals a second (400 at once)
/// and 400 misses a minute; [`launched`](Self::launched) 60 connections and 48 handshakes.
///
/// | Limit | Default | [`launched`](Self::launched) | Beyond it |
/// |---|---|---|---|
/// | [`connections`](Self::connections) | 1,024 | 80 | the newest is closed at once |
/// | [`connections_per_source`](Self::connections_per_source) | 256 | 40 | the same |
/// | [`handshakes`](Self::handshakes) | 256 | 64 | the same |
/// | [`handshakes_per_source`](Self::handshakes_per_source) | 16 | 32 | the same |
/// | [`local`](Self::local) | 128 | 48 | the same |
/// | [`arrivals_per_second`](Self::arrivals_per_second) | 50 from one source | the same | the same |
/// | [`arrivals_burst`](Self::arrivals_burst) | 100 from one source | the same | the same |
/// | [`restore_misses`](Self::restore_misses) | 20 a minute and connection | the same | restores fail as overloaded; then abort |
/// | [`source_misses`](Self::source_misses) | 100 a minute and source | the same | its new connections are closed at once |
///
/// A launcher applies the defaults to callers of which it does not know yet whom they want; the vats
/// apply theirs to the connections that they get from it. Those that wait until a vat takes them,
/// because it is down or busy, are 64 from the network at most, 48 of one IPv6 network of 48 bits and
/// 32 of one source; a vat that is down is waited for 10 s. Further ones are closed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdmissionLimits {
    /// Most connections from the network that are open at a time, those in a handshake included.
    /// Default 1,024. A further one is closed at once.
    pub connections: usize,
    /// Most connections from one source that are open at a time. Default 256. A further one is
    /// closed at once.
    pub connections_per_source: usize,
    /// Most connections from the network at a time that have not shown a key yet: a handshake may
    /// take [5 s](crate::net::HANDSHAKE_TIMEOUT). Default 256. A further one is closed at once.
    pub handshakes: usize,
    /// Most of these from one source. Default 16. A further one is closed at once.
    pub handshakes_per_source: usize,
    /// Most local connections that are open at a time. Default 128. A further one is closed at once.
    pub local: usize,
    /// How many connections may come from one source in a second, in the long run. Default 50. A
    /// further one is closed at once.
    pub arrivals_per_second: u32,
    /// How many of them may come at once. Default 100.
    pub arrivals_burst: u32,
    /// How many numbers that name nothing one connection may ask a vat's restorer for, at once and
    /// in a minute. Default 20: 20 at once, then one each 3 s. Beyond it its restores fail as
    /// overloaded, right or wrong; the connection is aborted if as many follow all the same.
    pub restore_misses: u32,
    /// The same for all connections of one source. Default 100. Beyond it, what is connected stays,
    /// and new connections are closed at once.
    pub source_misses: u32,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_source: 256,
            handshakes: 256,
            handshakes_per_source: 16,
            local: 128,
            arrivals_per_second: 50,
            arrivals_burst: 100,
            restore_misses: 20,
            source_misses: 100,
        }
    }
}

impl AdmissionLimits {
    /// For a launched program, which may have 256 descriptors and needs some for itself and for
    /// those that are on their way.
    #[must_use]
    pub fn launched() -> Self {
        Self {
            connections: 80,
            connections_per_source: 40,
            handshakes: 64,
            // As many as the launcher may have held for it while it was down.
            handshakes_per_source: 32,
            local: 48,
            ..Self::default()
        }
    }

    /// The limit of its source that keeps one more connection out.
    pub(super) fn exceeded(
        &self,
        source: Source,
        record: &Record,
        now: Instant,
    ) -> Option<Refused> {
        let own = record.count;
        if source == Source::Local {
            return (own.open >= self.local).then_some(Refused::Local(self.local));
        }
        let (handshakes, connections) = (
            share(source, self.handshakes_per_source, self.handshakes),
            share(source, self.connections_per_source, self.connections),
        );
        let reached = [
            (
                !record.misses.has(now, self.misses_of(source)),
                Refused::Misses(times(source, self.source_misses)),
            ),
            (
                own.handshakes >= handshakes,
                Refused::HandshakesOfSource(handshakes),
            ),
            (
                own.open >= connections,
                Refused::ConnectionsOfSource(connections),
            ),
            (
                !record.arrivals.has(now, self.arrivals_of(source)),
                Refused::Arrivals(times(source, self.arrivals_per_second)),
            ),
        ];
        let reached = reached.into_iter().find(|(is_reached, _)| *is_reached);
        reached.map(|(_, refused)| refused)
    }

    /// The limit of all sources on the network that keeps one more connection out.
    pub(super) fn exceeded_by_all(&self, network: Count) -> Option<Refused> {
        if network.handshakes >= self.handshakes {
            return Some(Refused::Handshakes(self.handshakes));
        }
        let is_full = network.open >= self.connections;
        is_full.then_some(Refused::Connections(self.connections))
    }

    pub(super) fn arrivals_of(&self, source: Source) -> Rate {
        let (burst, count) = (self.arrivals_burst, self.arrivals_per_second);
        Rate::new(times(source, burst), times(source, count), SECOND)
    }

    pub(in crate::net) fn misses(&self) -> Rate {
        Rate::new(self.restore_misses, self.restore_misses, MINUTE)
    }

    pub(super) fn misses_of(&self, source: Source) -> Rate {
        let count = times(source, self.source_misses);
        Rate::new(count, count, MINUTE)
    }
}

/// How many sources an IPv6 network of 48 bits is worth.
const SITE: u32 = 4;

/// How much a source may do that has a network of its own size for it.
fn times(source: Source, each: u32) -> u32 {
    match source {
        Source::Site(_) => each.saturating_mul(SITE),
        _ => each,
    }
}

/// The same, where all together may have `all`: no site has everything.
pub(super) fn share(source: Source, each: usize, all: usize) -> usize {
    match source {
        Source::Site(_) => each.saturating_mul(SITE as usize).min(all - all / 4),
        _ => each,
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

macro_rules! setters {
    ($($(#[$doc:meta])* $with:ident $field:ident $type:ty;)*) => {
        impl AdmissionLimits {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $with(mut self, value: $type) -> Self {
                    self.$field = value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets [`connections`](Self::connections).
    with_connections connections usize;
    /// Sets [`connections_per_source`](Self::connections_per_source).
    with_connections_per_source connections_per_source usize;
    /// Sets [`handshakes`](Self::handshakes).
    with_handshakes handshakes usize;
    /// Sets [`handshakes_per_source`](Self::handshakes_per_source).
    with_handshakes_per_source handshakes_per_source usize;
    /// Sets [`local`](Self::local).
    with_local local usize;
    /// Sets [`arrivals_per_second`](Self::arrivals_per_second).
    with_arrivals_per_second arrivals_per_second u32;
    /// Sets [`arrivals_burst`](Self::arrivals_burst).
    with_arrivals_burst arrivals_burst u32;
    /// Sets [`restore_misses`](Self::restore_misses).
    with_restore_misses restore_misses u32;
    /// Sets [`source_misses`](Self::source_misses).
    with_source_misses source_misses u32;
}
