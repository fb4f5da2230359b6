//! capnp-rpc, the Rust implementation, on a thread of its own.

use std::any::Any;

use capnp_rpc::new_client;
use capnp_rpc::rpc_twoparty_capnp::Side;
use futures::channel::oneshot;
use vat::prelude::Promise as OurPromise;

use super::ours::{BATCH, Ours, PeerRef};
use super::transport::{Listening, Place, Transport, accepted, connected, run};
use crate::peer_capnp::peer::Client;

mod calls;
mod connection;
mod thing;

use calls::{call, echo};
use connection::{open, system};
use thing::Thing;

/// Serves one connection, until told to drop it.
async fn serve(listening: Listening, transport: Transport, stop: oneshot::Receiver<()>) {
    // Who asks for what this library does not know calls again.
    let stream = loop {
        if let Ok(stream) = open(listening.accept(), transport, false).await {
            break stream;
        }
    };
    let system = system(stream, Side::Server, Some(new_client(Thing::default())));
    let system = tokio::task::spawn_local(system);
    let _: Result<(), oneshot::Canceled> = stop.await;
    system.abort();
}

fn we_call(transport: Transport) {
    let directory = tempfile::tempdir().unwrap();
    let listening = Listening::new(transport, directory.path());
    let place = listening.place();
    let (stop, stopped) = oneshot::channel();
    let theirs = std::thread::spawn(move || run(serve(listening, transport, stopped)));
    run(async {
        let ours = Ours::new();
        let connection = connected(&ours, &place).await;
        let peer = PeerRef::from(connection.bootstrap().unwrap());
        ours.call(&peer, true).await;
        let end = || stop.send(()).unwrap();
        ours.lose(peer, connection, end).await;
    });
    theirs.join().unwrap();
}

/// How it leaves.
#[derive(Clone, Copy)]
enum End {
    /// In the middle of calls, holding references.
    Abrupt,
    /// It sends what is too large.
    TooLarge,
}

/// What it still holds as it leaves.
type Left = Option<Box<dyn Any>>;

async fn leave(ours: &Client, end: End) -> Left {
    match end {
        End::Abrupt => {
            let mut request = ours.make_request();
            request.get().set_count(BATCH);
            let held = request.send().promise.await.unwrap();
            let calls: Vec<_> = (0..10).map(|_| ours.hang_request().send()).collect();
            echo(ours, 0).await.unwrap();
            Some(Box::new((held, calls)))
        }
        End::TooLarge => {
            let mut request = ours.bytes_request();
            request.get().init_data(9 << 20);
            assert!(request.send().promise.await.is_err());
            None
        }
    }
}

async fn visit(place: Place, transport: Transport, end: End) {
    let stream = open(place.connect(), transport, true).await.unwrap();
    let mut system = system(stream, Side::Client, None);
    let ours: Client = system.bootstrap(Side::Server);
    let system = tokio::task::spawn_local(system);
    match end {
        End::Abrupt => call(&ours).await,
        End::TooLarge => assert_eq!(echo(&ours, 1).await.unwrap(), 2),
    }
    // Without a Finish or a Release.
    let left = leave(&ours, end).await;
    system.abort();
    drop(system.await);
    drop(left);
}

fn they_call(transport: Transport) {
    for end in [End::Abrupt, End::TooLarge] {
        let directory = tempfile::tempdir().unwrap();
        let listening = Listening::new(transport, directory.path());
        let place = listening.place();
        let theirs = std::thread::spawn(move || run(visit(place, transport, end)));
        run(async {
            let ours = Ours::new();
            let connection = accepted(&ours, listening.accept(), transport).await;
            connection.gone().await;
            ours.has_objects(1).await;
            let still: OurPromise<u64> = ours.root.echo(1);
            assert_eq!(still.await.unwrap(), 2);
        });
        theirs.join().unwrap();
    }
}

#[test]
fn we_call_capnp_rpc_over_a_unix_socket() {
    we_call(Transport::Unix);
}

#[test]
fn we_call_capnp_rpc_over_tls() {
    we_call(Transport::Tls);
}

#[test]
fn capnp_rpc_calls_us_over_a_unix_socket() {
    they_call(Transport::Unix);
}

#[test]
fn capnp_rpc_calls_us_over_tls() {
    they_call(Transport::Tls);
}
