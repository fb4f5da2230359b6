//! Measures everything and writes the results page.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::Command;

use crate::load::Cost;
use crate::machine;
use crate::measure::{Case, How, Run, Scratch, run};
use crate::peers::Peer;

/// The core that client and server share.
const CORE: usize = 1;
const RPC: [Peer; 5] = [
    Peer::Vat,
    Peer::VatTls,
    Peer::Capnp,
    Peer::Tarpc,
    Peer::Tonic,
];
/// What a third process gave away.
const GIVEN: [Peer; 2] = [Peer::HandedOver, Peer::Proxied];
const OUTSTANDING: [usize; 3] = [1, 64, 1024];
const CONNECTIONS: usize = 1_000;
const REFERENCES: usize = 7_500;

struct Settings {
    rounds: usize,
    millis: u64,
    only: Option<String>,
    out: String,
    counts: bool,
}

impl Settings {
    fn parse(arguments: &[String]) -> Self {
        let mut settings = Self {
            rounds: 7,
            millis: 300,
            only: None,
            out: "RESULTS.md".to_owned(),
            counts: true,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value").clone();
            match argument.as_str() {
                "--quick" => (settings.rounds, settings.millis) = (3, 150),
                "--no-counts" => settings.counts = false,
                "--rounds" => settings.rounds = value().parse().expect("a number"),
                "--only" => settings.only = Some(value()),
                "--out" => settings.out = value(),
                other => panic!("unknown option {other}"),
            }
        }
        settings
    }
}

/// All rounds of every case.
#[derive(Default)]
struct Measured(HashMap<Case, Vec<Run>>);

/// A figure with its range over the rounds.
#[derive(Clone, Copy)]
struct Figure {
    median: f64,
    min: f64,
    max: f64,
}

fn case(peer: Peer, work: &'static str, outstanding: usize) -> Case {
    Case {
        client: peer,
        server: peer,
        work,
        outstanding,
    }
}

fn cross(client: Peer, server: Peer) -> Case {
    Case {
        client,
        server,
        work: "number",
        outstanding: 64,
    }
}

/// What is timed, in the order of a round: rows that are compared stand side by side.
fn timed() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |peers: &[Peer], work, outstanding: &[usize]| {
        for outstanding in outstanding {
            cases.extend(peers.iter().map(|peer| case(*peer, work, *outstanding)));
        }
    };
    let with_floor = [&RPC[..], &[Peer::Floor]].concat();
    add(&with_floor, "number", &OUTSTANDING);
    add(&[Peer::RawTls], "number", &[1]);
    add(&RPC, "64", &OUTSTANDING);
    add(&[Peer::VatCopied], "1048576", &[1]);
    add(&RPC, "1048576", &[1]);
    add(&[Peer::Vat, Peer::Capnp], "chain", &[1]);
    add(&RPC, "connect", &[1]);
    cases.push(cross(Peer::Vat, Peer::Capnp));
    cases.push(cross(Peer::Capnp, Peer::Vat));
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
fn held() -> Vec<Case> {
    let mut cases: Vec<Case> = RPC
        .iter()
        .map(|peer| case(*peer, "idle", CONNECTIONS))
        .collect();
    cases.extend([Peer::Vat, Peer::Capnp].map(|peer| case(peer, "references", REFERENCES)));
    cases
}

impl Measured {
    fn add(&mut self, case: Case, run: Run) {
        self.0.entry(case).or_default().push(run);
    }

    fn figure(&self, case: Case, of: impl Fn(&Run) -> f64) -> Option<Figure> {
        let mut values: Vec<f64> = self.0.get(&case)?.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        Some(Figure {
            median: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
        })
    }

