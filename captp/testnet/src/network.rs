//! Links between vats: every message is delivered by itself, when the script says so.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use captp::{ConnId, Engine, Host, Transmit};

use crate::frames::{Kind, kind, split};

/// What the network needs of a vat: its engine, however it is wrapped.
pub trait Port {
    /// [`Engine::poll_transmit`].
    fn poll_transmit(&mut self, conn: ConnId, out: &mut Transmit) -> bool;
    /// [`Engine::handle_bytes`], until all is taken.
    fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>);
    /// [`Engine::handle_closed`].
    fn handle_closed(&mut self, conn: ConnId, reason: &str);
}

impl<H: Host> Port for Engine<H> {
    fn poll_transmit(&mut self, conn: ConnId, out: &mut Transmit) -> bool {
        Self::poll_transmit(self, conn, out)
    }

    fn handle_bytes(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        let (mut rest, mut fds) = (bytes, fds);
        while !rest.is_empty() {
            let taken = Self::handle_bytes(self, conn, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
        }
    }

    fn handle_closed(&mut self, conn: ConnId, reason: &str) {
        Self::handle_closed(self, conn, reason);
    }
}

/// A link of the network, by the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub usize);

/// The receiving end of one direction of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct End {
    /// Which link.
    pub link: LinkId,
    /// Which of its two ends, 0 or 1, in the order given to [`Network::join`].
    pub side: usize,
}

/// One thing on its way.
#[derive(Debug)]
pub enum Flying {
    /// One whole message.
    Message {
        /// With its frame.
        bytes: Vec<u8>,
        /// What comes along.
        fds: Vec<OwnedFd>,
        /// What it is.
        kind: Kind,
    },
    /// The end of the stream.
    Close(&'static str),
}

impl Flying {
    /// What it is, for a script.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Message { kind, .. } => *kind,
            Self::Close(_) => Kind::Close,
        }
    }
}

/// One end of a link.
#[derive(Debug)]
struct Side {
    vat: usize,
    conn: ConnId,
    /// On its way to this end.
    queue: VecDeque<Flying>,
    /// Nothing is delivered here for the time being.
    blocked: bool,
    /// Nobody listens here any more.
    gone: bool,
    /// The first message that leaves here is a hello.
    hello: bool,
}

#[derive(Debug)]
struct Link {
    sides: [Side; 2],
    /// What is sent from now on is lost.
    cut: bool,
}

/// What was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// To which vat.
    pub vat: usize,
    /// On which of its connections.
    pub conn: ConnId,
    /// What.
    pub kind: Kind,
}

/// All links. The vats are the caller's, in a slice; an index into it names one.
#[derive(Debug, Default)]
pub struct Network {
    links: Vec<Link>,
    /// What engines have to send waits.
    batches: bool,
}

