//! Our side: a vat program that offers what `peer.capnp` says, and one that uses it.

use std::future::Future;
use std::time::Duration;

use vat::net::driver::{Connection, Driver};
use vat::prelude::*;
use vat::schema::Registry;
use vat::schema::text::to_text;
use vat::{Bytes, Vat};

/// What both sides of every test offer.
#[vat::interface(name = "interop::Peer", id = 0xe4a1d3c25b6f7089)]
pub(super) trait Peer {
    /// The number after this one.
    fn echo(&self, turn: &Turn, number: u64) -> Result<u64>;
    /// The same bytes.
    fn bytes(&self, turn: &Turn, data: Bytes) -> Result<Bytes>;
    /// What `peer` echoes.
    fn call_back(&self, turn: &Turn, peer: PeerRef, number: u64) -> Result<Promise<u64>>;
    /// The same reference.
    fn reflect(&self, turn: &Turn, peer: PeerRef) -> Result<PeerRef>;
    /// New objects.
    fn make(&mut self, turn: &Turn, count: u32) -> Result<Vec<PeerRef>>;
    /// How many of the objects that it made are still there.
    fn live(&self, turn: &Turn) -> Result<u64>;
    /// Adds a number to the list.
    fn record(&mut self, turn: &Turn, number: u64) -> Result<()>;
    /// The list.
    fn recorded(&self, turn: &Turn) -> Result<Vec<u64>>;
    /// Fails: 0 failed, 1 overloaded, 2 disconnected, 3 unimplemented.
    fn fail(&self, turn: &Turn, kind: u16, text: String) -> Result<()>;
    /// What `settle` says.
    fn later(&mut self, turn: &Turn) -> Result<PeerRef>;
    /// Answers all that wait in `later` and `hang`.
    fn settle(&mut self, turn: &Turn, peer: PeerRef) -> Result<()>;
    /// An answer once `settle` is called.
    fn hang(&mut self, turn: &Turn) -> Result<Promise<u64>>;
    /// How many `hang`s came to their end.
    fn finished(&self, turn: &Turn) -> Result<u64>;
    /// Holds on to these.
    fn keep(&mut self, turn: &Turn, peers: Vec<PeerRef>) -> Result<()>;
    /// Lets go of all that it keeps. How many these were.
    fn let_go(&mut self, turn: &Turn) -> Result<u64>;
}

#[derive(Clone, Default, vat::Object)]
pub(super) struct Thing {
    made: Vec<WeakNear<Self>>,
    recorded: Vec<u64>,
    later: Vec<Resolver<PeerRef>>,
    hanging: Vec<Resolver<u64>>,
    finished: u64,
    kept: Vec<PeerRef>,
}

impl Peer for Thing {
    fn echo(&self, _: &Turn, number: u64) -> Result<u64> {
        Ok(number + 1)
    }

    fn bytes(&self, _: &Turn, data: Bytes) -> Result<Bytes> {
        Ok(data)
    }

    fn call_back(&self, _: &Turn, peer: PeerRef, number: u64) -> Result<Promise<u64>> {
        Ok(peer.echo(number))
    }

    fn reflect(&self, _: &Turn, peer: PeerRef) -> Result<PeerRef> {
        Ok(peer)
    }

    fn make(&mut self, turn: &Turn, count: u32) -> Result<Vec<PeerRef>> {
        let made = (0..count).map(|_| turn.spawn(Self::default()));
        let made: Vec<Near<Self>> = made.collect();
        self.made.extend(made.iter().map(Near::downgrade));
        Ok(made.iter().map(PeerRef::from).collect())
    }

    fn live(&self, _: &Turn) -> Result<u64> {
        let live = self.made.iter().filter(|made| made.upgrade().is_some());
        Ok(live.count() as u64)
    }

    fn record(&mut self, _: &Turn, number: u64) -> Result<()> {
        self.recorded.push(number);
        Ok(())
    }

    fn recorded(&self, _: &Turn) -> Result<Vec<u64>> {
        Ok(self.recorded.clone())
    }

    fn fail(&self, _: &Turn, kind: u16, text: String) -> Result<()> {
        let kind = KINDS.get(usize::from(kind)).copied();
        Err(Error::new(kind.unwrap_or(ErrorKind::Failed), text))
    }

    fn later(&mut self, turn: &Turn) -> Result<PeerRef> {
        let (promise, resolver) = turn.promise();
        self.later.push(resolver);
        Ok(promise)
    }

    fn settle(&mut self, _: &Turn, peer: PeerRef) -> Result<()> {
        for resolver in self.later.drain(..) {
            resolver.resolve(Ok(peer.clone()));
        }
        for resolver in self.hanging.drain(..) {
            self.finished += 1;
            resolver.resolve(Ok(self.finished));
        }
        Ok(())
    }

    fn hang(&mut self, turn: &Turn) -> Result<Promise<u64>> {
        let (promise, resolver) = turn.promise();
        self.hanging.push(resolver);
        Ok(promise)
    }

    fn finished(&self, _: &Turn) -> Result<u64> {
        Ok(self.finished)
    }

