//! capnp-rpc as the caller: every behaviour, one after the other.

use std::cell::Cell;
use std::rc::Rc;

use capnp_rpc::{new_client, new_future_client};
use futures::channel::oneshot;

use super::thing::Thing;
use crate::interop::ours::{BATCH, BATCHES, MANY, within};
use crate::peer_capnp::peer::{self, Client};

pub(super) async fn echo(peer: &Client, number: u64) -> Result<u64, capnp::Error> {
    let mut request = peer.echo_request();
    request.get().set_number(number);
    Ok(request.send().promise.await?.get()?.get_value())
}

fn reflect(
    peer: &Client,
    what: Client,
) -> capnp::capability::RemotePromise<peer::reflect_results::Owned> {
    let mut request = peer.reflect_request();
    request.get().set_peer(what);
    request.send()
}

fn record(peer: &Client, number: u64) -> capnp::capability::Promise<(), capnp::Error> {
    let mut request = peer.record_request();
    request.get().set_number(number);
    let sent = request.send().promise;
    capnp::capability::Promise::from_future(async move { sent.await.map(drop) })
}

async fn recorded(peer: &Client) -> Vec<u64> {
    let answer = peer.recorded_request().send().promise.await.unwrap();
    answer.get().unwrap().get_value().unwrap().iter().collect()
}

async fn settle(peer: &Client, with: Client) {
    let mut request = peer.settle_request();
    request.get().set_peer(with);
    request.send().promise.await.unwrap();
}

/// Goes through every behaviour.
pub(super) async fn call(ours: &Client) {
    within("call", calls(ours)).await;
    within("callback and pipelining", references(ours)).await;
    within("promises", promises(ours)).await;
    within("late answers", late(ours)).await;
    within("embargo", embargo(ours)).await;
    within("cancel", cancel(ours)).await;
    within("exceptions", exceptions(ours)).await;
    within("large messages", large(ours)).await;
    within("references of ours", made(ours)).await;
    within("references of theirs", kept(ours)).await;
}

async fn calls(ours: &Client) {
    let sent: Vec<_> = (0..100).map(|number| echo(ours, number)).collect();
    for (answer, number) in futures::future::join_all(sent).await.into_iter().zip(1..) {
        assert_eq!(answer.unwrap(), number);
    }
}

async fn call_back(ours: &Client, with: Client, number: u64) -> Result<u64, capnp::Error> {
    let mut request = ours.call_back_request();
    request.get().set_peer(with);
    request.get().set_number(number);
    Ok(request.send().promise.await?.get()?.get_value())
}

async fn references(ours: &Client) {
    let own: Client = new_client(Thing::default());
    assert_eq!(call_back(ours, own, 10).await.unwrap(), 11);
    let first = reflect(ours, ours.clone()).pipeline.get_value();
    let second = reflect(&first, ours.clone()).pipeline.get_value();
    assert_eq!(echo(&second, 20).await.unwrap(), 21);
}

async fn promises(ours: &Client) {
    for broken in [false, true] {
        let (sender, receiver) = oneshot::channel::<Client>();
        let promise: Client = new_future_client(async {
            let thought = "thought better of it".to_owned();
            receiver.await.map_err(|_| capnp::Error::failed(thought))
        });
        let answer = call_back(ours, promise, 30);
        let settle = async {
            echo(ours, 0).await.unwrap();
            match broken {
                true => drop(sender),
                false => drop(sender.send(new_client(Thing::default()))),
            }
        };
        match futures::future::join(answer, settle).await.0 {
            Ok(value) => assert_eq!((value, broken), (31, false)),
            Err(error) => assert!(broken && error.extra.contains("better of it"), "{error}"),
        }
    }
}

async fn late(ours: &Client) {
    let own = Rc::new(Thing::default());
    let thing: Client = capnp_rpc::new_client_from_rc(Rc::clone(&own));
    let later = ours.later_request().send().pipeline.get_value();
    let calls: Vec<_> = (0..5).map(|number| record(&later, number)).collect();
    echo(ours, 0).await.unwrap();
    assert!(own.recorded.borrow().is_empty());
    settle(ours, thing).await;
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*own.recorded.borrow(), [0, 1, 2, 3, 4]);
}

async fn embargo(ours: &Client) {
    let own = Rc::new(Thing::default());
    let thing: Client = capnp_rpc::new_client_from_rc(Rc::clone(&own));
    let sent = reflect(ours, thing);
    let back = sent.pipeline.get_value();
    let mut calls: Vec<_> = (0..3).map(|number| record(&back, number)).collect();
    sent.promise.await.unwrap();
    calls.extend((3..6).map(|number| record(&back, number)));
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(recorded(&back).await, [0, 1, 2, 3, 4, 5]);
    assert_eq!(*own.recorded.borrow(), [0, 1, 2, 3, 4, 5]);
}

async fn finished(ours: &Client) -> u64 {
    let answer = ours.finished_request().send().promise.await.unwrap();
    answer.get().unwrap().get_value()
}

async fn cancel(ours: &Client) {
    let before = finished(ours).await;
    // Dropping the promise sends a Finish.
    drop(ours.hang_request().send());
    settle(ours, new_client(Thing::default())).await;
    assert_eq!(finished(ours).await, before + 1);
}

async fn exceptions(ours: &Client) {
    use capnp::ErrorKind;
    let kinds = [
        ErrorKind::Failed,
        ErrorKind::Overloaded,
        ErrorKind::Disconnected,
        ErrorKind::Unimplemented,
    ];
    for (number, kind) in (0u16..).zip(kinds) {
        let mut request = ours.fail_request();
        request.get().set_kind(number);
        request.get().set_text("no room at the inn");
        let error = request.send().promise.await.err().unwrap();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.extra.contains("no room at the inn"), "{error}");
    }
    let unknown = ours.client.hook.new_call(0x8bad_f00d_8bad_f00d, 0, None);
    let error = unknown.send().promise.await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Unimplemented, "{error}");
}

async fn large(ours: &Client) {
    let data: Vec<u8> = (0..1 << 20)
        .map(|index: u32| index.to_le_bytes()[1])
        .collect();
    let mut request = ours.bytes_request();
    request.get().set_data(&data);
    let answer = request.send().promise.await.unwrap();
    assert!(answer.get().unwrap().get_value().unwrap() == data);
}

async fn made(ours: &Client) {
    let live = async || {
        let answer = ours.live_request().send().promise.await.unwrap();
        answer.get().unwrap().get_value()
    };
    let mut held: Vec<Client> = Vec::new();
    for _ in 0..BATCHES {
        let mut request = ours.make_request();
        request.get().set_count(BATCH);
        let answer = request.send().promise.await.unwrap();
        let list = answer.get().unwrap().get_value().unwrap();
        held.extend(list.iter().map(Result::unwrap));
    }
    assert_eq!(live().await, MANY);
    assert_eq!(echo(&held[4_321], 7).await.unwrap(), 8);
    drop(held);
    while live().await > 0 {
        tokio::task::yield_now().await;
    }
}

async fn kept(ours: &Client) {
    let live = Rc::new(Cell::new(0));
    for _ in 0..BATCHES {
        let mut request = ours.keep_request();
        let mut list = request.get().init_peers(BATCH);
        for index in 0..BATCH {
            list.set(index, Thing::counted(&live).client.hook);
        }
        request.send().promise.await.unwrap();
    }
    assert_eq!(live.get(), MANY);
    let answer = ours.let_go_request().send().promise.await.unwrap();
    assert_eq!(answer.get().unwrap().get_value(), MANY);
    drop(answer);
    while live.get() > 0 {
        tokio::task::yield_now().await;
    }
}