impl Network {
    /// Without links.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            links: Vec::new(),
            batches: false,
        }
    }

    /// Connects two connections that were opened on two vats. `hello`: both begin with one.
    pub fn join(&mut self, a: (usize, ConnId), b: (usize, ConnId), hello: bool) -> LinkId {
        let side = |(vat, conn)| Side {
            vat,
            conn,
            queue: VecDeque::new(),
            blocked: false,
            gone: false,
            hello,
        };
        self.links.push(Link {
            sides: [side(a), side(b)],
            cut: false,
        });
        LinkId(self.links.len() - 1)
    }

    /// All links ever made.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.links.len()).map(LinkId)
    }

    /// The vat at an end, and its connection.
    #[must_use]
    pub fn at(&self, end: End) -> Option<(usize, ConnId)> {
        let side = self.side(end)?;
        Some((side.vat, side.conn))
    }

    /// Whether the link is whole: not cut, and listened to at both ends.
    #[must_use]
    pub fn is_open(&self, link: LinkId) -> bool {
        self.links
            .get(link.0)
            .is_some_and(|link| !link.cut && link.sides.iter().all(|side| !side.gone))
    }

    /// Whether nothing can happen on the link any more.
    #[must_use]
    pub fn is_over(&self, link: LinkId) -> bool {
        self.links
            .get(link.0)
            .is_none_or(|link| link.sides.iter().all(|side| side.gone))
    }

    /// The end at which this connection of a vat receives.
    #[must_use]
    pub fn end_of(&self, vat: usize, conn: ConnId) -> Option<End> {
        self.ends().find(|end| self.at(*end) == Some((vat, conn)))
    }

    /// Moves what the engines have to send onto the links, unless they are told to wait.
    pub fn pump<P: Port>(&mut self, vats: &mut [P]) {
        if !self.batches {
            self.flush(vats);
        }
    }

    /// The same for one link.
    pub fn pump_link<P: Port>(&mut self, vats: &mut [P], link: LinkId) {
        if !self.batches {
            self.flush_link(vats, link);
        }
    }

    /// From now on what engines have to send waits until it is [flushed](Self::flush), or not.
    pub const fn set_batches(&mut self, batches: bool) {
        self.batches = batches;
    }

    /// Everything that the engines have to send leaves.
    pub fn flush<P: Port>(&mut self, vats: &mut [P]) {
        for link in self.links() {
            self.flush_link(vats, link);
        }
    }

    fn flush_link<P: Port>(&mut self, vats: &mut [P], link: LinkId) {
        let Some(link) = self.links.get_mut(link.0) else {
            return;
        };
        let cut = link.cut;
        let [a, b] = &mut link.sides;
        Self::pump_side(vats, a, b, cut);
        Self::pump_side(vats, b, a, cut);
    }

    fn pump_side<P: Port>(vats: &mut [P], from: &mut Side, to: &mut Side, cut: bool) {
        let Some(vat) = vats.get_mut(from.vat).filter(|_| !from.gone) else {
            return;
        };
        let mut out = Transmit::new();
        vat.poll_transmit(from.conn, &mut out);
        while let Some((run, fds)) = out.head() {
            let mut fds: Vec<OwnedFd> = fds.iter().filter_map(|fd| fd.try_clone().ok()).collect();
            let (messages, size) = (split(run), run.len());
            for bytes in messages {
                let hello = std::mem::take(&mut from.hello);
                let kind = if hello { Kind::Hello } else { kind(&bytes) };
                if !cut && !to.gone {
                    let fds = std::mem::take(&mut fds);
                    to.queue.push_back(Flying::Message { bytes, fds, kind });
                }
            }
            out.advance(size);
        }
    }

    /// Ends at which something can be delivered, in order.
    pub fn ready(&self) -> impl Iterator<Item = End> + '_ {
        self.ends().filter(|end| {
            self.side(*end)
                .is_some_and(|side| !side.blocked && !side.queue.is_empty())
        })
    }

    /// What is on its way to an end, first things first.
    pub fn flying(&self, end: End) -> impl Iterator<Item = &Flying> {
        self.side(end).map(|side| &side.queue).into_iter().flatten()
    }

    /// The queue to an end, to tamper with.
    pub fn flying_mut(&mut self, end: End) -> Option<&mut VecDeque<Flying>> {
        Some(&mut self.side_mut(end)?.queue)
    }

    /// Delivers the next thing to an end, blocked or not, and moves what it made the vat send onto
    /// the links. `None` if there is nothing.
    pub fn deliver<P: Port>(&mut self, vats: &mut [P], end: End) -> Option<Delivered> {
        let side = self.side_mut(end)?;
        let flying = side.queue.pop_front()?;
        let delivered = Delivered {
            vat: side.vat,
            conn: side.conn,
            kind: flying.kind(),
        };
        let vat = vats.get_mut(side.vat)?;
        match flying {
            Flying::Message { bytes, fds, .. } => vat.handle_bytes(side.conn, &bytes, fds),
            Flying::Close(reason) => {
                side.gone = true;
                side.queue.clear();
                vat.handle_closed(side.conn, reason);
            }
        }
        Some(delivered)
    }

    /// Holds everything back that goes to an end, or lets it through again.
    pub fn block(&mut self, end: End, blocked: bool) {
        if let Some(side) = self.side_mut(end) {
            side.blocked = blocked;
        }
    }

    /// The link breaks. With `lose`, what is on its way is lost; else it still arrives, and then
    /// the end. What is sent from now on is lost in any case.
    pub fn cut<P: Port>(&mut self, vats: &mut [P], link: LinkId, lose: bool) {
        self.pump_link(vats, link);
        let Some(link) = self.links.get_mut(link.0) else {
            return;
        };
        if std::mem::replace(&mut link.cut, true) {
            return;
        }
        for side in link.sides.iter_mut().filter(|side| !side.gone) {
            if lose {
                side.queue.clear();
            }
            side.queue.push_back(Flying::Close("link cut"));
        }
    }

    /// A vat has closed its connection: what it sent still arrives, and then the end.
    pub fn hang_up<P: Port>(&mut self, vats: &mut [P], vat: usize, conn: ConnId) {
        let Some(end) = self.end_of(vat, conn) else {
            return;
        };
        self.flush_link(vats, end.link);
        self.leave(end);
    }

    /// A vat is gone with all its connections, without a word. What it sent before still arrives.
    pub fn crash(&mut self, vat: usize) {
        let ends: Vec<End> = self
            .ends()
            .filter(|end| self.side(*end).is_some_and(|side| side.vat == vat))
            .collect();
        for end in ends {
            self.leave(end);
        }
    }

    fn leave(&mut self, end: End) {
        let Some(link) = self.links.get_mut(end.link.0) else {
            return;
        };
        let [a, b] = &mut link.sides;
        let (here, there) = if end.side == 0 { (a, b) } else { (b, a) };
        if std::mem::replace(&mut here.gone, true) {
            return;
        }
        here.queue.clear();
        if !there.gone && !link.cut {
            there.queue.push_back(Flying::Close("the peer closed it"));
        }
    }

    fn ends(&self) -> impl Iterator<Item = End> + use<> {
        self.links()
            .flat_map(|link| [End { link, side: 0 }, End { link, side: 1 }])
    }

    fn side(&self, end: End) -> Option<&Side> {
        self.links.get(end.link.0)?.sides.get(end.side)
    }

    fn side_mut(&mut self, end: End) -> Option<&mut Side> {
        self.links.get_mut(end.link.0)?.sides.get_mut(end.side)
    }
}
