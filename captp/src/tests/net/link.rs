//! Vats and the links between them, on which one message after the other is delivered.

use super::*;

/// One message on its way.
pub(in crate::tests) struct Flying {
    pub(in crate::tests) bytes: Vec<u8>,
    pub(in crate::tests) fds: Vec<OwnedFd>,
    pub(in crate::tests) kind: &'static str,
}

pub(in crate::tests) struct Link {
    /// Vat and connection of both ends.
    pub(in crate::tests) ends: [(usize, ConnId); 2],
    /// On their way to the end with the same index.
    pub(in crate::tests) to: [VecDeque<Flying>; 2],
    cut: bool,
}

pub(in crate::tests) struct Net {
    pub(in crate::tests) vats: Vec<Vat>,
    pub(in crate::tests) links: Vec<Link>,
}

impl Net {
    pub(in crate::tests) fn new(vats: usize) -> Self {
        Self {
            vats: (0..vats).map(|_| Vat::with(Config::default())).collect(),
            links: Vec::new(),
        }
    }

    /// Vats that have keys.
    pub(in crate::tests) fn known(vats: usize) -> Self {
        Self {
            vats: (1..)
                .take(vats)
                .map(|number| Vat::known(identity(number)))
                .collect(),
            links: Vec::new(),
        }
    }

    /// Connects two vats that have keys; each offers its object with ten times its number.
    pub(in crate::tests) fn begin_to_meet(&mut self, a: usize, b: usize) -> usize {
        let mut options = |own: usize, peer: usize| {
            let root = self.vats[own].object(10 * own as u64);
            let options = ConnOptions::default()
                .with_hello(true)
                .with_bootstrap(root)
                .with_peer(key(u8::try_from(peer + 1).unwrap()));
            (own, options, root)
        };
        let (first, second) = (options(a, b), options(b, a));
        let link = self.link((a, first.1), (b, second.1));
        self.vats[a].release(first.2);
        self.vats[b].release(second.2);
        link
    }

    /// The bootstrap reference of the other end.
    pub(in crate::tests) fn root(&mut self, link: usize, end: usize) -> NodeId {
        let (vat, conn) = self.links[link].ends[end];
        let node = self.vats[vat].engine.bootstrap(conn);
        self.run();
        node
    }

    /// Connects two vats that have keys, and exchanges their hellos.
    pub(in crate::tests) fn meet(&mut self, a: usize, b: usize) -> usize {
        let link = self.begin_to_meet(a, b);
        self.pump();
        for end in 0..2 {
            let hello = self.links[link].to[end].pop_front().unwrap();
            self.hand_in(link, end, hello);
        }
        link
    }

    /// Makes the connection that a vat asks for; returns the link.
    pub(in crate::tests) fn dial(&mut self, vat: usize) -> usize {
        let (request, to) = take!(self.vats[vat], Event::Dial(request, to) => (request, to));
        let other = (0..self.vats.len()).find(|index| key(u8::try_from(index + 1).unwrap()) == to);
        let link = self.meet(vat, other.unwrap());
        let conn = self.conn(link, 0);
        self.vats[vat].engine.dialed(request, Ok(conn));
        self.vats[vat].collect();
        self.check();
        link
    }

    /// Connects two vats; each offers what it is given as bootstrap.
    pub(in crate::tests) fn link(
        &mut self,
        a: (usize, ConnOptions),
        b: (usize, ConnOptions),
    ) -> usize {
        let first = self.vats[a.0].engine.open(a.1);
        let second = self.vats[b.0].engine.open(b.1);
        self.links.push(Link {
            ends: [(a.0, first), (b.0, second)],
            to: [VecDeque::new(), VecDeque::new()],
            cut: false,
        });
        self.links.len() - 1
    }

    pub(in crate::tests) fn conn(&self, link: usize, end: usize) -> ConnId {
        self.links[link].ends[end].1
    }

    /// Moves what the engines have to send onto the links.
    pub(in crate::tests) fn pump(&mut self) {
        for vat in &mut self.vats {
            vat.collect();
        }
        for link in &mut self.links {
            for end in 0..2 {
                let (vat, conn) = link.ends[end];
                let mut out = Transmit::new();
                self.vats[vat].engine.poll_transmit(conn, &mut out);
                loop {
                    let mut slices = vec![IoSlice::new(&[]); 1_000];
                    let (count, fds) = out.slices(&mut slices);
                    if count == 0 {
                        break;
                    }
                    let fds: Vec<OwnedFd> = fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
                    let mut run = Vec::new();
                    slices.iter().for_each(|slice| run.extend_from_slice(slice));
                    out.advance(run.len());
                    if !link.cut {
                        let messages = split(&run);
                        assert!(fds.is_empty() || messages.len() == 1);
                        let mut fds = Some(fds);
                        for (bytes, kind) in messages {
                            let fds = fds.take().unwrap_or_default();
                            link.to[1 - end].push_back(Flying { bytes, fds, kind });
                        }
                    }
                }
            }
        }
    }

