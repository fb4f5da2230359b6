//! What objects cost inside one vat, beside plain Rust and beside other people's actors: near calls,
//! turns, asks, tells, objects made, and how long a crashed one is away. One thread on one core.

mod figure;
mod heap;
mod page;
mod peers;

use std::collections::BTreeMap;

use figure::Figure;
use peers::Case;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// The core that everything runs on.
const CORE: usize = 1;

struct Settings {
    rounds: usize,
    only: Option<String>,
    out: String,
}

impl Settings {
    fn parse() -> Self {
        let mut settings = Self {
            rounds: 11,
            only: None,
            out: "RESULTS.md".to_owned(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value");
            match argument.as_str() {
                "--quick" => settings.rounds = 3,
                "--rounds" => settings.rounds = value().parse().expect("a number"),
                "--only" => settings.only = Some(value()),
                "--out" => settings.out = value(),
                other => panic!("unknown option {other}"),
            }
        }
        settings
    }
}

fn main() {
    let settings = Settings::parse();
    pin();
    let cases: Vec<Case> = peers::all();
    let wanted = |case: &&Case| {
        let name = format!("{}/{}", case.work, case.peer);
        settings
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let mut measured: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for round in 0..=settings.rounds {
        eprintln!("round {round} of {} (0 is discarded)", settings.rounds);
        for case in cases.iter().filter(wanted) {
            let value = (case.measure)();
            if round > 0 {
                measured
                    .entry((case.work, case.peer))
                    .or_default()
                    .push(value);
            }
        }
    }
    let page = page::page(settings.rounds, &page::Measured(measured));
    std::fs::write(&settings.out, &page).expect("the results can be written");
    println!("{page}");
}

fn pin() {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(CORE);
    rustix::thread::sched_setaffinity(None, &cores).expect("one core can be chosen");
    // Objects that crash are part of what is measured; what a hook prints is not.
    std::panic::set_hook(Box::new(|_| {}));
}
