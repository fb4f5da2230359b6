//! `[supervisor]`: when a program is started again, how fast, and when the supervisor gives up.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::Code;
use super::diagnostic::Findings;
use super::table::{At, Entry, Known, Table};
use super::units::{HumanDuration, serialize_duration};
use crate::supervisor::{Backoff, Intensity, RestartKind, Strategy, SupervisorSpec};

/// How the programs of an ensemble are supervised. What is about one program is the default for
/// those that say nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SupervisionRules {
    /// Which children are restarted when one ends.
    pub strategy: Strategy,
    /// After which ends the program is started again.
    pub restart: RestartKind,
    /// How often, before the supervisor gives up.
    #[serde(serialize_with = "serialize_intensity")]
    pub intensity: Intensity,
    /// How fast.
    #[serde(serialize_with = "serialize_backoff")]
    pub backoff: Backoff,
    /// How long a start may take until the program is ready. Default 10 s.
    #[serde(serialize_with = "serialize_duration")]
    pub start_timeout: Duration,
    /// How long an ordered stop may take before the program is killed. Default 5 s.
    #[serde(serialize_with = "serialize_duration")]
    pub stop_grace: Duration,
}

impl Default for SupervisionRules {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            restart: RestartKind::default(),
            intensity: Intensity::default(),
            backoff: Backoff::default(),
            start_timeout: Duration::from_secs(10),
            stop_grace: Duration::from_secs(5),
        }
    }
}

impl SupervisionRules {
    /// What the supervisor of the ensemble is told.
    #[must_use]
    pub fn supervisor_spec(&self) -> SupervisorSpec {
        SupervisorSpec::default()
            .with_strategy(self.strategy)
            .with_intensity(self.intensity)
            .with_backoff(self.backoff)
    }
}

fn serialize_intensity<S: Serializer>(
    intensity: &Intensity,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Intensity", 2)?;
    fields.serialize_field("restarts", &intensity.restarts)?;
    fields.serialize_field("within", &HumanDuration(intensity.within))?;
    fields.end()
}

fn serialize_backoff<S: Serializer>(backoff: &Backoff, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Backoff", 5)?;
    fields.serialize_field("initial", &HumanDuration(backoff.initial))?;
    fields.serialize_field("factor", &backoff.factor)?;
    fields.serialize_field("max", &HumanDuration(backoff.max))?;
    fields.serialize_field("jitter", &backoff.jitter)?;
    fields.serialize_field("settled", &HumanDuration(backoff.settled))?;
    fields.end()
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

/// Reads `[supervisor]`; what is missing or wrong has its default in the answer. `several`: there
/// are children, not one program.
pub(super) fn read(
    entry: &Entry<'_, '_>,
    several: bool,
    findings: &mut Findings,
) -> SupervisionRules {
    let mut spec = SupervisionRules::default();
    let Some(table) = entry.table(KEYS, findings) else {
        return spec;
    };
    if let Some(strategy) = table.entry("strategy") {
        spec.strategy = read_strategy(&strategy, several, findings);
    }
    if let Some(restart) = read_restart(&table, findings) {
        spec.restart = restart;
    }
    if let Some(entry) = table.entry("intensity") {
        read_intensity(&entry, &mut spec.intensity, findings);
    }
    if let Some(entry) = table.entry("backoff") {
        read_backoff(&entry, &mut spec.backoff, findings);
    }
    if let Some(timeout) = read_start(&table, findings) {
        spec.start_timeout = timeout;
    }
    if let Some(grace) = read_stop(&table, Known::keys(&["order", "grace"]), findings) {
        spec.stop_grace = grace;
    }
    spec
}

/// The key `restart`.
pub(super) fn read_restart(table: &Table<'_, '_>, findings: &mut Findings) -> Option<RestartKind> {
    let words = [
        ("permanent", RestartKind::Permanent),
        ("transient", RestartKind::Transient),
        ("temporary", RestartKind::Temporary),
    ];
    let restart = table.entry("restart")?.word(&words, findings)?;
    Some(restart.value)
}

/// The key `start`: within which time a program is ready.
pub(super) fn read_start(table: &Table<'_, '_>, findings: &mut Findings) -> Option<Duration> {
    let start = table
        .entry("start")?
        .table(Known::keys(&["timeout"]), findings)?;
    positive(&start, "timeout", findings).map(|timeout| timeout.value)
}

/// The key `stop`: how much grace a program has.
pub(super) fn read_stop(
    table: &Table<'_, '_>,
    known: Known,
    findings: &mut Findings,
) -> Option<Duration> {
    let stop = table.entry("stop")?.table(known, findings)?;
    if let Some(order) = stop.entry("order") {
        order.word(&[("reverse", ())], findings);
    }
    let grace = stop.entry("grace")?.duration(findings)?;
    Some(grace.value)
}

/// Two of the strategies mean something for several programs only.
fn read_strategy(entry: &Entry<'_, '_>, several: bool, findings: &mut Findings) -> Strategy {
    let strategies = [
        ("one_for_one", Strategy::OneForOne),
        ("one_for_all", Strategy::OneForAll),
        ("rest_for_one", Strategy::RestForOne),
    ];
    let Some(strategy) = entry.word(&strategies, findings) else {
        return Strategy::default();
    };
    if !several && strategy.value != Strategy::OneForOne {
        findings
            .error(
                Code::Contradiction,
                "this strategy is about several programs, and there is only one",
            )
            .label(&strategy.span, "means nothing for [program]")
            .help("leave it out, or describe several programs with [children.<name>]");
    }
    strategy.value
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
    let known = Known::keys(&["initial", "factor", "max", "jitter", "settled"]);
    let Some(table) = entry.table(known, findings) else {
        return;
    };
    let mut duration = |key| table.entry(key).and_then(|e| e.duration(findings));
    let (initial, max) = (duration("initial"), duration("max"));
    if let Some(settled) = duration("settled") {
        backoff.settled = settled.value;
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
    if let Some(initial) = &initial {
        backoff.initial = initial.value;
        backoff.max = backoff.max.max(initial.value);
    }
    let Some(max) = max else { return };
    if let Some(initial) = initial.filter(|initial| initial.value > max.value) {
        findings
            .error(
                Code::OutOfRange,
                "this delay is longer than the longest one",
            )
            .label(&initial.span, "more than `max`")
            .label(&max.span, "the longest delay");
    }
    backoff.max = max.value;
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
