//! ractor.

use std::hint::black_box;
use std::time::Instant;

use ::ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ::tokio::sync::oneshot;
use futures::future::join_all;

use super::tokio::runtime;
use super::{BATCH, Case, timed_async};

struct Count;

enum Do {
    Add(u64, RpcReplyPort<u64>),
    Tell(u64),
}

impl Actor for Count {
    type Msg = Do;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Do>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Do>,
        message: Do,
        value: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Do::Add(amount, answer) => {
                *value += amount;
                let _ = answer.send(*value);
            }
            Do::Tell(amount) => *value += amount,
        }
        Ok(())
    }
}

/// Actors that are made at once.
const MANY: usize = 10_000;

async fn start() -> ActorRef<Do> {
    Actor::spawn(None, Count, ()).await.expect("it starts").0
}

fn ask(actor: &ActorRef<Do>, amount: u64) -> oneshot::Receiver<u64> {
    let (answer, answered) = oneshot::channel();
    let _ = actor.cast(Do::Add(amount, answer.into()));
    answered
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("ask", "ractor", || {
            runtime().block_on(async {
                let actor = start().await;
                timed_async(BATCH, || async {
                    black_box(join_all((0..BATCH).map(|_| ask(&actor, 1))).await);
                })
                .await
            })
        }),
        Case::new("tell", "ractor", || {
            runtime().block_on(async {
                let actor = start().await;
                timed_async(BATCH, || async {
                    for _ in 0..BATCH {
                        let _ = actor.cast(Do::Tell(1));
                    }
                    black_box(ask(&actor, 0).await).expect("an answer");
                })
                .await
            })
        }),
        Case::new("spawn", "ractor", || runtime().block_on(spawn()).0),
        Case::new("bytes", "ractor", || runtime().block_on(spawn()).1),
    ]
}

async fn spawn() -> (f64, f64) {
    let (begin, before) = (Instant::now(), crate::heap::live());
    let mut actors = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        actors.push(start().await);
    }
    black_box(ask(&actors[MANY - 1], 0).await).expect("an answer");
    let time = begin.elapsed().as_nanos() as f64 / MANY as f64;
    let bytes = (crate::heap::live() - before) as f64 / MANY as f64;
    for actor in &actors {
        actor.stop(None);
    }
    (time, bytes - size_of::<ActorRef<Do>>() as f64)
}
