//! Random histories: specs, children, and the steps that are taken with them.

use std::time::Duration;

use proptest::prelude::*;

use crate::supervisor::{
    AutoShutdown, Backoff, ChildSpec, ExitReason, Intensity, RestartKind, Shutdown,
    Strategy as Restarts, SupervisorSpec,
};

/// One step of a random history.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Pass(u64),
    ToTimeout,
    Timer,
    Ready(usize),
    Fail(usize),
    Exit(usize, ExitReason),
    /// A report about another incarnation, so many lives away.
    Late(usize, u64),
    StartChild(usize),
    StopChild(usize),
    Stop,
    Kill,
}

/// The step that a random number stands for. Numbers shrink to idle steps of one child.
pub(super) fn op(number: u32) -> Op {
    let [kind, child, low, high] = number.to_le_bytes();
    let child = usize::from(child % 5);
    let amount = u64::from(u16::from_le_bytes([low, high]));
    match kind % 80 {
        0..8 => Op::Pass(amount % 400),
        8 => Op::Pass(amount % 20_000),
        9..17 => Op::ToTimeout,
        17..19 => Op::Timer,
        19..43 => Op::Ready(child),
        43..49 => Op::Fail(child),
        49..54 => Op::Exit(child, ExitReason::Normal),
        54..58 => Op::Exit(child, ExitReason::Shutdown),
        58..66 => Op::Exit(child, ExitReason::Abnormal("signal 9".into())),
        66..70 => Op::Late(child, amount % 3),
        70..74 => Op::StartChild(child),
        74..78 => Op::StopChild(child),
        78 => Op::Stop,
        _ => Op::Kill,
    }
}

pub(in crate::supervisor) fn specs() -> impl Strategy<Value = (SupervisorSpec, Vec<ChildSpec>)> {
    let kind = prop_oneof![
        3 => Just(RestartKind::Permanent),
        2 => Just(RestartKind::Transient),
        1 => Just(RestartKind::Temporary),
    ];
    let shutdown = prop_oneof![
        1 => Just(Shutdown::Brutal),
        3 => (0u64..500).prop_map(|ms| Shutdown::Grace(Duration::from_millis(ms))),
        1 => Just(Shutdown::Infinity),
    ];
    let limit = prop::option::weighted(0.8, (1u64..1000).prop_map(Duration::from_millis));
    let child = (kind, shutdown, limit, any::<bool>());
    let auto_shutdown = prop_oneof![
        2 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        2 => Just(AutoShutdown::AllSignificant),
    ];
    let children =
        (auto_shutdown, prop::collection::vec(child, 0..5)).prop_map(|(auto, children)| {
            let named = children.into_iter().enumerate().map(
                |(n, (restart, shutdown, limit, significant))| {
                    let may = auto != AutoShutdown::Never && restart != RestartKind::Permanent;
                    ChildSpec::new(format!("c{n}"))
                        .with_restart(restart)
                        .with_shutdown(shutdown)
                        .with_start_within(limit)
                        .with_significant(significant && may)
                },
            );
            (auto, named.collect::<Vec<_>>())
        });
    let intensity = (0u32..6, 0u64..3000).prop_map(|(restarts, within)| Intensity {
        restarts,
        within: Duration::from_millis(within),
    });
    let backoff = prop_oneof![
        Just(Backoff::NONE),
        Just(Backoff::default()),
        Just(Backoff {
            settled: Duration::from_millis(300),
            ..Backoff::default()
        }),
    ];
    let strategy = prop_oneof![
        Just(Restarts::OneForOne),
        Just(Restarts::OneForAll),
        Just(Restarts::RestForOne),
    ];
    let spec = (strategy, intensity, backoff).prop_map(|(strategy, intensity, backoff)| {
        SupervisorSpec::default()
            .with_strategy(strategy)
            .with_intensity(intensity)
            .with_backoff(backoff)
    });
    (spec, children).prop_map(|(spec, (auto, children))| (spec.with_auto_shutdown(auto), children))
}
