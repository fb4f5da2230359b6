//! Measures everything and writes the results page.

use std::collections::HashMap;

use crate::machine;
use crate::measure::{Case, How, Scratch, run};
use crate::peers::Peer;

mod cases;
mod goals;
mod measured;
mod page;

use cases::{RPC, case, held, timed};
use measured::{Measured, count};
use page::page;

/// The core that client and server share.
const CORE: usize = 1;

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
