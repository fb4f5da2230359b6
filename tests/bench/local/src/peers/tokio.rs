//! A task with a channel, as people write it by hand.

use std::hint::black_box;

use ::tokio::runtime::{Builder, Runtime};
use ::tokio::sync::{mpsc, oneshot};
use futures::future::join_all;

use super::{BATCH, Case, timed_async};

enum Message {
    Add(u64, oneshot::Sender<u64>),
    Tell(u64),
    /// Everything before it has been done.
    Flush(oneshot::Sender<u64>),
}

pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn spawn() -> mpsc::UnboundedSender<Message> {
    let (sender, mut messages) = mpsc::unbounded_channel();
    ::tokio::spawn(async move {
        let mut value = 0;
        while let Some(message) = messages.recv().await {
            match message {
                Message::Add(amount, answer) => {
                    value += amount;
                    let _ = answer.send(value);
                }
                Message::Tell(amount) => value += amount,
                Message::Flush(answer) => {
                    let _ = answer.send(value);
                }
            }
        }
    });
    sender
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("ask", "tokio mpsc + oneshot", || {
            runtime().block_on(async {
                let actor = spawn();
                timed_async(BATCH, || async {
                    let asked = (0..BATCH).map(|_| {
                        let (answer, answered) = oneshot::channel();
                        let _ = actor.send(Message::Add(1, answer));
                        answered
                    });
                    black_box(join_all(asked).await);
                })
                .await
            })
        }),
        Case::new("tell", "tokio mpsc + oneshot", || {
            runtime().block_on(async {
                let actor = spawn();
                timed_async(BATCH, || async {
                    for _ in 0..BATCH {
                        let _ = actor.send(Message::Tell(1));
                    }
                    let (answer, answered) = oneshot::channel();
                    let _ = actor.send(Message::Flush(answer));
                    black_box(answered.await).expect("an answer");
                })
                .await
            })
        }),
    ]
}
