//! Vats of one launcher over socket pairs that somebody else made.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::peers::run;
use super::{credentials, identity};
use crate::Vat;
use crate::net::driver::Driver;
use crate::net::{Dialing, PeerInfo, Peers, Stream};
use crate::prelude::*;
use crate::sturdy::RestorerRef;

/// A vat whose bootstrap is a promise that nobody resolves: its `main` is still running.
struct Starting {
    peers: Peers,
    _resolver: Resolver<RestorerRef>,
}

impl Starting {
    fn new(number: u8) -> Self {
        let driver = Driver::new(Vat::new("starting"));
        let (bootstrap, resolver) = driver.vat().turn(|turn| Ok(turn.promise())).unwrap();
        let bootstrap: RestorerRef = bootstrap;
        let bootstrap = Some(bootstrap.into());
        Self {
            peers: Peers::new(driver, credentials(number), bootstrap, Dialing::nobody()),
            _resolver: resolver,
        }
    }

    /// Takes a stream on which the other one has called.
    fn take(&self, stream: UnixStream, from: &Self) {
        let stream = Stream::sibling(stream.into()).unwrap();
        let (id, vat_protocol) = (from.peers.id(), true);
        let peers = self.peers.clone();
        tokio::task::spawn_local(async move {
            peers.accepted(stream, PeerInfo { id, vat_protocol }).await;
        });
    }
}

#[test]
fn a_sibling_that_is_starting_is_alive() {
    run(async {
        let (lesser, greater) = match identity(1).id() < identity(2).id() {
            true => (Starting::new(1), Starting::new(2)),
            false => (Starting::new(2), Starting::new(1)),
        };
        let (one, other) = UnixStream::pair().unwrap();
        greater.take(one, &lesser);
        lesser.take(other, &greater);
        let kept = |of: &Starting, to: &Starting| of.peers.connected(to.peers.id());
        super::peers::until("they are connected", || {
            kept(&greater, &lesser).is_some() && kept(&lesser, &greater).is_some()
        })
        .await;
        let live = kept(&greater, &lesser).unwrap();
        // The lesser one has called as well, at the same time.
        let (late, dropped) = UnixStream::pair().unwrap();
        greater.take(late, &lesser);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(live.is_open(), "{}", live.end_reason());
        assert_eq!(kept(&greater, &lesser).unwrap().id(), live.id());
        drop(dropped);
    });
}

#[test]
fn a_sibling_that_sends_a_descriptor_loses_its_connection() {
    run(async {
        let (one, other) = UnixStream::pair().unwrap();
        let descriptor = std::fs::File::open("/dev/null").unwrap();
        let descriptor = std::rc::Rc::new(descriptor.into());
        let mut sender = Stream::from_socketpair(one.into()).unwrap();
        let mut receiver = Stream::sibling(other.into()).unwrap();
        assert!(!receiver.passes_descriptors());
        let send = |cx: &mut std::task::Context<'_>| {
            sender.poll_send(cx, b"12345678", std::slice::from_ref(&descriptor))
        };
        assert_eq!(std::future::poll_fn(send).await.unwrap(), 8);
        let refused = receiver.recv(&mut [0; 64]).await.unwrap_err();
        assert!(refused.to_string().contains("takes none"), "{refused}");
    });
}