    fn keep(&mut self, _: &Turn, peers: Vec<PeerRef>) -> Result<()> {
        self.kept.extend(peers);
        Ok(())
    }

    fn let_go(&mut self, _: &Turn) -> Result<u64> {
        let kept = std::mem::take(&mut self.kept);
        Ok(kept.len() as u64)
    }
}

/// An interface that nobody implements.
#[vat::interface(name = "interop::Unknown")]
trait Unknown {
    /// Does nothing.
    fn nothing(&self, turn: &Turn) -> Result<()>;
}

pub(super) const KINDS: [ErrorKind; 4] = [
    ErrorKind::Failed,
    ErrorKind::Overloaded,
    ErrorKind::Disconnected,
    ErrorKind::Unimplemented,
];

/// Calls that go out on a reference before it is known to be our own: more than one read brings.
const EARLY: u64 = 300;

/// References in one message.
pub(super) const BATCH: u32 = 50;
/// Batches: with what is held anyway, a little below the limit of 10,000 references.
pub(super) const BATCHES: u32 = 198;
pub(super) const MANY: u64 = BATCH as u64 * BATCHES as u64;

/// Our vat, with one object for the other side.
pub(super) struct Ours {
    pub(super) driver: Driver,
    pub(super) root: PeerRef,
}

impl Ours {
    pub(super) fn new() -> Self {
        let driver = Driver::new(Vat::new("ours"));
        let root = driver
            .vat()
            .turn(|turn| Ok(PeerRef::new(turn, Thing::default())));
        Self {
            root: root.unwrap(),
            driver,
        }
    }

    fn vat(&self) -> &Vat {
        self.driver.vat()
    }

    /// As many calls of `later` and `hang` as these wait.
    pub(super) async fn waits_for(&self, later: usize, hanging: usize) {
        until("calls wait", async || {
            self.look(|thing| (thing.later.len(), thing.hanging.len())) == (later, hanging)
        })
        .await;
    }

    /// What `later` gave out is the first thing that was kept; then the first `hang` is answered,
    /// and nothing else.
    pub(super) fn settle_later(&self) {
        let (later, hanging, kept) = self.look(|thing| {
            let later = thing.later.remove(0);
            (later, thing.hanging.remove(0), thing.kept[0].clone())
        });
        later.resolve(Ok(kept));
        hanging.resolve(Ok(0));
    }

    fn look<R>(&self, look: impl FnOnce(&mut Thing) -> R) -> R {
        let looked = self.vat().turn(|turn| {
            let thing = self.root.downcast::<Thing>(turn);
            thing.unwrap().with(turn, look)
        });
        looked.unwrap()
    }

    fn thing(&self) -> PeerRef {
        let made = self
            .vat()
            .turn(|turn| Ok(PeerRef::new(turn, Thing::default())));
        made.unwrap()
    }

    /// Waits until the vat has no objects but these.
    pub(super) async fn has_objects(&self, count: usize) {
        until("objects of ours go away", async || {
            self.vat().objects() == count
        })
        .await;
    }

    /// Goes through every behaviour as the caller, but the last one.
    pub(super) async fn call(&self, peer: &PeerRef, keeps_kinds: bool) {
        let before = self.vat().objects();
        within("call", self.calls(peer)).await;
        within("callback and pipelining", self.references(peer)).await;
        within("promises", self.promises(peer)).await;
        within("late answers", self.late(peer)).await;
        within("embargo", self.embargo(peer)).await;
        within("lost interest", lost_interest(&self.root, peer)).await;
        within("exceptions", exceptions(peer, keeps_kinds)).await;
        within("large messages", large(peer)).await;
        within("references of theirs", theirs(peer)).await;
        within("references of ours", self.ours(peer)).await;
        self.has_objects(before).await;
    }

    async fn calls(&self, peer: &PeerRef) {
        let answers: Vec<_> = (0..100).map(|number| peer.echo(number)).collect();
        for (number, answer) in (0..).zip(answers) {
            assert_eq!(answer.await.unwrap(), number + 1);
        }
    }

    async fn references(&self, peer: &PeerRef) {
        assert_eq!(peer.call_back(self.root.clone(), 10).await.unwrap(), 11);
        let chain = peer.reflect(peer.clone()).reflect(peer.clone());
        assert_eq!(chain.echo(20).await.unwrap(), 21);
    }

    async fn promises(&self, peer: &PeerRef) {
        let promise = || {
            self.vat()
                .turn(|turn| Ok(turn.promise::<PeerRef>()))
                .unwrap()
        };
        let (kept, resolver) = promise();
        let answer = peer.call_back(kept, 30);
        // It is there by now, and waits.
        peer.echo(0).await.unwrap();
        assert!(answer.try_take().is_none());
        resolver.resolve(Ok(self.root.clone()));
        assert_eq!(answer.await.unwrap(), 31);

        let (broken, resolver) = promise();
        let answer = peer.call_back(broken, 40);
        peer.echo(0).await.unwrap();
        resolver.resolve(Err(Error::failed("thought better of it")));
        let error = answer.await.unwrap_err().to_string();
        assert!(error.contains("thought better of it"), "{error}");
    }

