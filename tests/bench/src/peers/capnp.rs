//! capnp-rpc, the Rust implementation.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem, new_client, twoparty};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

use super::{Client, References};
use crate::bench_capnp::bench;

struct Object;

impl bench::Server for Object {
    async fn number(
        self: Rc<Self>,
        params: bench::NumberParams,
        mut results: bench::NumberResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_value());
        Ok(())
    }

    async fn bytes(
        self: Rc<Self>,
        params: bench::BytesParams,
        mut results: bench::BytesResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_value()?);
        Ok(())
    }

    async fn next(
        self: Rc<Self>,
        _: bench::NextParams,
        mut results: bench::NextResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(new_client(Self));
        Ok(())
    }

    async fn many(
        self: Rc<Self>,
        params: bench::ManyParams,
        mut results: bench::ManyResults,
    ) -> Result<(), capnp::Error> {
        let count = params.get()?.get_count();
        let mut list = results.get().init_value(count);
        for index in 0..count {
            let object: bench::Client = new_client(Self);
            list.set(index, object.client.hook);
        }
        Ok(())
    }
}

type Network = twoparty::VatNetwork<
    futures::io::BufReader<tokio_util::compat::Compat<tokio::net::unix::OwnedReadHalf>>,
>;

fn network(stream: UnixStream, side: Side) -> Box<Network> {
    let (read, write) = stream.into_split();
    Box::new(twoparty::VatNetwork::new(
        futures::io::BufReader::new(read.compat()),
        futures::io::BufWriter::new(write.compat_write()),
        side,
        capnp::message::ReaderOptions {
            traversal_limit_in_words: None,
            ..Default::default()
        },
    ))
}

pub async fn serve(listener: UnixListener, connections: usize) {
    let object: bench::Client = new_client(Object);
    let mut open = Vec::new();
    for _ in 0..connections {
        let Ok((stream, _)) = listener.accept().await else {
            return;
        };
        let system = RpcSystem::new(network(stream, Side::Server), Some(object.clone().client));
        open.push(tokio::task::spawn_local(system));
    }
    for system in open {
        drop(system.await);
    }
}

#[derive(Clone)]
pub struct Caller(bench::Client, Rc<Cell<Option<Disconnector<Side>>>>);

impl Client for Caller {
    type Data = Vec<u8>;

    async fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.expect("the server listens");
        let mut system = RpcSystem::new(network(stream, Side::Client), None);
        let object = system.bootstrap(Side::Server);
        let disconnector = system.get_disconnector();
        tokio::task::spawn_local(system);
        Self(object, Rc::new(Cell::new(Some(disconnector))))
    }

    async fn close(self) {
        if let Some(disconnector) = self.1.take() {
            drop(disconnector.await);
        }
    }

    async fn number(&self, value: u64) -> u64 {
        let mut request = self.0.number_request();
        request.get().set_value(value);
        let response = request.send().promise.await.expect("an answer");
        response.get().expect("results").get_value()
    }

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        let mut request = self.0.bytes_request();
        request.get().set_value(&value);
        let response = request.send().promise.await.expect("an answer");
        let answered = response.get().and_then(|results| results.get_value());
        assert_eq!(answered.expect("results").len(), value.len());
        value
    }
}

impl References for Caller {
    type Reference = bench::Client;

    async fn chain(&self, length: usize) -> u64 {
        let mut object = self.0.clone();
        for _ in 0..length {
            object = object.next_request().send().pipeline.get_value();
        }
        Self(object, Rc::default()).number(7).await
    }

    async fn many(&self, count: u32) -> Vec<bench::Client> {
        let mut request = self.0.many_request();
        request.get().set_count(count);
        let response = request.send().promise.await.expect("an answer");
        let list = response.get().and_then(|results| results.get_value());
        let list = list.expect("results");
        (0..list.len())
            .map(|index| list.get(index).expect("a reference"))
            .collect()
    }
}