    /// Delivers the next message to this end of a link, which must be of the given kind.
    pub(in crate::tests) fn deliver(&mut self, link: usize, end: usize, kind: &str) {
        self.pump();
        let flying = self.links[link].to[end].pop_front();
        let flying = flying.unwrap_or_else(|| panic!("no message, expected {kind}"));
        assert_eq!(flying.kind, kind);
        self.hand_in(link, end, flying);
    }

    fn hand_in(&mut self, link: usize, end: usize, flying: Flying) {
        let (vat, conn) = self.links[link].ends[end];
        self.vats[vat].feed(conn, &flying.bytes, flying.fds);
        self.pump();
        self.check();
    }

    /// Kinds of the messages on their way to this end.
    pub(in crate::tests) fn flying(&mut self, link: usize, end: usize) -> Vec<&'static str> {
        self.pump();
        self.links[link].to[end]
            .iter()
            .map(|flying| flying.kind)
            .collect()
    }

    /// Delivers one message, chosen by `pick` among the ends that have any. False if there is none.
    pub(in crate::tests) fn step(&mut self, pick: impl FnOnce(usize) -> usize) -> bool {
        self.pump();
        let mut ready = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            ready.extend(
                (0..2)
                    .filter(|end| !link.to[*end].is_empty())
                    .map(|end| (index, end)),
            );
        }
        if ready.is_empty() {
            return false;
        }
        let (link, end) = ready[pick(ready.len())];
        let flying = self.links[link].to[end].pop_front().unwrap();
        self.hand_in(link, end, flying);
        true
    }

    /// Delivers everything.
    pub(in crate::tests) fn run(&mut self) {
        for _ in 0..5_000 {
            if !self.step(|_| 0) {
                return;
            }
        }
        panic!(
            "messages without end: {:?}",
            self.links
                .iter()
                .map(|link| link.to[0].len())
                .collect::<Vec<_>>()
        );
    }

    /// The link breaks: what is on its way is lost.
    pub(in crate::tests) fn cut(&mut self, link: usize) {
        self.pump();
        let ends = {
            let link = &mut self.links[link];
            link.cut = true;
            link.to = [VecDeque::new(), VecDeque::new()];
            link.ends
        };
        for (vat, conn) in ends {
            self.vats[vat].engine.handle_closed(conn, "link cut");
            self.vats[vat].collect();
        }
        self.check();
    }

    pub(in crate::tests) fn check(&self) {
        for (index, vat) in self.vats.iter().enumerate() {
            if let Err(fault) = vat.engine.check() {
                panic!("vat {index}: {fault}");
            }
        }
    }

    /// Nothing is left over, in tables or in the arenas (but `kept` nodes per vat).
    pub(in crate::tests) fn assert_drained(&mut self, kept: &[usize]) {
        self.run();
        for link in &self.links {
            for (vat, conn) in link.ends {
                let stats = self.vats[vat].engine.stats(conn);
                assert!(
                    self.vats[vat].engine.is_drained(conn),
                    "vat {vat}: {stats:?}"
                );
            }
        }
        for (index, (vat, kept)) in self.vats.iter().zip(kept).enumerate() {
            let dump = vat.engine.dump();
            assert_eq!(
                vat.engine.live_nodes(),
                *kept,
                "references left in vat {index}:
{dump}"
            );
        }
    }
}

/// Cuts a run into messages and names each.
pub(in crate::tests) fn split(run: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut framer = Framer::default();
    let mut rest = run;
    let mut found = Vec::new();
    loop {
        let before = rest;
        let Some(frame) = framer.next(&mut rest, &Limits::default()).unwrap() else {
            break;
        };
        let bytes = before[..before.len() - rest.len()].to_vec();
        let message = frame.into_message(100, 100);
        found.push((bytes, kind(&message)));
    }
    assert!(framer.is_between());
    found
}

/// The reason of the exception that a Return carries.
pub(in crate::tests) fn exception_in(bytes: &[u8]) -> Option<String> {
    let mut framer = Framer::default();
    let frame = framer.next(&mut &*bytes, &Limits::default()).unwrap()?;
    match decode::decode(&frame.into_message(100, 100), &Limits::default()) {
        Ok(Envelope::Return(crate::message::Return {
            body: ReturnBody::Exception(reason),
            ..
        })) => Some(reason.reason().to_owned()),
        _ => None,
    }
}

fn kind(message: &crate::frame::Message) -> &'static str {
    match decode::decode(message, &Limits::default()) {
        Ok(Envelope::Unimplemented(_)) => "unimplemented",
        Ok(Envelope::Abort(_)) => "abort",
        Ok(Envelope::Bootstrap { .. }) => "bootstrap",
        Ok(Envelope::Call(_)) => "call",
        Ok(Envelope::Return(_)) => "return",
        Ok(Envelope::Finish { .. }) => "finish",
        Ok(Envelope::Resolve { .. }) => "resolve",
        Ok(Envelope::Release { .. }) => "release",
        Ok(Envelope::Disembargo { .. }) => "disembargo",
        Ok(Envelope::Provide { .. }) => "provide",
        Ok(Envelope::Accept { .. }) => "accept",
        Ok(Envelope::Unknown) | Err(_) => "other",
    }
}
