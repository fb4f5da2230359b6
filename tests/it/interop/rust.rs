//! capnp-rpc, the Rust implementation, on a thread of its own.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, new_client, new_future_client, twoparty};
use futures::channel::oneshot;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};
use vat::prelude::Promise as OurPromise;

use super::ours::{BATCH, BATCHES, MANY, Ours, PeerRef, within};
use super::transport::{Listening, OURS, Place, THEIRS, Transport, accepted, connected, run};
use crate::peer_capnp::peer::{self, Client};

// ---- what it offers

#[derive(Default)]
struct Thing {
    /// How many objects there are that it made.
    live: Rc<Cell<u64>>,
    _counted: Option<Counted>,
    recorded: RefCell<Vec<u64>>,
    later: RefCell<Vec<oneshot::Sender<Client>>>,
    hanging: RefCell<Vec<oneshot::Sender<()>>>,
    finished: Cell<u64>,
    kept: RefCell<Vec<Client>>,
}

/// One object more, as long as it is there.
struct Counted(Rc<Cell<u64>>);

impl Counted {
    fn new(live: &Rc<Cell<u64>>) -> Self {
        live.set(live.get() + 1);
        Self(Rc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Thing {
    fn counted(live: &Rc<Cell<u64>>) -> Client {
        new_client(Self {
            _counted: Some(Counted::new(live)),
            ..Self::default()
        })
    }
}

fn gone<E>(_: E) -> capnp::Error {
    capnp::Error::failed("the object is gone".to_owned())
}

impl peer::Server for Thing {
    async fn echo(
        self: Rc<Self>,
        params: peer::EchoParams,
        mut results: peer::EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_number() + 1);
        Ok(())
    }

    async fn bytes(
        self: Rc<Self>,
        params: peer::BytesParams,
        mut results: peer::BytesResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_data()?);
        Ok(())
    }

    async fn call_back(
        self: Rc<Self>,
        params: peer::CallBackParams,
        mut results: peer::CallBackResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let value = echo(&params.get_peer()?, params.get_number()).await?;
        results.get().set_value(value);
        Ok(())
    }

    async fn reflect(
        self: Rc<Self>,
        params: peer::ReflectParams,
        mut results: peer::ReflectResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_peer()?);
        Ok(())
    }

    async fn make(
        self: Rc<Self>,
        params: peer::MakeParams,
        mut results: peer::MakeResults,
    ) -> Result<(), capnp::Error> {
        let count = params.get()?.get_count();
        let mut list = results.get().init_value(count);
        for index in 0..count {
            list.set(index, Self::counted(&self.live).client.hook);
        }
        Ok(())
    }

    async fn live(
        self: Rc<Self>,
        _: peer::LiveParams,
        mut results: peer::LiveResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.live.get());
        Ok(())
    }

    async fn record(
        self: Rc<Self>,
        params: peer::RecordParams,
        _: peer::RecordResults,
    ) -> Result<(), capnp::Error> {
        self.recorded.borrow_mut().push(params.get()?.get_number());
        Ok(())
    }

    async fn recorded(
        self: Rc<Self>,
        _: peer::RecordedParams,
        mut results: peer::RecordedResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(&self.recorded.borrow()[..])
    }

    async fn fail(
        self: Rc<Self>,
        params: peer::FailParams,
        _: peer::FailResults,
    ) -> Result<(), capnp::Error> {
        let params = params.get()?;
        let text = params.get_text()?.to_string()?;
        Err(match params.get_kind() {
            0 => capnp::Error::failed(text),
            1 => capnp::Error::overloaded(text),
            2 => capnp::Error::disconnected(text),
            _ => capnp::Error::unimplemented(text),
        })
    }

    /// A promise, which is returned at once.
    async fn later(
        self: Rc<Self>,
        _: peer::LaterParams,
        mut results: peer::LaterResults,
    ) -> Result<(), capnp::Error> {
        let (sender, receiver) = oneshot::channel();
        self.later.borrow_mut().push(sender);
        let promise: Client = new_future_client(async { receiver.await.map_err(gone) });
        results.get().set_value(promise);
        Ok(())
    }

    async fn settle(
        self: Rc<Self>,
        params: peer::SettleParams,
        _: peer::SettleResults,
    ) -> Result<(), capnp::Error> {
        let settled = params.get()?.get_peer()?;
        for later in self.later.take() {
            drop(later.send(settled.clone()));
        }
        for hanging in self.hanging.take() {
            let _: Result<(), ()> = hanging.send(()); // who called may be gone
        }
        Ok(())
    }

    async fn hang(
        self: Rc<Self>,
        _: peer::HangParams,
        mut results: peer::HangResults,
    ) -> Result<(), capnp::Error> {
        let (sender, receiver) = oneshot::channel();
        self.hanging.borrow_mut().push(sender);
        receiver.await.map_err(gone)?;
        self.finished.set(self.finished.get() + 1);
        results.get().set_value(self.finished.get());
        Ok(())
    }

    async fn finished(
        self: Rc<Self>,
        _: peer::FinishedParams,
        mut results: peer::FinishedResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.finished.get());
        Ok(())
    }

    async fn keep(
        self: Rc<Self>,
        params: peer::KeepParams,
        _: peer::KeepResults,
    ) -> Result<(), capnp::Error> {
        for kept in params.get()?.get_peers()? {
            self.kept.borrow_mut().push(kept?);
        }
        Ok(())
    }

    async fn let_go(
        self: Rc<Self>,
        _: peer::LetGoParams,
        mut results: peer::LetGoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(self.kept.take().len() as u64);
        Ok(())
    }
}

// ---- its connections

fn pkcs8(key: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key).unwrap()
}

fn certificate() -> Vec<CertificateDer<'static>> {
    let der = THEIRS.credentials().certificate().to_vec();
    vec![CertificateDer::from(der)]
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts our certificate and no other.
#[derive(Debug)]
struct Pinned;

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(end_entity.as_ref(), OURS.credentials().certificate());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Everything that it sends goes through this. Fails if the TLS handshake does.
async fn open(
    socket: OwnedFd,
    transport: Transport,
    calls: bool,
) -> std::io::Result<Box<dyn Duplex>> {
    if transport == Transport::Unix {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        return Ok(Box::new(tokio::net::UnixStream::from_std(socket)?));
    }
    let socket = std::net::TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpStream::from_std(socket)?;
    let versions = &[&rustls::version::TLS13];
    if calls {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned))
            .with_client_auth_cert(certificate(), pkcs8(THEIRS.key()))
            .unwrap();
        let name = ServerName::try_from(OURS.id().to_string()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Box::new(connector.connect(name, socket).await?))
    } else {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate(), pkcs8(THEIRS.key()))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Box::new(acceptor.accept(socket).await?))
    }
}

fn system(stream: Box<dyn Duplex>, side: Side, offered: Option<Client>) -> RpcSystem<Side> {
    let (read, write) = tokio::io::split(stream);
    let network = twoparty::VatNetwork::new(
        futures::io::BufReader::new(read.compat()),
        futures::io::BufWriter::new(write.compat_write()),
        side,
        capnp::message::ReaderOptions::default(),
    );
    RpcSystem::new(Box::new(network), offered.map(|offered| offered.client))
}

// ---- as the callee

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

// ---- as the caller

async fn echo(peer: &Client, number: u64) -> Result<u64, capnp::Error> {
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

/// Goes through every behaviour; gives back the stream's end, so that it is cut from outside.
async fn call(ours: &Client) {
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