    fn rate(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| {
            let cost = &run.outcome.cost;
            cost.calls as f64 * 1e9 / cost.all() as f64
        })
    }

    /// Microseconds of all sides for each call.
    fn each(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| {
            let cost = &run.outcome.cost;
            cost.all() as f64 / 1e3 / cost.calls as f64
        })
    }

    /// Microseconds by the clock for each call.
    fn clock(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| {
            let cost = &run.outcome.cost;
            cost.wall as f64 * case.outstanding as f64 / 1e3 / cost.calls as f64
        })
    }

    /// How much of the core's time the two processes got.
    fn share(&self) -> f64 {
        // An introduction's clock stands still between introductions.
        let timed = || {
            self.0
                .iter()
                .filter(|(case, _)| !case.work.starts_with("introduce"))
        };
        let costs = || timed().flat_map(|(_, runs)| runs.iter().map(|run| &run.outcome.cost));
        let used: u64 = costs().map(Cost::all).sum();
        let wall: u64 = costs().map(|cost| cost.wall).sum();
        100.0 * used as f64 / wall.max(1) as f64
    }

    /// Microseconds of processor time per call: the client's, the server's.
    fn cpu(&self, case: Case) -> Option<[Figure; 2]> {
        let each = |of: fn(&Run) -> u64| {
            self.figure(case, |run| {
                of(run) as f64 / 1e3 / run.outcome.cost.calls as f64
            })
        };
        Some([
            each(|run| run.outcome.cost.client)?,
            each(|run| run.outcome.cost.server)?,
        ])
    }

    fn bytes(&self, case: Case) -> Option<Figure> {
        self.figure(case, |run| run.outcome.bytes_each.unwrap_or(0) as f64)
    }
}

/// What one call costs in things that can be counted: client and server.
#[derive(Clone, Copy, Default)]
struct Counts {
    instructions: [f64; 2],
    allocations: [f64; 2],
    syscalls: [f64; 2],
    writes: [f64; 2],
}

/// The difference of two run lengths, so that start and end do not count.
fn count(scratch: &Scratch, case: Case) -> Counts {
    let (short, long) = (4_096, 12_288);
    let each = |a: u64, b: u64| b.saturating_sub(a) as f64 / (long - short) as f64;
    let both = |how: fn(u64) -> How| {
        (
            run(scratch, case, how(short)),
            run(scratch, case, how(long)),
        )
    };
    let (a, b) = both(How::Calls);
    let allocations = [
        each(a.outcome.allocations, b.outcome.allocations),
        each(a.server_allocations, b.server_allocations),
    ];
    let (a, b) = both(How::Callgrind);
    let instructions = [0, 1].map(|side| each(a.counted[side], b.counted[side]));
    let (a, b) = both(How::Strace);
    Counts {
        instructions,
        allocations,
        syscalls: [0, 1].map(|side| each(a.counted[side], b.counted[side])),
        writes: [0, 1].map(|side| each(a.writes[side], b.writes[side])),
    }
}

