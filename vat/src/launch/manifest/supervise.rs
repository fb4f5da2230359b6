//! `[supervisor]`: when a program is started again, how fast, and when the supervisor gives up.

use std::time::Duration;

use serde::Serialize;

use super::Code;
use super::diagnostic::Findings;
use super::table::{At, Entry, Known, Table};
use super::units::serialize_duration;

/// Which children a supervisor restarts when one dies. With one program there is only one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Only the one that died.
    #[default]
    OneForOne,
}

/// After which ends a program is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// After every end.
    #[default]
    Permanent,
    /// After every end but a normal one (exit 0, or an ordered stop).
    Transient,
    /// Never.
    Temporary,
}

/// More than `restarts` within `within`, and the supervisor gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Intensity {
    /// How many restarts are tolerated. Default 3.
    pub restarts: u32,
    /// In which sliding time. Default 5 s.
    #[serde(serialize_with = "serialize_duration")]
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 3,
            within: Duration::from_secs(5),
        }
    }
}

/// How long a restart is put off: `first`, then `initial`, then `factor` times longer each time,
/// up to `max`; each varied by up to `jitter` of itself in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Backoff {
    /// Delay before the first restart. Default 0.
    #[serde(serialize_with = "serialize_duration")]
    pub first: Duration,
    /// Delay before the second one. Default 100 ms.
    #[serde(serialize_with = "serialize_duration")]
    pub initial: Duration,
    /// Growth from there on, at least 1. Default 4.
    pub factor: f64,
    /// The longest delay. Default 30 s.
    #[serde(serialize_with = "serialize_duration")]
    pub max: Duration,
    /// Share of the delay that is left to chance, from 0 to 1. Default 0.2.
    pub jitter: f64,
    /// After running that long, the next delay is `first` again. Default 10 s.
    #[serde(serialize_with = "serialize_duration")]
    pub reset: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::ZERO,
            initial: Duration::from_millis(100),
            factor: 4.0,
            max: Duration::from_secs(30),
            jitter: 0.2,
            reset: Duration::from_secs(10),
        }
    }
}

/// How the program is supervised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Supervision {
    /// Which children are restarted when one dies.
    pub strategy: Strategy,
    /// After which ends.
    pub restart: Restart,
    /// How often before the supervisor gives up.
    pub intensity: Intensity,
    /// How fast.
    pub backoff: Backoff,
    /// How long a start may take until the program is ready. Default 10 s.
    #[serde(serialize_with = "serialize_duration")]
    pub start_timeout: Duration,
    /// How long an ordered stop may take before the program is killed. Default 5 s.
    #[serde(serialize_with = "serialize_duration")]
    pub stop_grace: Duration,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            restart: Restart::default(),
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            start_timeout: Duration::from_secs(10),
            stop_grace: Duration::from_secs(5),
        }
    }
}

const KEYS: Known = Known::keys(&[
    "strategy",
    "restart",
    "intensity",
    "backoff",
    "start",
    "stop",
]);

const MOST_RESTARTS: u32 = 1_000_000;

/// Reads `[supervisor]`; what is missing or wrong has its default in the answer.
pub(super) fn read(entry: &Entry<'_, '_>, findings: &mut Findings) -> Supervision {
    let mut spec = Supervision::default();
    let Some(table) = entry.table(KEYS, findings) else {
        return spec;
    };
    if let Some(strategy) = table.entry("strategy") {
        read_strategy(&strategy, findings);
    }
    let restarts = [
        ("permanent", Restart::Permanent),
        ("transient", Restart::Transient),
        ("temporary", Restart::Temporary),
    ];
    if let Some(restart) = table
        .entry("restart")
        .and_then(|e| e.word(&restarts, findings))
    {
        spec.restart = restart.value;
    }
    if let Some(entry) = table.entry("intensity") {
        read_intensity(&entry, &mut spec.intensity, findings);
    }
    if let Some(entry) = table.entry("backoff") {
        read_backoff(&entry, &mut spec.backoff, findings);
    }
    let start = table
        .entry("start")
        .and_then(|e| e.table(Known::keys(&["timeout"]), findings));
    if let Some(timeout) = start.and_then(|start| positive(&start, "timeout", findings)) {
        spec.start_timeout = timeout.value;
    }
    if let Some(entry) = table.entry("stop") {
        read_stop(&entry, &mut spec, findings);
    }
    spec
}

