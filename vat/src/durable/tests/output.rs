//! Promise 13: what leaves the vat, and when.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

use crate::Vat;
use crate::durable::Store;
use crate::durable::store::failing::{Disk, OnDisk};
use crate::net::Stream;
use crate::net::driver::{Attach, Connection, Driver};
use crate::prelude::*;

#[vat::interface]
pub(super) trait Count {
    fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
    fn value(&self, turn: &Turn) -> Result<u64>;
    /// Nothing of this is kept.
    fn echo(&self, turn: &Turn, text: String) -> Result<String>;
    /// Adds, and tells the listener of it.
    fn tell(&mut self, turn: &Turn, listener: CountRef) -> Result<()>;
}

#[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
#[object(durable = "test.Tally")]
struct Tally {
    count: u64,
}

impl Count for Tally {
    fn add(&mut self, _: &Turn, by: u64) -> Result<u64> {
        self.count += by;
        Ok(self.count)
    }

    fn value(&self, _: &Turn) -> Result<u64> {
        Ok(self.count)
    }

    fn echo(&self, _: &Turn, text: String) -> Result<String> {
        Ok(text)
    }

    fn tell(&mut self, _: &Turn, listener: CountRef) -> Result<()> {
        self.count += 1;
        listener.add(self.count).detach();
        Ok(())
    }
}

#[derive(Clone, Default, vat::Object)]
struct Plain(u64);

impl Count for Plain {
    fn add(&mut self, _: &Turn, by: u64) -> Result<u64> {
        self.0 += by;
        Ok(self.0)
    }

    fn value(&self, _: &Turn) -> Result<u64> {
        Ok(self.0)
    }

    fn echo(&self, _: &Turn, text: String) -> Result<String> {
        Ok(text)
    }

    fn tell(&mut self, _: &Turn, _: CountRef) -> Result<()> {
        Ok(())
    }
}

/// A vat with a durable tally, and its peers.
struct Bench {
    disk: Arc<Disk>,
    server: Driver,
    peer: Driver,
    tally: CountRef,
}

impl Bench {
    fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Arc<Disk>) -> Self {
        let vat = Vat::new("server");
        let store = Store::with_backend(OnDisk(Arc::clone(&disk))).unwrap();
        vat.attach_store(store).unwrap();
        let tally = vat.turn(|turn| {
            let tally = turn.durable("tally", |_| Tally::default())?;
            Ok(CountRef::from(&tally))
        });
        vat.flush_store().unwrap();
        Self {
            disk,
            server: Driver::new(vat),
            peer: Driver::new(Vat::new("peer")),
            tally: tally.unwrap(),
        }
    }

    /// What the tally is in memory.
    fn count(&self) -> u64 {
        let count = self.server.vat().turn(|turn| {
            let tally = turn.durable("tally", |_| Tally::default())?;
            tally.read(turn, |tally| tally.count)
        });
        count.unwrap()
    }

    /// The tally as a new peer has it.
    fn connect(&self) -> (CountRef, Connection) {
        self.offer(self.tally.clone())
    }

    fn offer(&self, reference: CountRef) -> (CountRef, Connection) {
        let (here, there) = UnixStream::pair().unwrap();
        let plain = |socket: UnixStream| Stream::from_socketpair(socket.into()).unwrap();
        self.server
            .attach(plain(here), Attach::plain(Some(reference.into())));
        let connection = self.peer.attach(plain(there), Attach::plain(None));
        (connection.bootstrap().unwrap().into(), connection)
    }
}

/// A store waits for its disk when it goes.
impl Drop for Bench {
    fn drop(&mut self) {
        self.disk.stand_still(false);
        self.disk.recover();
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), test)
            .await
            .unwrap();
    });
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

// Promise 13
#[test]
fn an_answer_waits_for_the_disk_and_so_does_what_comes_after_it() {
    run(async {
        let bench = Bench::new();
        let (tally, _connection) = bench.connect();
        assert_eq!(tally.value().await.unwrap(), 0);
        let syncs = bench.disk.syncs();
        bench.disk.stand_still(true);
        let first = tally.add(1);
        // Another peer, a call that changes nothing and an object that is not kept: all may know of it.
        let (other, _other) = bench.connect();
        let read = other.value();
        let plain = bench
            .server
            .vat()
            .turn(|turn| Ok(CountRef::new(turn, Plain(7))))
            .unwrap();
        let (plain, _plain) = bench.offer(plain);
        let echoed = plain.echo("hello");
        a_while().await;
        assert!(first.try_take().is_none());
        assert!(read.try_take().is_none());
        assert!(echoed.try_take().is_none());
        // Meanwhile turns go on, and gather.
        let more: Vec<_> = (0..100).map(|_| tally.add(1)).collect();
        while bench.count() < 101 {
            a_while().await;
        }
        assert!(first.try_take().is_none());
        bench.disk.stand_still(false);
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!(read.await.unwrap(), 1);
        assert_eq!(echoed.await.unwrap(), "hello");
        for (number, answer) in more.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), number as u64 + 2);
        }
        let written = bench.disk.syncs() - syncs;
        assert!(written <= 6, "101 turns were written with {written} syncs");
    });
}

