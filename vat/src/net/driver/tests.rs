//! The driver over real sockets.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::net::descriptor::count;
use crate::prelude::*;

mod bulk;
mod times;

#[vat::interface]
trait Adder {
    fn add(&mut self, turn: &Turn, by: u64) -> Result<u64>;
    fn next(&self, turn: &Turn) -> Result<AdderRef>;
    fn call_back(&self, turn: &Turn, other: AdderRef, by: u64) -> Result<Promise<u64>>;
}

#[derive(Clone, vat::Object)]
struct Sum(u64);

impl Adder for Sum {
    fn add(&mut self, _turn: &Turn, by: u64) -> Result<u64> {
        self.0 = self
            .0
            .checked_add(by)
            .ok_or_else(|| Error::failed("too much"))?;
        Ok(self.0)
    }

    fn next(&self, turn: &Turn) -> Result<AdderRef> {
        Ok(AdderRef::new(turn, Self(self.0)))
    }

    fn call_back(&self, _turn: &Turn, other: AdderRef, by: u64) -> Result<Promise<u64>> {
        Ok(other.add(by))
    }
}

/// Two vats in one thread, joined by a socketpair; the second offers a `Sum`.
fn joined() -> (Driver, Driver, Connection) {
    let flags = SocketFlags::CLOEXEC;
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let caller = Driver::new(Vat::new("caller"));
    let callee = Driver::new(Vat::new("callee"));
    let sum = callee
        .vat()
        .turn(|turn| Ok(AdderRef::new(turn, Sum(0))))
        .unwrap();
    callee.attach(
        Stream::from_socketpair(b).unwrap(),
        Attach::sibling(Some(sum.into())),
    );
    let connection = caller.attach(Stream::from_socketpair(a).unwrap(), Attach::sibling(None));
    (caller, callee, connection)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limited = async { timeout(Duration::from_secs(20), test).await };
    LocalSet::new().block_on(&runtime, limited).unwrap();
}

#[test]
fn calls_pipeline_and_call_back_over_a_socketpair() {
    run(async {
        let (caller, _callee, connection) = joined();
        let sum = AdderRef::from(connection.bootstrap().unwrap());
        assert_eq!(sum.add(2).await.unwrap(), 2);
        assert_eq!(sum.next().next().add(5).await.unwrap(), 7);
        let own = caller
            .vat()
            .turn(|turn| Ok(AdderRef::new(turn, Sum(100))))
            .unwrap();
        assert_eq!(sum.call_back(own, 11).await.unwrap(), 111);
        let refused = sum.add(u64::MAX).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.to_string().contains("too much")),
            (ErrorKind::Failed, true)
        );
        assert_eq!(sum.add(1).await.unwrap(), 3, "the failed turn left a trace");
    });
}

#[test]
fn reads_of_one_message_lead_to_an_offer_and_its_judgement() {
    run(async {
        let (_caller, _callee, connection) = joined();
        let sum = AdderRef::from(connection.bootstrap().unwrap());
        let state = || connection.link.gathering.get();
        for _ in 0..5 {
            sum.add(1).await.unwrap();
        }
        assert!((5..=8).contains(&state().row()), "{:?}", state());
        assert!(!state().was_in_vain());
        for _ in 0..20 {
            sum.add(1).await.unwrap();
        }
        // The peer is in this thread: nobody else can have used the time.
        assert!(state().was_in_vain(), "{:?}", state());
        let calls: Vec<_> = (0..100).map(|_| sum.add(1)).collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(state().row(), 0);
    });
}

#[test]
fn a_peer_that_does_not_read_loses_its_connection() {
    #[vat::interface]
    trait Sink {
        fn put(&mut self, turn: &Turn, bytes: Vec<u8>) -> Result<()>;
    }

    run(async {
        let flags = SocketFlags::CLOEXEC;
        let (a, silent) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let caller = Driver::new(Vat::new("caller"));
        // Calls are refused before the queue is full; what ends the connection is the time.
        let soon = Timeouts::default().with_stall(Some(Duration::from_secs(1)));
        let attach = Attach::plain(None).with_timeouts(soon);
        let connection = caller.attach(Stream::from_socketpair(a).unwrap(), attach);
        let sink = SinkRef::from(connection.bootstrap().unwrap());
        let fill = async {
            loop {
                sink.put(vec![0; 1 << 20]).detach();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = connection.gone() => {}
            () = fill => {}
        }
        let lost = sink.put(Vec::new()).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::Disconnected);
        drop(silent);
    });
}

