//! Random operations on several vats, checked against a shadow graph of plain references.

use std::panic::{AssertUnwindSafe, catch_unwind};

mod generate;
mod options;
mod random;
pub mod script;
mod shadow;
mod shrink;
mod story;
mod trace;
mod world;

pub use options::{Extra, Options};
pub use random::{Bytes, Choose, Random};
pub use script::{Op, Script, Setup};
pub use shrink::shrink;

use world::World;

/// What was wrong with a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Failure {
    /// In words.
    pub what: String,
    /// During which operation; `None`: at the end.
    pub during: Option<Op>,
}

impl Failure {
    fn new(what: String) -> Self {
        Self { what, during: None }
    }

    /// What stays the same when the script becomes shorter.
    #[must_use]
    pub fn class(&self) -> String {
        let letters = self.what.chars().filter(|letter| !letter.is_ascii_digit());
        letters.take(CLASS_LETTERS).collect()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.during {
            Some(op) => write!(f, "{} (during {op})", self.what),
            None => write!(f, "{} (at the end)", self.what),
        }
    }
}

/// By how many letters failures are told apart.
const CLASS_LETTERS: usize = 36;

/// What a run that went well amounted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Operations.
    pub ops: usize,
    /// Calls sent.
    pub sent: usize,
    /// Calls that reached their object.
    pub delivered: usize,
    /// Hash of all messages and events.
    pub trace: u64,
}

/// Runs a seed, twice: the second time from the script of the first.
///
/// # Errors
/// What was wrong, and the script that shows it.
pub fn run_seed(seed: u64, options: &Options) -> Result<Report, Box<(Script, Failure)>> {
    run_choices(&mut Random::new(seed), options)
}

/// The same with any source of decisions.
///
/// # Errors
/// What was wrong, and the script that shows it.
pub fn run_choices(
    choices: &mut impl Choose,
    options: &Options,
) -> Result<Report, Box<(Script, Failure)>> {
    let mut script = Script {
        setup: Setup::new(0, &[]),
        ops: Vec::new(),
    };
    let world = match guarded(|| generate::run(choices, options, &mut script)) {
        Ok(world) => world,
        Err(failure) => return Err(Box::new((script, failure))),
    };
    let report = Report {
        ops: script.ops.len(),
        sent: world.sent,
        delivered: world.delivered,
        trace: world.trace.value(),
    };
    drop(world);
    match replay(&script) {
        Ok(again) if again.trace == report.trace => Ok(report),
        Ok(again) => {
            let what = format!(
                "the same operations gave another trace: {:x}, then {:x}",
                report.trace, again.trace
            );
            Err(Box::new((script, Failure::new(what))))
        }
        Err(failure) => Err(Box::new((script, failure))),
    }
}

/// Runs a script.
///
/// # Errors
/// What was wrong.
pub fn replay(script: &Script) -> Result<Report, Failure> {
    let mut during = None;
    let outcome = guarded(|| {
        let mut world = World::new(&script.setup);
        for op in &script.ops {
            during = Some(op.clone());
            world.apply(op)?;
        }
        during = None;
        world.finish()?;
        Ok(Report {
            ops: script.ops.len(),
            sent: world.sent,
            delivered: world.delivered,
            trace: world.trace.value(),
        })
    });
    outcome.map_err(|failure| Failure { during, ..failure })
}

/// Runs a script and tells what happened, line by line, up to its failure or its end.
#[must_use]
pub fn tell(script: &Script) -> String {
    let mut world = World::new(&script.setup);
    world.story = Some(String::new());
    let outcome = guarded(|| {
        for op in &script.ops {
            world.note(|| format!("{op}"));
            world.apply(op)?;
        }
        world.note(|| "the end".to_owned());
        world.finish()
    });
    if let Err(failure) = outcome {
        world.note(|| failure.what.clone());
    }
    world.story.unwrap_or_default()
}

/// A panic is a failure, too.
fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, Failure> {
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a word")))
    });
    outcome.map_err(Failure::new)
}

/// Runs a script that must go well: for tests.
///
/// # Panics
/// If it does not.
#[expect(clippy::panic, reason = "an assertion of tests")]
pub fn holds(setup: Setup, ops: &[Op]) {
    let script = Script {
        setup,
        ops: ops.to_vec(),
    };
    if let Err(failure) = replay(&script) {
        panic!("{failure}");
    }
}