/// `tests/bench/run`.
pub fn all(arguments: &[String]) {
    let settings = Settings::parse(arguments);
    let machine = machine::describe();
    machine::pin(CORE);
    let scratch = Scratch::new();
    let steal_before = machine::steal();
    let wanted = |case: &Case| {
        let name = format!(
            "{}/{}/{}/{}",
            case.client, case.server, case.work, case.outstanding
        );
        settings
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let mut measured = Measured::default();
    for round in 0..=settings.rounds {
        eprintln!("round {round} of {} (0 is discarded)", settings.rounds);
        for case in timed().into_iter().filter(wanted) {
            let run = run(&scratch, case, How::Millis(settings.millis));
            if round > 0 {
                measured.add(case, run);
            }
        }
        if (1..=3).contains(&round) {
            for case in held().into_iter().filter(wanted) {
                measured.add(case, run(&scratch, case, How::Calls(1)));
            }
        }
    }
    let steal_after = machine::steal();
    let mut counts = HashMap::new();
    if settings.counts {
        for peer in [&RPC[..], &[Peer::Floor]].concat() {
            for outstanding in [1, 64] {
                let case = case(peer, "number", outstanding);
                if wanted(&case) {
                    eprintln!("counting {peer}, {outstanding} outstanding");
                    counts.insert((peer, outstanding), count(&scratch, case));
                }
            }
        }
    }
    let steal = 100.0 * (steal_after.0 - steal_before.0) as f64
        / (steal_after.1 - steal_before.1).max(1) as f64;
    let page = page(&settings, &machine, steal, &measured, &counts);
    std::fs::write(&settings.out, &page).expect("the results can be written");
    println!("{page}");
}

fn page(
    settings: &Settings,
    machine: &str,
    steal: f64,
    measured: &Measured,
    counts: &HashMap<(Peer, usize), Counts>,
) -> String {
    let mut page = String::from(
        "# Results\n\nGenerated by `tests/bench/run`; not edited by hand.\n\n\
         Client and server are two processes over a Unix socket, both on one core: a figure is the \
         cost of both sides. A rate is calls per second of the processor time of both, which is what \
         the clock shows when nothing else runs on the core; a time is the processor time of both. \
         Ratios are to be taken within this page; the absolute figures move with the machine. \
         Instructions and allocations can be compared between machines.\n\n",
    );
    let _ = writeln!(
        page,
        "- Machine: {machine}; stolen by neighbours meanwhile: {steal:.1} %."
    );
    let _ = writeln!(
        page,
        "- Share of the core that the two processes had while they were measured: {:.0} %. The less \
         it is, the more others disturbed their caches.",
        measured.share()
    );
    let _ = writeln!(
        page,
        "- Compiler: {}; release, fat LTO.",
        output("rustc", &["--version"])
    );
    let _ = writeln!(
        page,
        "- {} rounds of {} ms after one that is discarded, all peers in every round: median \
         [min..max].\n",
        settings.rounds, settings.millis
    );
    goals(&mut page, measured, counts);
    rates(&mut page, measured);
    rest(&mut page, measured);
    given(&mut page, measured);
    counted(&mut page, counts);
    let digest = digest(&page);
    let _ = writeln!(page, "<!-- digest of everything above: {digest:016x} -->");
    page
}

/// FNV-1a: shows that the page is as it was generated. A test of the project compares it.
fn digest(page: &str) -> u64 {
    page.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// A number with as many digits as mean something.
fn short(value: f64) -> String {
    if value >= 100.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn shown(figure: Option<Figure>) -> String {
    figure.map_or_else(
        || "-".to_owned(),
        |figure| {
            format!(
                "{} [{}..{}]",
                short(figure.median),
                short(figure.min),
                short(figure.max)
            )
        },
    )
}

fn table(page: &mut String, head: &[&str]) {
    let _ = writeln!(page, "| {} |", head.join(" | "));
    let _ = writeln!(page, "|{}", "---|".repeat(head.len()));
}

fn row(page: &mut String, cells: &[String]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn rates(page: &mut String, measured: &Measured) {
    let peers = [&RPC[..], &[Peer::Floor]].concat();
    page.push_str("## Calls per second\n\n");
    table(
        page,
        &[
            "",
            "1 outstanding",
            "64",
            "1,024",
            "64 bytes, 1 outstanding",
            "64",
            "1,024",
        ],
    );
    for peer in &peers {
        let mut cells = vec![peer.title().to_owned()];
        for work in ["number", "64"] {
            let rate = |outstanding| shown(measured.rate(case(*peer, work, outstanding)));
            cells.extend(OUTSTANDING.map(rate));
        }
        row(page, &cells);
    }
    page.push_str("\n## Processor time per call, microseconds, client / server\n\n");
    table(
        page,
        &[
            "",
            "1 outstanding",
            "64",
            "1,024",
            "1 MiB echo, both sides' time",
        ],
    );
    for peer in peers.iter().chain(&[Peer::VatCopied]) {
        let mut cells = vec![peer.title().to_owned()];
        for outstanding in OUTSTANDING {
            let cpu = measured.cpu(case(*peer, "number", outstanding));
            cells.push(cpu.map_or_else(
                || "-".to_owned(),
                |[client, server]| format!("{} / {}", short(client.median), short(server.median)),
            ));
        }
        cells.push(shown(measured.each(case(*peer, "1048576", 1))));
        row(page, &cells);
    }
    page.push_str(
        "\nBytes are what a user of each system takes for bulk data. With vat that is `vat::Bytes`: \
         from 16 KiB on neither side copies them in its own memory, and the client sends on what it \
         received. capnp-rpc's server copies them from message to message, its client reads them \
         where they were received and sends bytes of its own. tarpc and tonic have `Vec<u8>`, \
         and so has the last row.\n\n",
    );
}

fn rest(page: &mut String, measured: &Measured) {
    page.push_str("## Connections and references\n\n");
    table(
        page,
        &[
            "",
            "connect and first call, µs",
            "chain of 16 `next` and a call, µs",
            "server's memory per idle connection, bytes",
            "client's memory per live imported reference, bytes",
        ],
    );
    for peer in RPC {
        row(
            page,
            &[
                peer.title().to_owned(),
                shown(measured.each(case(peer, "connect", 1))),
                shown(measured.each(case(peer, "chain", 1))),
                shown(measured.bytes(case(peer, "idle", CONNECTIONS))),
                shown(measured.bytes(case(peer, "references", REFERENCES))),
            ],
        );
    }
    page.push_str("\n## Against a capnp-rpc peer: processor time per call, 64 outstanding, µs\n\n");
    table(page, &["client, server", "client", "server"]);
    for (client, server) in [
        (Peer::Capnp, Peer::Capnp),
        (Peer::Vat, Peer::Capnp),
        (Peer::Capnp, Peer::Vat),
        (Peer::Vat, Peer::Vat),
    ] {
        let cpu = measured.cpu(cross(client, server));
        row(
            page,
            &[
                format!("{}, {}", client.title(), server.title()),
                shown(cpu.map(|cpu| cpu[0])),
                shown(cpu.map(|cpu| cpu[1])),
            ],
        );
    }
    page.push_str("\n## TLS, calls per second, one outstanding\n\n");
    table(page, &["", ""]);
    for peer in [Peer::RawTls, Peer::VatTls, Peer::Vat] {
        row(
            page,
            &[
                peer.title().to_owned(),
                shown(measured.rate(case(peer, "number", 1))),
            ],
        );
    }
    page.push('\n');
}

fn given(page: &mut String, measured: &Measured) {
    page.push_str(
        "## Three-party handoff against proxying\n\nThree processes, each connected over TLS: a \
         recipient calls an object of an exporter that a gifter gave it. Handed over, it calls over a \
         connection of its own; without the power to dial, through the gifter. An introduction is \
         timed by the clock from the question to the gifter until the exporter's first answer, where \
         recipient and exporter have a connection already and where they have to make one.\n\n",
    );
    table(
        page,
        &[
            "",
            "1 outstanding: processor time of all three per call, µs",
            "recipient / gifter / exporter",
            "by the clock, µs",
            "64 outstanding: processor time of all three per call, µs",
            "recipient / gifter / exporter",
            "introduction until the first answer, µs",
            "the same with a new connection",
        ],
    );
    for peer in GIVEN {
        let mut cells = vec![peer.title().to_owned()];
        for outstanding in [1, 64] {
            let case = case(peer, "number", outstanding);
            cells.push(shown(measured.each(case)));
            let side = |of: fn(&Cost) -> u64| {
                measured.figure(case, |run| {
                    let cost = &run.outcome.cost;
                    of(cost) as f64 / 1e3 / cost.calls as f64
                })
            };
            let sides = [
                side(|cost| cost.client),
                side(|cost| cost.gifter),
                side(|cost| cost.server),
            ];
            let sides = sides.map(|side| side.map_or("-".to_owned(), |side| short(side.median)));
            cells.push(sides.join(" / "));
            if outstanding == 1 {
                cells.push(shown(measured.clock(case)));
            }
        }
        for work in ["introduce", "introduce-anew"] {
            cells.push(shown(measured.clock(case(peer, work, 1))));
        }
        row(page, &cells);
    }
    page.push('\n');
}

fn counted(page: &mut String, counts: &HashMap<(Peer, usize), Counts>) {
    page.push_str(
        "## Counted, per call, client / server\n\nUser instructions by callgrind (8,192 bytes are \
         zeroed by capnp-rpc's client for each Call, and count one each), allocations by a \
         counting allocator, system calls by strace; each as the difference of two run lengths.\n\n",
    );
    table(
        page,
        &[
            "",
            "outstanding",
            "instructions",
            "allocations",
            "system calls",
            "of these, writes",
        ],
    );
    for peer in [&RPC[..], &[Peer::Floor]].concat() {
        for outstanding in [1, 64] {
            let Some(counts) = counts.get(&(peer, outstanding)) else {
                continue;
            };
            let both =
                |[client, server]: [f64; 2]| format!("{} / {}", short(client), short(server));
            row(
                page,
                &[
                    peer.title().to_owned(),
                    outstanding.to_string(),
                    both(counts.instructions),
                    both(counts.allocations),
                    both(counts.syscalls),
                    both(counts.writes),
                ],
            );
        }
    }
}

/// The figures that were asked for, and what was measured.
fn goals(page: &mut String, measured: &Measured, counts: &HashMap<(Peer, usize), Counts>) {
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
