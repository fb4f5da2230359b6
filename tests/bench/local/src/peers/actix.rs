//! actix.

use std::hint::black_box;
use std::time::Instant;

use ::actix::{Actor, Addr, Context, Handler, Message, System};
use futures::future::join_all;

use super::{BATCH, Case, timed_async, weighed};

struct Count {
    value: u64,
}

impl Actor for Count {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // It is 16 otherwise, and a burst would fail.
        context.set_mailbox_capacity(2 * BATCH);
    }
}

struct Add(u64);

impl Message for Add {
    type Result = u64;
}

impl Handler<Add> for Count {
    type Result = u64;

    fn handle(&mut self, Add(amount): Add, _: &mut Self::Context) -> u64 {
        self.value += amount;
        self.value
    }
}

/// Actors that are made at once.
const MANY: usize = 200_000;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("ask", "actix", || {
            System::new().block_on(async {
                let actor = Count { value: 0 }.start();
                timed_async(BATCH, || async {
                    let asked = (0..BATCH).map(|_| actor.send(Add(1)));
                    black_box(join_all(asked).await);
                })
                .await
            })
        }),
        Case::new("tell", "actix", || {
            System::new().block_on(async {
                let actor = Count { value: 0 }.start();
                timed_async(BATCH, || async {
                    (0..BATCH).for_each(|_| actor.do_send(Add(1)));
                    black_box(actor.send(Add(0)).await).expect("an answer");
                })
                .await
            })
        }),
        Case::new("spawn", "actix", || System::new().block_on(spawn()).0),
        Case::new("bytes", "actix", || System::new().block_on(spawn()).1),
    ]
}

/// Nanoseconds and bytes for each of many actors, all of which have begun.
async fn spawn() -> (f64, f64) {
    let begin = Instant::now();
    let before = crate::heap::live();
    let actors: Vec<Addr<Count>> = weighed(MANY, || {
        (0..MANY).map(|_| Count { value: 0 }.start()).collect()
    })
    .1;
    let last = actors.last().expect("an actor");
    black_box(last.send(Add(0)).await).expect("an answer");
    let time = begin.elapsed().as_nanos() as f64 / MANY as f64;
    let bytes = (crate::heap::live() - before) as f64 / MANY as f64;
    (time, bytes - size_of::<Addr<Count>>() as f64)
}
