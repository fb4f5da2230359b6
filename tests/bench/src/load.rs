//! Keeps a number of calls outstanding and measures what they cost.

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

use crate::machine;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Calls(u64),
    Time(Duration),
}

/// What a load cost. Times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    pub calls: u64,
    pub wall: u64,
    /// Processor time of the client.
    pub client: u64,
    /// Processor time of the server.
    pub server: u64,
    /// Processor time of the process between the two, if there is one.
    pub gifter: u64,
}

impl Cost {
    /// Processor time of all sides.
    pub fn all(&self) -> u64 {
        self.client + self.server + self.gifter
    }
}

/// When the lanes stop.
pub struct Stop {
    left: Cell<u64>,
    deadline: Option<Instant>,
    every: u64,
}

impl Stop {
    fn new(amount: Amount, outstanding: usize) -> Self {
        match amount {
            Amount::Calls(calls) => Self {
                left: Cell::new(calls),
                deadline: None,
                every: u64::MAX,
            },
            Amount::Time(time) => Self {
                left: Cell::new(u64::MAX),
                deadline: Some(Instant::now() + time),
                every: (outstanding as u64).clamp(4, 256),
            },
        }
    }

    /// Whether one more call is due.
    fn more(&self) -> bool {
        let left = self.left.get();
        if left == 0 {
            return false;
        }
        if left.is_multiple_of(self.every) && self.deadline.is_some_and(|end| Instant::now() >= end)
        {
            self.left.set(0);
            return false;
        }
        self.left.set(left - 1);
        true
    }
}

/// Runs `lanes` lanes of calls, each making its next call when its last one was answered. A lane
/// hands its state from call to call, so that payloads are not copied for the benchmark's sake.
pub async fn lanes<S, F, Fut>(lanes: usize, amount: Amount, state: impl Fn() -> S, call: F) -> u64
where
    F: Fn(S) -> Fut,
    Fut: Future<Output = S>,
{
    let stop = &Stop::new(amount, lanes);
    let call = &call;
    let mut running: FuturesUnordered<_> = (0..lanes)
        .map(|_| {
            let mut state = state();
            async move {
                let mut done = 0;
                while stop.more() {
                    state = call(state).await;
                    done += 1;
                }
                done
            }
        })
        .collect();
    let mut calls = 0;
    while let Some(done) = running.next().await {
        calls += done;
    }
    calls
}

/// Measures what `work` costs here, at the server and at the gifter.
pub async fn measured([server, gifter]: [u32; 2], work: impl Future<Output = u64>) -> Cost {
    let (client_before, server_before) = (machine::own_cpu(), machine::cpu(server));
    let gifter_before = machine::cpu(gifter);
    let start = Instant::now();
    let calls = work.await;
    let wall = start.elapsed();
    Cost {
        calls,
        wall: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        client: machine::own_cpu() - client_before,
        server: machine::cpu(server) - server_before,
        gifter: machine::cpu(gifter) - gifter_before,
    }
}
