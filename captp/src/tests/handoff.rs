//! Three-party handoff, one message at a time.
//!
//! Vat 0 gives, vat 1 receives, vat 2 exports; further recipients follow. Each vat's bootstrap is
//! the object with ten times its number.

use super::net::{Event, Net, Vat, exception_in, identity, key, take};
use crate::contact::{Claim, VatKey};
use crate::message::{encode, write};
use crate::{ConnOptions, Limits, NodeId, QuestionId, Transmit};

mod accepting;
mod entitled;
mod order;
mod passing_on;

pub(super) const GIFTER: usize = 0;
pub(super) const RECIPIENT: usize = 1;
pub(super) const EXPORTER: usize = 2;
/// The links of the gifter.
pub(super) const TO_RECIPIENT: usize = 0;
pub(super) const TO_EXPORTER: usize = 1;

/// Three vats, and the gifter's references to the objects of the other two.
pub(super) struct Trio {
    pub(super) net: Net,
    pub(super) recipient: NodeId,
    pub(super) gift: NodeId,
}

impl Trio {
    pub(super) fn new() -> Self {
        Self::with(Net::known(3))
    }

    pub(super) fn with(mut net: Net) -> Self {
        assert_eq!(net.meet(GIFTER, RECIPIENT), TO_RECIPIENT);
        assert_eq!(net.meet(GIFTER, EXPORTER), TO_EXPORTER);
        let recipient = net.root(TO_RECIPIENT, 0);
        let gift = net.root(TO_EXPORTER, 0);
        Self {
            net,
            recipient,
            gift,
        }
    }

    /// The gifter gives its reference to the recipient.
    pub(super) fn give(&mut self) -> NodeId {
        give(&mut self.net, GIFTER, self.recipient, RECIPIENT, self.gift)
    }

    /// What the gifter holds of others is given back.
    pub(super) fn gifter_lets_go(&mut self) {
        self.net.vats[GIFTER].release(self.recipient);
        self.net.vats[GIFTER].release(self.gift);
        self.net.run();
    }

    /// The id of the vine of the only gift that the recipient has.
    pub(super) fn vine(&self) -> u32 {
        let conn = self.net.conn(TO_RECIPIENT, 1);
        let tables = self.net.vats[RECIPIENT].engine.tables(conn).unwrap();
        *tables.imports.keys().next().unwrap()
    }

    /// The id of the only Provide of the gifter.
    pub(super) fn provision(&self) -> QuestionId {
        let conn = self.net.conn(TO_EXPORTER, 0);
        let tables = self.net.vats[GIFTER].engine.tables(conn).unwrap();
        QuestionId::new(tables.asked[0])
    }

    pub(super) fn assert_number(&mut self, vat: usize, number: u32) {
        assert_eq!(self.net.vats[vat].take_number(), number);
    }
}

/// Vat `from` sends `gift` as a parameter to `to`, which is at vat `at`. Returns what came there.
pub(super) fn give(net: &mut Net, from: usize, to: NodeId, at: usize, gift: NodeId) -> NodeId {
    net.vats[from].send(to, 1, &[gift]);
    net.run();
    let (given, respond) =
        take!(net.vats[at], Event::Call { caps, respond, .. } => (caps[0], respond));
    net.vats[at].answer(respond, 0, &[]);
    net.run();
    take!(net.vats[from], Event::Returned { .. } => ());
    given
}

/// Everything that a vat has to say, thrown away.
pub(super) fn hush(net: &mut Net) {
    for vat in &mut net.vats {
        while vat.next().is_some() {}
    }
}

/// The recipient has a promise of the gifter, calls it, and it resolves to the exporter's object.
pub(super) fn embargoed(trio: &mut Trio) -> NodeId {
    let (promised, promise) = promised(trio);
    trio.net.vats[RECIPIENT].send(promised, 100, &[]);
    trio.net.run();
    become_gift(trio, promise);
    promised
}

