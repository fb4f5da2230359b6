//! Runs the oracle on many seeds: `cargo run --release -p captp-testnet -- --seeds 1000000`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use captp_testnet::oracle::{Extra, Failure, Options, Script, run_seed, shrink, tell};

const USAGE: &str = "usage: captp-testnet [--seeds N] [--from N] [--vats N] [--steps N] [--jobs N]

Checks the protocol engine on random runs. A run that fails is made small and printed as a test.

  --seeds N   how many runs (1000000)
  --from N    the first seed (0)
  --vats N    always this many vats (two to four, by the seed)
  --steps N   most operations of a run (160)
  --jobs N    how many at a time (as many as there are processors)
  --handoff   three to five vats that have keys and hand references over
  --narrow    room for one to three calls, so that most wait
  --extra NAME  of what may occur beside ordinary calls only this, and others so named: long,
              streams, fetches, early, files, gifts, scarce, circles, batches; or none
  --tell      tell what happens in the small run that fails
  --all       go on after a failure, and count failures by kind";

struct Arguments {
    from: u64,
    seeds: u64,
    jobs: usize,
    all: bool,
    tell: bool,
    options: Options,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        from: 0,
        seeds: 1_000_000,
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        all: false,
        tell: false,
        options: Options::default(),
    };
    let mut words = std::env::args().skip(1);
    let mut extras: Option<Vec<Extra>> = None;
    while let Some(word) = words.next() {
        if word == "--extra" {
            let name = words.next().unwrap_or_default();
            let extras = extras.get_or_insert_default();
            match (Extra::named(&name), name.as_str()) {
                (Some(extra), _) => extras.push(extra),
                (None, "none") => {}
                (None, _) => return Err(format!("--extra {name} is not known\n\n{USAGE}")),
            }
            continue;
        }
        let mut number = || {
            let value = words
                .next()
                .ok_or_else(|| format!("{word} lacks its number"))?;
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| format!("{word} wants a number, not {value}"))
        };
        let size = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
        match word.as_str() {
            "--seeds" => parsed.seeds = number()?,
            "--from" => parsed.from = number()?,
            "--vats" => parsed.options.vats = Some(size(number()?)?.max(2)),
            "--steps" => parsed.options.steps = size(number()?)?.max(1),
            "--tell" => parsed.tell = true,
            "--all" => parsed.all = true,
            "--narrow" => parsed.options.narrow = true,
            "--handoff" => parsed.options.handoff = true,
            "--jobs" => parsed.jobs = size(number()?)?.max(1),
            _ => return Err(format!("{word} is not known\n\n{USAGE}")),
        }
    }
    if let Some(extras) = extras {
        parsed.options.extras = extras;
    }
    Ok(parsed)
}

/// Failures by kind: how many, and the one with the smallest seed.
type Failures = BTreeMap<String, (u64, u64, Script, Failure)>;

/// What all threads share.
#[derive(Default)]
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    delivered: AtomicU64,
    failures: Mutex<Failures>,
}

impl Progress {
    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, arguments: &Arguments, start: Instant) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let over = !arguments.all && !self.failures().is_empty();
            if index >= arguments.seeds || over {
                return;
            }
            let seed = arguments.from + index;
            match run_seed(seed, &arguments.options) {
                Ok(report) => {
                    let delivered = report.delivered as u64;
                    self.delivered.fetch_add(delivered, Ordering::Relaxed);
                }
                Err(failed) => self.failed(seed, *failed),
            }
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(REPORT_EVERY) {
                self.say(done, start);
            }
        }
    }

    fn failed(&self, seed: u64, (script, failure): (Script, Failure)) {
        let mut failures = self.failures();
        if !failures.contains_key(&failure.class()) {
            println!("seed {seed}: {failure}");
        }
        let entry = failures
            .entry(failure.class())
            .or_insert_with(|| (0, seed, script.clone(), failure.clone()));
        entry.0 += 1;
        if seed < entry.1 {
            (entry.1, entry.2, entry.3) = (seed, script, failure);
        }
    }

    fn say(&self, done: u64, start: Instant) {
        let seconds = start.elapsed().as_secs_f64().max(0.001);
        let rate = done as f64 / seconds;
        let delivered = self.delivered.load(Ordering::Relaxed);
        println!("{done} seeds, {delivered} calls delivered, {rate:.0} seeds/s");
    }
}

/// Seeds between two lines of progress.
const REPORT_EVERY: u64 = 10_000;

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding like any other, and shrinking repeats it often.
    std::panic::set_hook(Box::new(|_| {}));
    #[expect(clippy::disallowed_methods, reason = "for the rate only")]
    let start = Instant::now();
    let progress = Progress::default();
    std::thread::scope(|threads| {
        for _ in 0..arguments.jobs {
            threads.spawn(|| progress.work(&arguments, start));
        }
    });
    progress.say(progress.done.load(Ordering::Relaxed), start);
    let failures = std::mem::take(&mut *progress.failures());
    for (count, seed, _, failure) in failures.values() {
        println!("{count} failed, first seed {seed}: {failure}");
    }
    let Some((_, seed, script, _)) = failures.into_values().min_by_key(|found| found.1) else {
        return ExitCode::SUCCESS;
    };
    let before = script.ops.len();
    let (script, failure) = shrink(&script);
    println!(
        "\nseed {seed}, shrunk from {before} operations to {}: {failure}\n\n{script}",
        script.ops.len()
    );
    if arguments.tell {
        println!("{}", tell(&script));
    }
    ExitCode::FAILURE
}
