//! What is measured, in the order of a round.

use crate::measure::Case;
use crate::peers::Peer;

pub(super) const RPC: [Peer; 5] = [
    Peer::Vat,
    Peer::VatTls,
    Peer::Capnp,
    Peer::Tarpc,
    Peer::Tonic,
];
/// What a third process gave away.
pub(super) const GIVEN: [Peer; 2] = [Peer::HandedOver, Peer::Proxied];
pub(super) const OUTSTANDING: [usize; 3] = [1, 64, 1024];
pub(super) const CONNECTIONS: usize = 1_000;
pub(super) const REFERENCES: usize = 7_500;

pub(super) fn case(peer: Peer, work: &'static str, outstanding: usize) -> Case {
    Case {
        client: peer,
        server: peer,
        work,
        outstanding,
    }
}

pub(super) fn cross(client: Peer, server: Peer) -> Case {
    Case {
        client,
        server,
        work: "number",
        outstanding: 64,
    }
}

/// What is timed, in the order of a round: rows that are compared stand side by side.
pub(super) fn timed() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |peers: &[Peer], work, outstanding: &[usize]| {
        for outstanding in outstanding {
            cases.extend(peers.iter().map(|peer| case(*peer, work, *outstanding)));
        }
    };
    let others = [Peer::Capnp, Peer::Tarpc, Peer::Tonic, Peer::Floor];
    let alone = [&[Peer::Vat, Peer::VatTls, Peer::RawTls], &others[..]].concat();
    add(&alone, "number", &[1]);
    add(&[&RPC[..], &[Peer::Floor]].concat(), "number", &[64, 1024]);
    add(&RPC, "64", &OUTSTANDING);
    add(&[Peer::VatCopied], "1048576", &[1]);
    add(&RPC, "1048576", &[1]);
    add(&[Peer::Vat, Peer::Capnp], "chain", &[1]);
    add(&RPC, "connect", &[1]);
    let both = cases
        .iter()
        .position(|it| *it == cross(Peer::Capnp, Peer::Capnp));
    for one in [cross(Peer::Vat, Peer::Capnp), cross(Peer::Capnp, Peer::Vat)] {
        cases.insert(both.map_or(0, |at| at + 1), one);
    }
    let mut add = |work, outstanding| {
        cases.extend(GIVEN.map(|peer| case(peer, work, outstanding)));
    };
    add("number", 1);
    add("number", 64);
    add("introduce", 1);
    cases.push(case(Peer::HandedOver, "introduce-anew", 1));
    cases
}

/// What is measured once per round, without a clock.
pub(super) fn held() -> Vec<Case> {
    let mut cases: Vec<Case> = RPC
        .iter()
        .map(|peer| case(*peer, "idle", CONNECTIONS))
        .collect();
    cases.extend([Peer::Vat, Peer::Capnp].map(|peer| case(peer, "references", REFERENCES)));
    cases
}
