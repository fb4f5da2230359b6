//! kameo.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use ::kameo::Actor;
use ::kameo::actor::{ActorRef, Spawn as _};
use ::kameo::mailbox;
use ::kameo::message::{Context, Message};
use futures::future::join_all;

use super::tokio::runtime;
use super::{BATCH, Case, timed_async};

struct Count {
    value: u64,
}

impl Actor for Count {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(count: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(count)
    }
}

struct Add(u64);

impl Message<Add> for Count {
    type Reply = u64;

    async fn handle(&mut self, Add(amount): Add, _: &mut Context<Self, u64>) -> u64 {
        self.value += amount;
        self.value
    }
}

/// Actors that are made at once.
const MANY: usize = 10_000;

/// Its mailbox holds 64 otherwise: the others' have no bound, or room for a batch.
fn start() -> ActorRef<Count> {
    Count::spawn_with_mailbox(Count { value: 0 }, mailbox::unbounded())
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("ask", "kameo", || {
            runtime().block_on(async {
                let actor = start();
                timed_async(BATCH, || async {
                    let asked = (0..BATCH).map(|_| async { actor.ask(Add(1)).await });
                    black_box(join_all(asked).await.len());
                })
                .await
            })
        }),
        Case::new("tell", "kameo", || {
            runtime().block_on(async {
                let actor = start();
                timed_async(BATCH, || async {
                    for _ in 0..BATCH {
                        let _ = actor.tell(Add(1)).try_send();
                    }
                    let _ = black_box(actor.ask(Add(0)).await);
                })
                .await
            })
        }),
        Case::new("spawn", "kameo", || runtime().block_on(spawn()).0),
        Case::new("bytes", "kameo", || runtime().block_on(spawn()).1),
    ]
}

async fn spawn() -> (f64, f64) {
    let (begin, before) = (Instant::now(), crate::heap::live());
    let actors: Vec<ActorRef<Count>> = (0..MANY).map(|_| start()).collect();
    let _ = black_box(actors[MANY - 1].ask(Add(0)).await);
    let time = begin.elapsed().as_nanos() as f64 / MANY as f64;
    let bytes = (crate::heap::live() - before) as f64 / MANY as f64;
    for actor in &actors {
        actor.kill();
    }
    (time, bytes - size_of::<ActorRef<Count>>() as f64)
}