    async fn late(&self, peer: &PeerRef) {
        let thing = self.thing();
        let later = peer.later();
        for number in 0..5 {
            later.record(number).detach();
        }
        peer.echo(0).await.unwrap();
        assert!(thing.recorded().await.unwrap().is_empty());
        peer.settle(thing.clone()).await.unwrap();
        assert_eq!(later.recorded().await.unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(thing.recorded().await.unwrap(), [0, 1, 2, 3, 4]);
    }

    async fn embargo(&self, peer: &PeerRef) {
        let thing = self.thing();
        let back = peer.reflect(thing.clone());
        for number in 0..EARLY {
            back.record(number).detach();
        }
        // In the first turn in which it is known: the early calls are on their way back.
        let known = back.clone();
        let late = back.settled().then(move |_, settled| {
            for number in EARLY..EARLY + 3 {
                known.record(number).detach();
            }
            settled
        });
        late.await.unwrap();
        let expected: Vec<u64> = (0..EARLY + 3).collect();
        assert_eq!(back.recorded().await.unwrap(), expected);
        assert_eq!(back.same(&thing), Some(true), "it is our own object");
    }

    async fn ours(&self, peer: &PeerRef) {
        let before = self.vat().objects();
        for _ in 0..BATCHES {
            let things = (0..BATCH).map(|_| self.thing()).collect();
            peer.keep(things).await.unwrap();
        }
        let there = self.vat().objects() - before;
        assert_eq!(there as u64, MANY);
        assert_eq!(peer.let_go().await.unwrap(), MANY);
        self.has_objects(before).await;
    }

    /// Ten calls are under way when the connection ends; `end` ends it.
    pub(super) async fn lose(&self, peer: PeerRef, connection: Connection, end: impl FnOnce()) {
        let calls: Vec<_> = (0..10).map(|_| peer.hang()).collect();
        peer.echo(0).await.unwrap();
        end();
        within("the end of the connection", async {
            for call in calls {
                assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Disconnected);
            }
            let after = peer.echo(0).await;
            assert_eq!(after.unwrap_err().kind(), ErrorKind::Disconnected);
            connection.gone().await;
            self.has_objects(1).await;
        })
        .await;
    }
}

async fn lost_interest(ours: &PeerRef, peer: &PeerRef) {
    let before = peer.finished().await.unwrap();
    peer.hang().detach();
    peer.settle(ours.clone()).await.unwrap();
    assert_eq!(peer.finished().await.unwrap(), before + 1);
}

async fn exceptions(peer: &PeerRef, keeps_kinds: bool) {
    for (number, kind) in (0u16..).zip(KINDS) {
        let expected = if keeps_kinds { kind } else { ErrorKind::Failed };
        let error = peer.fail(number, "no room at the inn").await.unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        assert!(error.to_string().contains("no room at the inn"), "{error}");
    }
    let unknown = UnknownRef::from(Ref::from(peer.clone()));
    let error = unknown.nothing().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
}

async fn large(peer: &PeerRef) {
    let data: Vec<u8> = (0..1 << 20)
        .map(|index: u32| index.to_le_bytes()[1])
        .collect();
    // Small ones lie in the message, large ones in a segment of their own, of whole words or not.
    for size in [
        0,
        1,
        1 << 10,
        (16 << 10) - 1,
        16 << 10,
        (16 << 10) + 1,
        1 << 20,
    ] {
        let data = Bytes::copy_from_slice(&data[..size]);
        assert!(peer.bytes(data.clone()).await.unwrap() == data, "{size}");
    }
    let error = peer.bytes(vec![0; 9 << 20].into()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("above the limit"), "{error}");
    assert_eq!(peer.echo(1).await.unwrap(), 2, "the connection goes on");
}

async fn theirs(peer: &PeerRef) {
    let mut held = Vec::new();
    for _ in 0..BATCHES {
        held.extend(peer.make(BATCH).await.unwrap());
    }
    assert_eq!(peer.live().await.unwrap(), MANY);
    assert_eq!(held[4_321].echo(7).await.unwrap(), 8);
    drop(held);
    until("objects of theirs go away", async || {
        peer.live().await.unwrap() == 0
    })
    .await;
}

/// Runs one behaviour, which must not take long.
pub(super) async fn within(what: &str, work: impl Future<Output = ()>) {
    println!("{what}");
    let done = tokio::time::timeout(Duration::from_secs(60), work).await;
    assert!(done.is_ok(), "{what}: no end after 60 s");
}

async fn until(what: &str, done: impl AsyncFn() -> bool) {
    within(what, async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The other sides are generated from the file.
#[test]
fn the_committed_interface_is_ours() {
    let mut types = Registry::default();
    <PeerRef as vat::Data>::describe(&mut types);
    let printed = to_text(&types.into_description(0), "interop/peer.capnp");
    assert!(
        printed == include_str!("peer.capnp"),
        "tests/it/interop/peer.capnp should be (then run .ci/generate):\n{printed}"
    );
}
