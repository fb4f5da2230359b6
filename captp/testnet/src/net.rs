//! Vats and the network between them in one value, for scripts.

use captp::testing::Tables;
use captp::{ConnId, ConnOptions, Exception, Limits, NodeId, ObjectKey, Stats};

use crate::vat::key_of;
use crate::{Delivered, End, Event, Kind, LinkId, Network, Vat};

/// Vats and the links between them. Every vat offers object 0 as bootstrap.
///
/// Methods named `check_*` and the ones that deliver give an error in words if an engine's tables
/// contradict themselves or each other.
#[derive(Debug, Default)]
pub struct Net {
    /// The vats. A script may replace one by a new one, after [`Network::crash`].
    pub vats: Vec<Vat>,
    /// The links.
    pub network: Network,
    /// Whether vats have keys, so that they can be introduced to each other.
    known: bool,
    /// What a peer may use.
    limits: Limits,
    /// Whether links carry file descriptors.
    descriptors: bool,
}

/// Most messages that [`Net::run`] delivers.
const RUN_LIMIT: usize = 50_000;

impl Net {
    /// Vats without links.
    #[must_use]
    pub fn new(vats: usize) -> Self {
        Self {
            vats: (0..vats).map(|_| Vat::new()).collect(),
            network: Network::new(),
            known: false,
            limits: Limits::default(),
            descriptors: false,
        }
    }

    /// Vats with keys: their connections begin with a hello, and they hand references over.
    #[must_use]
    pub fn known(vats: usize) -> Self {
        Self {
            vats: (0..vats).map(|vat| Vat::known(vat, 0)).collect(),
            network: Network::new(),
            known: true,
            limits: Limits::default(),
            descriptors: false,
        }
    }

    /// Connects two vats. `None` if one of them does not exist.
    pub fn link(&mut self, a: usize, b: usize, hello: bool) -> Option<LinkId> {
        let hello = hello || self.known;
        let first = (a, self.open(a, b, hello)?);
        let second = (b, self.open(b, a, hello)?);
        Some(self.network.join(first, second, hello))
    }

    /// Answers the next request of a vat for a connection: with one that there is, with a new one,
    /// or not. `None` if there is no request.
    pub fn dialed(&mut self, vat: usize, refuse: bool) -> Option<()> {
        let (request, to) = self.vats.get_mut(vat)?.next_dial()?;
        let peer = (0..self.vats.len()).find(|other| key_of(*other) == to);
        let result = match peer {
            Some(peer) if !refuse => self.connection(vat, peer),
            _ => None,
        };
        let refused = || Exception::failed("no way to that vat");
        let there = self.vats.get_mut(vat)?;
        there.engine.dialed(request, result.ok_or_else(refused));
        there.collect();
        Some(())
    }

    fn connection(&mut self, vat: usize, peer: usize) -> Option<ConnId> {
        let between = |link: &LinkId| {
            let at = |side| self.network.at(End { link: *link, side });
            match (at(0), at(1)) {
                (Some((a, conn)), Some((b, _))) if (a, b) == (vat, peer) => Some(conn),
                (Some((b, _)), Some((a, conn))) if (a, b) == (vat, peer) => Some(conn),
                _ => None,
            }
        };
        let open = self
            .network
            .links()
            .filter(|link| self.network.is_open(*link));
        if let Some(conn) = open.filter_map(|link| between(&link)).last() {
            return Some(conn);
        }
        let link = self.link(vat, peer, true)?;
        Some(self.network.at(End { link, side: 0 })?.1)
    }

    /// Lets the time pass until something ends by it. False if nothing does.
    pub fn let_time_pass(&mut self) -> bool {
        let mut any = false;
        for vat in &mut self.vats {
            if let Some(deadline) = vat.engine.deadline() {
                vat.engine.handle_time(deadline);
                vat.collect();
                any = true;
            }
        }
        any
    }

    /// What a peer may use on connections that are made from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether connections that are made from now on carry file descriptors.
    pub const fn set_descriptors(&mut self, descriptors: bool) {
        self.descriptors = descriptors;
    }

    fn open(&mut self, vat: usize, peer: usize, hello: bool) -> Option<ConnId> {
        let known = self.known;
        let vat = self.vats.get_mut(vat)?;
        let offered = vat.engine.object(ObjectKey(0));
        let mut options = ConnOptions::default()
            .with_bootstrap(offered)
            .with_hello(hello)
            .with_descriptors(self.descriptors)
            .with_limits(self.limits.clone());
        if known {
            options = options.with_peer(key_of(peer));
        }
        let conn = vat.engine.open(options);
        vat.release(offered);
        Some(conn)
    }

    /// A reference to the object 0 of the vat at the other end of the link, counted.
    pub fn bootstrap(&mut self, end: End) -> Option<NodeId> {
        let (vat, conn) = self.network.at(end)?;
        let vat = self.vats.get_mut(vat)?;
        let node = vat.engine.bootstrap(conn);
        vat.collect();
        Some(node)
    }

    /// Delivers the next thing to an end. `None` if there is nothing.
    ///
    /// # Errors
    /// See [`Net`].
    pub fn deliver(&mut self, end: End) -> Result<Option<Delivered>, String> {
        self.network.pump_link(&mut self.vats, end.link);
        let Some(delivered) = self.network.deliver(&mut self.vats, end) else {
            return Ok(None);
        };
        self.check_vat(delivered.vat)?;
        Ok(Some(delivered))
    }