#[test]
fn a_lost_connection_breaks_what_went_through_it() {
    run(async {
        let (_caller, callee, connection) = joined();
        let sum = AdderRef::from(connection.bootstrap().unwrap());
        assert_eq!(sum.add(2).await.unwrap(), 2);
        drop(callee);
        connection.gone().await;
        assert_eq!(
            sum.add(1).await.unwrap_err().kind(),
            ErrorKind::Disconnected
        );
    });
}

#[test]
fn descriptors_travel_with_references() {
    run(async {
        let (caller, callee, connection) = joined();
        let sum = AdderRef::from(connection.bootstrap().unwrap());
        let pipe = rustix::pipe::pipe().unwrap();
        let own = caller
            .vat()
            .turn(|turn| Ok(AdderRef::new(turn, Sum(1))))
            .unwrap();
        let with_fd = AdderRef::from(Ref::from(own).with_fd(Rc::new(pipe.1)));
        assert_eq!(sum.call_back(with_fd, 1).await.unwrap(), 2);
        drop(callee);
    });
}

#[vat::interface]
trait Store {
    fn load(&self, turn: &Turn, bytes: u32) -> Result<Vec<u8>>;
}

#[derive(vat::Object)]
#[object(external)]
struct Zeros;

thread_local! {
    static SERVED: Cell<usize> = const { Cell::new(0) };
}

impl Store for Zeros {
    fn load(&self, _turn: &Turn, bytes: u32) -> Result<Vec<u8>> {
        SERVED.set(SERVED.get() + 1);
        Ok(vec![0; bytes as usize])
    }
}

/// One end of a connection to `callee`, which offers a store there.
fn store(callee: &Driver, attach: impl FnOnce(Option<Ref>) -> Attach) -> (OwnedFd, Connection) {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let store = callee.vat().turn(|turn| Ok(StoreRef::new(turn, Zeros)));
    let stream = Stream::from_socketpair(theirs).unwrap();
    let connection = callee.attach(stream, attach(Some(store.unwrap().into())));
    (ours, connection)
}

fn caller(callee: &Driver) -> (Driver, Connection, StoreRef) {
    let (ours, _) = store(callee, Attach::sibling);
    let caller = Driver::new(Vat::new("caller"));
    let stream = Stream::from_socketpair(ours).unwrap();
    let connection = caller.attach(stream, Attach::sibling(None));
    let store = StoreRef::from(connection.bootstrap().unwrap());
    (caller, connection, store)
}

/// The most bytes that wait to be sent on any connection while `work` goes on.
async fn most_outbound(driver: &Driver, work: impl Future<Output = ()>) -> usize {
    let mut work = std::pin::pin!(work);
    let mut most = 0;
    std::future::poll_fn(|cx| {
        let links = driver.0.links.borrow();
        for conn in links.keys() {
            let stats = driver.vat().engine(|engine| engine.stats(*conn));
            most = most.max(stats.map_or(0, |stats| stats.outbound_bytes));
        }
        drop(links);
        cx.waker().wake_by_ref();
        work.as_mut().poll(cx)
    })
    .await;
    most
}

#[test]
fn thousands_of_pipelined_calls_with_large_results_succeed_in_bounded_memory() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (_caller, _connection, store) = caller(&callee);
        let calls: Vec<_> = (0..5_000).map(|_| store.load(20 << 10)).collect();
        let all = async {
            for call in calls {
                assert_eq!(call.await.unwrap().len(), 20 << 10);
            }
        };
        let most = most_outbound(&callee, all).await;
        assert!(most > 100 << 10, "{most} bytes waited: not under pressure");
        assert!(most < 2 << 20, "{most} bytes waited");
    });
}