/// Only `one_for_one` means something for one program; the other two wait for children.
fn read_strategy(entry: &Entry<'_, '_>, findings: &mut Findings) {
    let strategies = [
        ("one_for_one", true),
        ("one_for_all", false),
        ("rest_for_one", false),
    ];
    let Some(strategy) = entry.word(&strategies, findings) else {
        return;
    };
    if !strategy.value {
        findings
            .error(
                Code::NotSupported,
                "this strategy needs children, which are not supported by this version",
            )
            .label(&strategy.span, "only \"one_for_one\" can be used yet");
    }
}

fn read_intensity(entry: &Entry<'_, '_>, intensity: &mut Intensity, findings: &mut Findings) {
    let known = Known::keys(&["restarts", "within"]);
    let Some(table) = entry.table(known, findings) else {
        return;
    };
    let restarts = table.required("restarts", findings);
    if let Some(restarts) = restarts.and_then(|e| e.number(MOST_RESTARTS, findings)) {
        intensity.restarts = restarts.value;
    }
    if table.required("within", findings).is_some()
        && let Some(within) = positive(&table, "within", findings)
    {
        intensity.within = within.value;
    }
}

fn read_backoff(entry: &Entry<'_, '_>, backoff: &mut Backoff, findings: &mut Findings) {
    let known = Known::keys(&["first", "initial", "factor", "max", "jitter", "reset"]);
    let Some(table) = entry.table(known, findings) else {
        return;
    };
    let mut duration = |key| table.entry(key).and_then(|e| e.duration(findings));
    let (first, initial, max) = (duration("first"), duration("initial"), duration("max"));
    if let Some(reset) = duration("reset") {
        backoff.reset = reset.value;
    }
    if let Some(factor) = table
        .entry("factor")
        .and_then(|e| e.real((1.0, 1000.0), findings))
    {
        backoff.factor = factor;
    }
    if let Some(jitter) = table
        .entry("jitter")
        .and_then(|e| e.real((0.0, 1.0), findings))
    {
        backoff.jitter = jitter;
    }
    let stated = [&first, &initial]
        .into_iter()
        .flatten()
        .map(|at| at.value)
        .max();
    backoff.max = backoff.max.max(stated.unwrap_or_default());
    if let Some(max) = &max {
        backoff.max = max.value;
        for delay in [&first, &initial].into_iter().flatten() {
            if delay.value > max.value {
                findings
                    .error(
                        Code::OutOfRange,
                        "this delay is longer than the longest one",
                    )
                    .label(&delay.span, "more than `max`")
                    .label(&max.span, "the longest delay");
            }
        }
    }
    let within_max = |delay: Duration| delay.min(backoff.max);
    backoff.first = within_max(first.map_or(backoff.first, |at| at.value));
    backoff.initial = within_max(initial.map_or(backoff.initial, |at| at.value));
}

fn read_stop(entry: &Entry<'_, '_>, spec: &mut Supervision, findings: &mut Findings) {
    let known = Known::keys(&["order", "grace"]);
    let Some(table) = entry.table(known, findings) else {
        return;
    };
    if let Some(order) = table.entry("order") {
        order.word(&[("reverse", ())], findings);
    }
    if let Some(grace) = table.entry("grace").and_then(|e| e.duration(findings)) {
        spec.stop_grace = grace.value;
    }
}

/// A duration that may not be zero.
fn positive(table: &Table<'_, '_>, key: &str, findings: &mut Findings) -> Option<At<Duration>> {
    let duration = table.entry(key)?.duration(findings)?;
    if duration.value.is_zero() {
        findings
            .error(
                Code::OutOfRange,
                format!("`{key}` must be longer than nothing"),
            )
            .label(&duration.span, "is zero");
        return None;
    }
    Some(duration)
}
