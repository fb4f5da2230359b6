//! tarpc with bincode.

use std::path::Path;

use futures::StreamExt as _;
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, serde_transport};

use super::Client;

#[tarpc::service]
pub trait Bench {
    async fn number(value: u64) -> u64;
    async fn bytes(value: Vec<u8>) -> Vec<u8>;
}

#[derive(Clone)]
struct Object;

impl Bench for Object {
    async fn number(self, _: Context, value: u64) -> u64 {
        value
    }

    async fn bytes(self, _: Context, value: Vec<u8>) -> Vec<u8> {
        value
    }
}

pub async fn serve(path: &Path, connections: usize) {
    let listener = serde_transport::unix::listen(path, Bincode::default).await;
    let mut listener = listener.expect("a socket").take(connections);
    let mut open = Vec::new();
    while let Some(transport) = listener.next().await {
        let channel = BaseChannel::with_defaults(transport.expect("a connection"));
        open.push(tokio::spawn(channel.execute(Object.serve()).for_each(
            |response| async move {
                tokio::spawn(response);
            },
        )));
    }
    for channel in open {
        drop(channel.await);
    }
}

#[derive(Clone)]
pub struct Caller(BenchClient);

impl Client for Caller {
    type Data = Vec<u8>;

    async fn connect(path: &Path) -> Self {
        let transport = serde_transport::unix::connect(path, Bincode::default).await;
        let mut config = client::Config::default();
        config.max_in_flight_requests = 4_096;
        config.pending_request_buffer = 4_096;
        Self(BenchClient::new(config, transport.expect("the server listens")).spawn())
    }

    async fn close(self) {}

    async fn number(&self, value: u64) -> u64 {
        let answer = self.0.number(context::current(), value).await;
        answer.expect("an answer")
    }

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        let answer = self.0.bytes(context::current(), value).await;
        answer.expect("an answer")
    }
}
