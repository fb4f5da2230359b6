//! The figures that were asked for, beside what was measured.

use std::collections::HashMap;

use super::cases::{CONNECTIONS, REFERENCES, case, cross};
use super::measured::{Counts, Measured};
use super::page::{row, short, table};
use crate::measure::Case;
use crate::peers::Peer;

/// The figures that were asked for, and what was measured.
pub(super) fn goals(
    page: &mut String,
    measured: &Measured,
    counts: &HashMap<(Peer, usize), Counts>,
) {
    page.push_str("## The figures to reach\n\n");
    table(page, &["", "goal", "measured", ""]);
    let mut goal = |name: &str, least: bool, wanted: f64, found: Option<f64>| {
        let Some(found) = found else { return };
        let met = if least {
            found >= wanted
        } else {
            found <= wanted
        };
        let cells = [
            name.to_owned(),
            format!(
                "{} {}",
                if least { "at least" } else { "at most" },
                short(wanted)
            ),
            short(found),
            if met { "reached" } else { "**missed**" }.to_owned(),
        ];
        row(page, &cells);
    };
    let rate = |peer, outstanding| Some(measured.rate(case(peer, "number", outstanding))?.median);
    let against =
        |peer, outstanding| Some(rate(Peer::Vat, outstanding)? / rate(peer, outstanding)?);
    goal(
        "64 outstanding, calls/s against tarpc",
        true,
        1.2,
        against(Peer::Tarpc, 64),
    );
    goal(
        "64 outstanding, calls/s against capnp-rpc",
        true,
        5.0,
        against(Peer::Capnp, 64),
    );
    goal(
        "1,024 outstanding, calls/s against capnp-rpc",
        true,
        10.0,
        against(Peer::Capnp, 1024),
    );
    let fall = || Some(rate(Peer::Vat, 1024)? / rate(Peer::Vat, 64)?);
    goal(
        "1,024 outstanding, calls/s against 64 outstanding",
        true,
        1.0,
        fall(),
    );
    goal(
        "one outstanding, calls/s against capnp-rpc",
        true,
        1.5,
        against(Peer::Capnp, 1),
    );
    let ours = counts.get(&(Peer::Vat, 64));
    for (side, name) in ["client", "server"].into_iter().enumerate() {
        let instructions = ours.map(|counts| counts.instructions[side]);
        goal(
            &format!("64 outstanding, instructions, {name}"),
            false,
            4_000.0,
            instructions,
        );
        let allocations = ours.map(|counts| counts.allocations[side]);
        goal(
            &format!("64 outstanding, allocations, {name}"),
            false,
            8.0,
            allocations,
        );
        let writes = ours.map(|counts| counts.writes[side]);
        goal(
            &format!("64 outstanding, writes per call, {name}"),
            false,
            1.0 / 32.0,
            writes,
        );
    }
    let chain = measured.each(case(Peer::Vat, "chain", 1));
    goal(
        "chain of 16, µs",
        false,
        60.0,
        chain.map(|figure| figure.median),
    );
    let share = |ours: Case, side: usize| {
        let theirs = measured.cpu(cross(Peer::Capnp, Peer::Capnp))?;
        Some(measured.cpu(ours)?[side].median / theirs[side].median)
    };
    goal(
        "client of a capnp-rpc server, share of a capnp-rpc client's cost",
        false,
        0.5,
        share(cross(Peer::Vat, Peer::Capnp), 0),
    );
    goal(
        "server of a capnp-rpc client, share of a capnp-rpc server's cost",
        false,
        0.5,
        share(cross(Peer::Capnp, Peer::Vat), 1),
    );
    let mib = |peer| Some(measured.each(case(peer, "1048576", 1))?.median);
    let best = [Peer::Capnp, Peer::Tarpc, Peer::Tonic]
        .into_iter()
        .filter_map(mib)
        .min_by(f64::total_cmp);
    goal(
        "1 MiB echo, time against the best peer's",
        false,
        1.0,
        mib(Peer::Vat).zip(best).map(|(ours, best)| ours / best),
    );
    let tls = || Some(rate(Peer::VatTls, 1)? / rate(Peer::RawTls, 1)?);
    goal(
        "TLS, calls/s against a raw TLS ping-pong",
        true,
        0.75,
        tls(),
    );
    let idle = measured.bytes(case(Peer::Vat, "idle", CONNECTIONS));
    goal(
        "bytes per idle connection",
        false,
        8_192.0,
        idle.map(|figure| figure.median),
    );
    let each = measured.bytes(case(Peer::Vat, "references", REFERENCES));
    goal(
        "bytes per live imported reference",
        false,
        200.0,
        each.map(|figure| figure.median),
    );
    page.push('\n');
}