    /// Delivers everything that can be delivered.
    ///
    /// # Errors
    /// See [`Net`]; also if there is no end of it.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..RUN_LIMIT {
            self.network.pump(&mut self.vats);
            let Some(end) = self.network.ready().next() else {
                return self.check_links();
            };
            self.deliver(end)?;
        }
        Err(format!("{RUN_LIMIT} messages delivered and no end of it"))
    }

    /// Kinds of what is on its way to an end, first things first.
    pub fn flying(&mut self, end: End) -> Vec<Kind> {
        self.network.pump_link(&mut self.vats, end.link);
        let flying = self.network.flying(end);
        flying.map(crate::Flying::kind).collect()
    }

    /// The next thing that happened at a vat.
    pub fn next_event(&mut self, vat: usize) -> Option<Event> {
        self.vats.get_mut(vat)?.next_event()
    }

    /// Checks the tables of one engine.
    ///
    /// # Errors
    /// See [`Net`].
    pub fn check_vat(&self, vat: usize) -> Result<(), String> {
        let Some(there) = self.vats.get(vat) else {
            return Ok(());
        };
        let checked = there.engine.check();
        checked.map_err(|fault| format!("vat {vat}: {fault}"))
    }

    /// Checks all engines, and for each link with nothing on its way that both ends agree.
    ///
    /// # Errors
    /// See [`Net`].
    pub fn check_links(&mut self) -> Result<(), String> {
        self.network.pump(&mut self.vats);
        for vat in 0..self.vats.len() {
            self.check_vat(vat)?;
        }
        for link in self.network.links() {
            self.check_link(link)?;
        }
        Ok(())
    }

    pub(crate) fn check_link(&self, link: LinkId) -> Result<(), String> {
        let ends = [End { link, side: 0 }, End { link, side: 1 }];
        let quiet = |end: &End| {
            let unsent = self
                .stats(*end)
                .is_some_and(|stats| stats.outbound_bytes > 0);
            !unsent && self.network.flying(*end).next().is_none()
        };
        if !self.network.is_open(link) || !ends.iter().all(quiet) || self.waits(link) {
            return Ok(());
        }
        let [Some((a, first)), Some((b, second))] = ends.map(|end| self.tables(end)) else {
            return Ok(());
        };
        agree((a, &first), (b, &second))?;
        agree((b, &second), (a, &first))
    }

    /// Whether calls wait for room at one of the ends: the other does not know of them yet.
    fn waits(&self, link: LinkId) -> bool {
        let ends = (0..2).map(|side| End { link, side });
        let mut stats = ends.filter_map(|end| self.stats(end));
        stats.any(|stats| stats.waiting > 0)
    }

    fn stats(&self, end: End) -> Option<Stats> {
        let (vat, conn) = self.network.at(end)?;
        self.vats.get(vat)?.engine.stats(conn)
    }

    /// Whether any vat has something to send.
    pub(crate) fn has_unsent(&self) -> bool {
        let ends = self
            .network
            .links()
            .flat_map(|link| [0, 1].map(|side| End { link, side }));
        let mut stats = ends.filter_map(|end| self.stats(end));
        stats.any(|stats| stats.outbound_bytes > 0)
    }

    fn tables(&self, end: End) -> Option<(usize, Tables)> {
        let (vat, conn) = self.network.at(end)?;
        Some((vat, self.vats.get(vat)?.engine.tables(conn)?))
    }

    /// Delivers everything, and looks whether all tables are empty and no reference is left in any
    /// vat but the object that it offers.
    ///
    /// # Errors
    /// What is left.
    pub fn check_drained(&mut self) -> Result<(), String> {
        self.run()?;
        for link in self.network.links() {
            for side in 0..2 {
                let end = End { link, side };
                let Some((vat, conn)) = self.network.at(end) else {
                    continue;
                };
                let engine = self.vats.get(vat).map(|vat| &vat.engine);
                if engine.is_some_and(|engine| !engine.is_drained(conn)) {
                    let tables = self.tables(end);
                    return Err(format!("vat {vat}: entries left: {tables:?}"));
                }
            }
        }
        for (index, vat) in self.vats.iter().enumerate() {
            let kept = usize::from(vat.engine.has_object(ObjectKey(0)));
            if vat.engine.live_nodes() > kept {
                let dump = vat.engine.dump();
                return Err(format!("vat {index}: references left:\n{dump}"));
            }
            let streams = vat.engine.open_streams();
            if streams > 0 {
                return Err(format!("vat {index}: {streams} streams left"));
            }
        }
        Ok(())
    }
}

/// What the tables of two ends say of each other when nothing is on its way.
fn agree((a, here): (usize, &Tables), (b, there): (usize, &Tables)) -> Result<(), String> {
    let differ = |what: &str, one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| {
        Err(format!(
            "vats {a} and {b} disagree on {what}: {one:?} and {other:?}"
        ))
    };
    if here.exports != there.imports {
        return differ("references", &here.exports, &there.imports);
    }
    let mut asked = here.asked.clone();
    asked.sort_unstable();
    let mut running = there.running.clone();
    running.sort_unstable();
    if asked != running {
        return differ("unanswered calls", &asked, &running);
    }
    let mut fetching = here.fetching.clone();
    fetching.sort_unstable();
    let mut fetched = there.fetched.clone();
    fetched.sort_unstable();
    if fetching != fetched {
        return differ("calls for references", &fetching, &fetched);
    }
    let mut answered = here.answered.clone();
    answered.sort_unstable();
    let mut returned = there.returned.clone();
    returned.sort_unstable();
    if answered != returned {
        return differ("answered calls", &answered, &returned);
    }
    Ok(())
}