#[test]
fn calls_that_wait_for_answers_that_do_not_come_leave_after_a_while() {
    #[vat::interface]
    trait Silence {
        fn ask(&self, turn: &Turn) -> Result<Promise<u64>>;
    }
    #[derive(vat::Object)]
    #[object(external)]
    struct Silent(Rc<Cell<usize>>, std::cell::RefCell<Vec<Resolver<u64>>>);
    impl Silence for Silent {
        fn ask(&self, turn: &Turn) -> Result<Promise<u64>> {
            self.0.set(self.0.get() + 1);
            let (promise, resolver) = turn.promise();
            self.1.borrow_mut().push(resolver);
            Ok(promise)
        }
    }
    run(async {
        let asked = Rc::<Cell<usize>>::default();
        let silent = Silent(asked.clone(), std::cell::RefCell::default());
        let callee = Driver::new(Vat::new("callee"));
        let boot = callee.vat().turn(|turn| Ok(SilenceRef::new(turn, silent)));
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        let attach = Attach::sibling(Some(boot.unwrap().into()));
        callee.attach(Stream::from_socketpair(theirs).unwrap(), attach);
        let caller = Driver::new(Vat::new("caller"));
        let limits = Limits::default().with_questions_soft(2);
        let connection = caller.attach(
            Stream::from_socketpair(ours).unwrap(),
            Attach::sibling(None).with_limits(limits),
        );
        let silence = SilenceRef::from(connection.bootstrap().unwrap());
        Ref::from(&silence).settled().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begin = tokio::time::Instant::now();
        let calls = caller.vat().turn(|turn| {
            Ok(turn.spawn_async(async move |_| {
                (0..8).for_each(|_| silence.ask().detach());
                Ok(())
            }))
        });
        calls.unwrap().await.unwrap();
        // The window is doubled twice, after 200 ms each, though nothing arrives meanwhile.
        while asked.get() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(begin.elapsed() < Duration::from_secs(5), "{}", asked.get());
        }
        assert!(begin.elapsed() >= Duration::from_millis(350));
    });
}

#[test]
fn a_batch_of_calls_is_one_write_in_each_direction() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (_caller, _connection, store) = caller(&callee);
        store.load(1).await.unwrap();
        // The Finish of the Bootstrap arrives.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (sends, receives) = (count::SENDS.get(), count::RECEIVES.get());
        // Few enough for one round, also without optimisation on a busy machine.
        let calls: Vec<_> = (0..6).map(|_| store.load(8)).collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(count::SENDS.get() - sends, 2);
        assert_eq!(count::RECEIVES.get() - receives, 2);
    });
}

#[test]
fn what_ends_one_chain_leaves_with_the_calls_of_the_next() {
    run(async {
        let (_caller, _callee, connection) = joined();
        let sum = AdderRef::from(connection.bootstrap().unwrap());
        assert_eq!(sum.next().next().add(5).await.unwrap(), 5);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sends = count::SENDS.get();
        // As a task, as programs run: it has its turn before the next round.
        let chains = tokio::task::spawn_local(async move {
            for chain in 1..=3 {
                assert_eq!(sum.next().next().add(5).await.unwrap(), 5);
                assert_eq!(count::SENDS.get() - sends, 2 * chain);
            }
            sum
        });
        let _sum = chains.await.unwrap();
        // When nothing comes next it leaves by itself.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(count::SENDS.get() - sends, 7);
    });
}

/// A Bootstrap as a plain peer sends it.
const BOOTSTRAP: [u8; 40] = [
    0, 0, 0, 0, 4, 0, 0, 0, // one segment of four words
    0, 0, 0, 0, 1, 0, 1, 0, // message: one word of data, one pointer
    8, 0, 0, 0, 0, 0, 0, 0, // bootstrap
    0, 0, 0, 0, 1, 0, 0, 0, // one word of data
    0, 0, 0, 0, 0, 0, 0, 0, // question 0
];

/// How long it takes until the connection is gone.
async fn lasts(connection: &Connection) -> Duration {
    let begin = tokio::time::Instant::now();
    connection.gone().await;
    begin.elapsed()
}

fn short() -> Timeouts {
    let none = Timeouts::none();
    none.with_stall(Some(Duration::from_millis(400)))
        .with_message(Some(Duration::from_millis(400)))
}