// Promise 13
#[test]
fn what_comes_while_a_batch_is_written_leaves_with_the_next() {
    run(async {
        let bench = Bench::new();
        let (tally, _connection) = bench.connect();
        assert_eq!(tally.value().await.unwrap(), 0);
        bench.disk.stand_still(true);
        let first = tally.add(1);
        while bench.count() < 1 {
            a_while().await;
        }
        let second = tally.add(1);
        while bench.count() < 2 {
            a_while().await;
        }
        assert!(first.try_take().is_none() && second.try_take().is_none());
        bench.disk.stand_still(false);
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!(second.await.unwrap(), 2);
    });
}

// Promise 13
#[test]
fn calls_of_others_wait_as_answers_do() {
    run(async {
        let bench = Bench::new();
        let (tally, _connection) = bench.connect();
        tally.value().await.unwrap();
        let heard = bench
            .peer
            .vat()
            .turn(|turn| Ok(turn.spawn(Plain(0))))
            .unwrap();
        bench.disk.stand_still(true);
        let told = tally.tell(CountRef::from(&heard));
        a_while().await;
        assert_eq!(heard.peek(|plain| plain.0), Some(0));
        bench.disk.stand_still(false);
        told.await.unwrap();
        a_while().await;
        assert_eq!(heard.peek(|plain| plain.0), Some(1));
    });
}

#[test]
fn what_changes_nothing_does_not_wait() {
    run(async {
        let bench = Bench::new();
        let (tally, _connection) = bench.connect();
        let syncs = bench.disk.syncs();
        bench.disk.stand_still(true);
        assert_eq!(tally.value().await.unwrap(), 0);
        assert_eq!(tally.echo("a").await.unwrap(), "a");
        assert_eq!(bench.disk.syncs(), syncs);
        bench.disk.stand_still(false);
    });
}

// Promise 13
#[test]
fn a_disk_that_is_full_breaks_the_calls_that_wait_and_loses_nothing() {
    for writes in 0..12 {
        run(async move {
            let bench = Bench::new();
            let (tally, connection) = bench.connect();
            assert_eq!(tally.add(1).await.unwrap(), 1);
            bench.disk.fail_after(writes);
            // The writes that still succeed may be enough for one or two.
            let mut acknowledged = 1;
            let lost = loop {
                match tally.add(1).await {
                    Ok(count) => acknowledged = count,
                    Err(lost) => break lost,
                }
            };
            assert_eq!(lost.kind(), ErrorKind::Disconnected);
            let text = lost.to_string();
            assert!(text.contains("cannot write its state to disk"), "{text}");
            assert!(text.contains("may have run"), "{text}");
            assert!(!connection.is_open());
            // Whoever comes is told the same; nothing can be changed.
            let (again, _again) = bench.connect();
            let refused = again.add(1).await.unwrap_err();
            assert!(refused.to_string().contains("cannot write"), "{refused}");
            let here = bench.tally.add(1).await.unwrap_err();
            assert_eq!(here.kind(), ErrorKind::Overloaded);
            // What is on disk holds all that was acknowledged.
            let copy = Bench::on(bench.disk.copy());
            let (kept, _kept) = copy.connect();
            let kept = kept.value().await.unwrap();
            assert!((acknowledged..=acknowledged + 1).contains(&kept), "{kept}");
            // There is room again: the vat goes on by itself.
            bench.disk.recover();
            let value = loop {
                let (tally, _connection) = bench.connect();
                match tally.add(10).await {
                    Ok(value) => break value,
                    Err(_) => a_while().await,
                }
            };
            assert_eq!(value, acknowledged + 11);
        });
    }
}

#[test]
fn a_vat_without_a_store_refuses_to_keep_anything() {
    let vat = Vat::new("forgetful");
    let refused = vat.turn(|turn| turn.durable("tally", |_| Tally::default()));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("durable = true"), "{text}");
}
