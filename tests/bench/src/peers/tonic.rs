//! tonic: gRPC over HTTP/2.

use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use super::Client;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    #[prost(uint64, tag = "1")]
    pub value: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub value: Vec<u8>,
}

mod stubs {
    include!(concat!(env!("OUT_DIR"), "/bench.Bench.rs"));
}

struct Object;

#[tonic::async_trait]
impl stubs::bench_server::Bench for Object {
    async fn number(&self, request: Request<Number>) -> Result<Response<Number>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

/// Serves until its standard input ends: it does not tell when its connections are gone.
pub async fn serve(listener: UnixListener) {
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop((read, ended));
    });
    let server = Server::builder()
        .max_concurrent_streams(4_096)
        .add_service(stubs::bench_server::BenchServer::new(Object));
    server
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
            drop(end.await);
        })
        .await
        .expect("the server runs");
}

#[derive(Clone)]
pub struct Caller(stubs::bench_client::BenchClient<Channel>);

impl Client for Caller {
    type Data = Vec<u8>;

    async fn connect(path: &Path) -> Self {
        let path: PathBuf = path.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://bench")
            .connect_with_connector(connector)
            .await;
        Self(stubs::bench_client::BenchClient::new(
            channel.expect("the server listens"),
        ))
    }

    async fn close(self) {}

    async fn number(&self, value: u64) -> u64 {
        let answer = self.0.clone().number(Number { value }).await;
        answer.expect("an answer").into_inner().value
    }

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        let answer = self.0.clone().bytes(Bytes { value }).await;
        answer.expect("an answer").into_inner().value
    }
}