#[test]
fn a_peer_that_stops_reading_is_ended_and_others_are_not_affected() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (ours, connection) =
            store(&callee, |boot| Attach::sibling(boot).with_timeouts(short()));
        let caller = Driver::new(Vat::new("caller"));
        let silent = caller.attach(
            Stream::from_socketpair(ours).unwrap(),
            Attach::sibling(None),
        );
        let store = StoreRef::from(silent.bootstrap().unwrap());
        store.load(1).await.unwrap();
        let calls: Vec<_> = (0..300).map(|_| store.load(20 << 10)).collect();
        caller.flushed(Duration::from_secs(1)).await;
        // From now on nothing is read there.
        silent.link.input.borrow_mut().end = 1;
        let (_third, _other, fine) = self::caller(&callee);
        let elsewhere = async {
            loop {
                fine.load(10).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            lasted = lasts(&connection) => {
                assert!(lasted >= Duration::from_millis(350), "{lasted:?}");
                assert!(lasted < Duration::from_secs(3), "{lasted:?}");
            }
            () = elsewhere => {}
        }
        assert_eq!(fine.load(10).await.unwrap().len(), 10);
        drop(calls);
    });
}

#[test]
fn a_message_that_does_not_come_to_its_end_ends_its_connection() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let slow = |boot| Attach::plain(boot).with_timeouts(short());
        let (ours, connection) = store(&callee, slow);
        // One byte after the other is too slow.
        let drip = async {
            for byte in BOOTSTRAP {
                if rustix::io::write(&ours, &[byte]).is_err() {
                    break; // it has ended, as `lasts` says
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            lasted = lasts(&connection) => {
                assert!(lasted >= Duration::from_millis(400), "{lasted:?}");
                assert!(lasted < Duration::from_millis(1_500), "{lasted:?}");
            }
            () = drip => {}
        }
    });
}

#[test]
fn a_caller_that_says_nothing_is_ended() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let limit = Some(Duration::from_millis(300));
        let timeouts = Timeouts::none().with_first_message(limit);
        let attach = |boot| Attach::plain(boot).with_timeouts(timeouts);
        let (_silent, first) = store(&callee, attach);
        let (talks, second) = store(&callee, attach);
        rustix::io::write(&talks, &BOOTSTRAP).unwrap();
        let lasted = lasts(&first).await;
        assert!(lasted >= Duration::from_millis(300), "{lasted:?}");
        assert!(lasted < Duration::from_secs(1), "{lasted:?}");
        let lasted = timeout(Duration::from_millis(500), lasts(&second)).await;
        assert!(lasted.is_err(), "ended after {lasted:?}");
    });
}

#[test]
fn a_connection_that_nobody_needs_is_closed() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let limit = Some(Duration::from_millis(200));
        let timeouts = Timeouts::none().with_idle(limit);
        let attach = |boot| Attach::sibling(boot).with_timeouts(timeouts);
        let (ours, connection) = store(&callee, attach);
        let caller = Driver::new(Vat::new("caller"));
        let here = caller.attach(
            Stream::from_socketpair(ours).unwrap(),
            Attach::sibling(None),
        );
        let store = StoreRef::from(here.bootstrap().unwrap());
        store.load(1).await.unwrap();
        // As long as a reference is held, it stays.
        let held = timeout(Duration::from_millis(900), lasts(&connection)).await;
        assert!(held.is_err(), "closed after {held:?}");
        drop(store);
        caller.flushed(Duration::from_secs(1)).await;
        let lasted = lasts(&connection).await;
        assert!(lasted >= Duration::from_millis(150), "{lasted:?}");
        assert!(lasted < Duration::from_millis(900), "{lasted:?}");
    });
}

#[test]
fn a_peer_with_much_to_do_does_not_keep_another_one_waiting() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (_busy, _one, flood) = caller(&callee);
        let (_other, _two, calm) = caller(&callee);
        calm.load(1).await.unwrap();
        let calls: Vec<_> = (0..4_000).map(|_| flood.load(1)).collect();
        let before = SERVED.get();
        calm.load(1).await.unwrap();
        let served = SERVED.get() - before;
        assert!(served < 1_000, "{served} calls went first");
        for call in calls {
            call.await.unwrap();
        }
    });
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (_caller, _connection, store) = caller(&callee);
        let calls: Vec<_> = (0..100).map(|_| store.load(2_000)).collect();
        for call in calls {
            call.await.unwrap();
        }
        let links = callee.0.links.borrow();
        let link = links.values().next().unwrap();
        assert_eq!(link.input.borrow().buffer.capacity(), 0);
    });
}