/// A promise that the recipient has, as it is there and at the gifter.
pub(super) fn promised(trio: &mut Trio) -> (NodeId, NodeId) {
    let (_, promised) = {
        let root = trio.net.vats[RECIPIENT]
            .engine
            .bootstrap(trio.net.links[TO_RECIPIENT].ends[1].1);
        trio.net.run();
        let asked = trio.net.vats[RECIPIENT].ask(root, 1, &[]);
        trio.net.vats[RECIPIENT].release(root);
        asked
    };
    trio.net.run();
    let respond = take!(trio.net.vats[GIFTER], Event::Call { respond, .. } => respond);
    let promise = trio.net.vats[GIFTER].engine.promise();
    trio.net.vats[GIFTER].answer(respond, 0, &[promise]);
    trio.net.run();
    let also = take!(
        trio.net.vats[RECIPIENT],
        Event::Returned { result: Ok((_, caps)), .. } => caps[0]
    );
    trio.net.vats[RECIPIENT].release(also);
    (promised, promise)
}

/// The gifter's promise resolves to the exporter's object.
pub(super) fn become_gift(trio: &mut Trio, promise: NodeId) {
    let gift = trio.gift;
    trio.net.vats[GIFTER]
        .engine
        .resolve(promise, Ok(gift))
        .unwrap();
    trio.net.vats[GIFTER].release(promise);
}

/// A fourth vat, linked with the recipient; the link, and the recipient's reference to its object.
pub(super) fn fourth(trio: &mut Trio) -> (usize, NodeId) {
    let link = trio.net.meet(RECIPIENT, 3);
    (link, trio.net.root(link, 0))
}

/// A vat that speaks to vat 2 by hand, with the key of `number`.
pub(super) struct Stranger {
    pub(super) net: Net,
    pub(super) link: usize,
}

impl Stranger {
    pub(super) fn new(net: Net, number: u8) -> Self {
        Self::with(net, number, Limits::default())
    }

    /// Somebody who may use so much.
    pub(super) fn with(mut net: Net, number: u8, limits: Limits) -> Self {
        let stranger = net.vats.len();
        net.vats.push(Vat::known(identity(number)));
        let options = ConnOptions::default().with_hello(true).with_limits(limits);
        let link = net.link(
            (stranger, options.clone().with_peer(key(3))),
            (EXPORTER, options.with_peer(key(number))),
        );
        net.run();
        Self { net, link }
    }

    pub(super) fn accept(&mut self, question: u32, claim: &Claim, embargo: Option<&[u8]>) {
        let built = encode::accept(QuestionId::new(question), claim, embargo);
        self.say(&built);
    }

    pub(super) fn say(&mut self, built: &encode::Built) {
        let mut out = Transmit::new();
        out.push(&built.get_segments_for_output(), &[]);
        self.say_all(out);
    }

    pub(super) fn say_finish(&mut self, question: u32) {
        let mut out = Transmit::new();
        out.push_with(|out| write::finish(out, QuestionId::new(question), true));
        self.say_all(out);
    }

    fn say_all(&mut self, mut out: Transmit) {
        let conn = self.net.conn(self.link, 1);
        let bytes = out.take_bytes();
        let engine = &mut self.net.vats[EXPORTER].engine;
        assert_eq!(engine.handle_bytes(conn, &bytes, Vec::new()), bytes.len());
        self.net.pump();
        self.net.check();
    }

    /// What the exporter said last: the kind, or the reason of an exception.
    pub(super) fn heard(&mut self) -> String {
        self.net.pump();
        let Some(flying) = self.net.links[self.link].to[0].pop_front() else {
            return "nothing".to_owned();
        };
        match exception_in(&flying.bytes) {
            Some(reason) => reason,
            None => flying.kind.to_owned(),
        }
    }
}

/// The claim that the gifter made for its first gift to `recipient`.
pub(super) fn claim_for(recipient: VatKey) -> Claim {
    Claim::new(&identity(1), 1, &key(3), recipient)
}
