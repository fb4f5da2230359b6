//! The figures that were asked for, beside what was measured.
//!
//! What is compared was measured one after the other in every round: a ratio is taken round by round,
//! so that a slow moment of the machine, which lasts longer than that, counts on both sides.

use std::collections::HashMap;

use super::cases::{CONNECTIONS, REFERENCES, case, cross};
use super::measured::{Counts, Figure, Measured};
use super::page::{row, short, shown, table};
use crate::measure::{Case, Run};
use crate::peers::Peer;

use Bound::{Least, Most};

/// A figure that was asked for.
struct Goal {
    name: String,
    bound: Bound,
    /// Nothing if it was not measured this time.
    found: Option<Figure>,
}

#[derive(Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}

/// The figures that were asked for, and what was measured.
pub(super) fn goals(
    page: &mut String,
    measured: &Measured,
    counts: &HashMap<(Peer, usize), Counts>,
) {
    page.push_str(
        "## The figures to reach\n\nA ratio is the median of the rounds' ratios, with their range.\n\n",
    );
    table(page, &["", "goal", "measured", ""]);
    let all = [
        rates(measured),
        counted(counts),
        costs(measured),
        memory(measured),
    ];
    for goal in all.into_iter().flatten() {
        goal.write(page);
    }
    page.push('\n');
}

impl Goal {
    fn new(name: &str, bound: Bound, found: Option<Figure>) -> Self {
        Self {
            name: name.to_owned(),
            bound,
            found,
        }
    }

    fn write(self, page: &mut String) {
        let Some(found) = self.found else { return };
        let (wanted, met) = match self.bound {
            Least(least) => (format!("at least {}", short(least)), found.median >= least),
            Most(most) => (format!("at most {}", short(most)), found.median <= most),
        };
        let found = match found.min < found.max {
            true => shown(Some(found)),
            false => short(found.median),
        };
        let met = if met { "reached" } else { "**missed**" };
        row(page, &[self.name, wanted, found, met.to_owned()]);
    }
}

/// Calls per second against others'.
fn rates(measured: &Measured) -> Vec<Goal> {
    let number = |peer, outstanding| case(peer, "number", outstanding);
    let against = |other, outstanding| {
        measured.ratio(
            (number(Peer::Vat, outstanding), Run::rate),
            (number(other, outstanding), Run::rate),
        )
    };
    let fall = measured.ratio(
        (number(Peer::Vat, 1024), Run::rate),
        (number(Peer::Vat, 64), Run::rate),
    );
    let tls = measured.ratio(
        (number(Peer::VatTls, 1), Run::rate),
        (number(Peer::RawTls, 1), Run::rate),
    );
    vec![
        Goal::new(
            "64 outstanding, calls/s against tarpc",
            Least(1.2),
            against(Peer::Tarpc, 64),
        ),
        Goal::new(
            "64 outstanding, calls/s against capnp-rpc",
            Least(5.0),
            against(Peer::Capnp, 64),
        ),
        Goal::new(
            "1,024 outstanding, calls/s against capnp-rpc",
            Least(10.0),
            against(Peer::Capnp, 1024),
        ),
        Goal::new(
            "1,024 outstanding, calls/s against 64 outstanding",
            Least(1.0),
            fall,
        ),
        Goal::new(
            "one outstanding, calls/s against capnp-rpc",
            Least(1.5),
            against(Peer::Capnp, 1),
        ),
        Goal::new("TLS, calls/s against a raw TLS ping-pong", Least(0.75), tls),
    ]
}

/// What can be counted of a call, 64 outstanding.
fn counted(counts: &HashMap<(Peer, usize), Counts>) -> Vec<Goal> {
    let ours = counts.get(&(Peer::Vat, 64));
    let mut goals = Vec::new();
    for (side, name) in ["client", "server"].into_iter().enumerate() {
        let count =
            |of: fn(&Counts) -> [f64; 2]| ours.map(|counts| Figure::exact(of(counts)[side]));
        let mut goal = |what, most, found| {
            let name = format!("64 outstanding, {what}, {name}");
            goals.push(Goal::new(&name, Most(most), found));
        };
        goal("instructions", 4_000.0, count(|it| it.instructions));
        goal("allocations", 8.0, count(|it| it.allocations));
        goal("writes per call", 1.0 / 32.0, count(|it| it.writes));
    }
    goals
}

/// Processor time.
fn costs(measured: &Measured) -> Vec<Goal> {
    let both = cross(Peer::Capnp, Peer::Capnp);
    let share = |ours: Case, of: fn(&Run) -> f64| measured.ratio((ours, of), (both, of));
    let mib = |peer| case(peer, "1048576", 1);
    let best = [Peer::Capnp, Peer::Tarpc, Peer::Tonic]
        .into_iter()
        .filter_map(|peer| measured.ratio((mib(Peer::Vat), Run::each), (mib(peer), Run::each)))
        .max_by(|one, other| one.median.total_cmp(&other.median));
    vec![
        Goal::new(
            "chain of 16, µs",
            Most(60.0),
            measured.figure(case(Peer::Vat, "chain", 1), Run::each),
        ),
        Goal::new(
            "chain of 16, share of capnp-rpc's time",
            // The goal above was set where capnp-rpc takes 243 µs.
            Most(60.0 / 243.0),
            measured.ratio(
                (case(Peer::Vat, "chain", 1), Run::each),
                (case(Peer::Capnp, "chain", 1), Run::each),
            ),
        ),
        Goal::new(
            "client of a capnp-rpc server, share of a capnp-rpc client's cost",
            Most(0.5),
            share(cross(Peer::Vat, Peer::Capnp), Run::client),
        ),
        Goal::new(
            "server of a capnp-rpc client, share of a capnp-rpc server's cost",
            Most(0.5),
            share(cross(Peer::Capnp, Peer::Vat), Run::server),
        ),
        Goal::new("1 MiB echo, time against the best peer's", Most(1.0), best),
    ]
}

fn memory(measured: &Measured) -> Vec<Goal> {
    vec![
        Goal::new(
            "bytes per idle connection",
            Most(8_192.0),
            measured.bytes(case(Peer::Vat, "idle", CONNECTIONS)),
        ),
        Goal::new(
            "bytes per live imported reference",
            Most(200.0),
            measured.bytes(case(Peer::Vat, "references", REFERENCES)),
        ),
    ]
}
