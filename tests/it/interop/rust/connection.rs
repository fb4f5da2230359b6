//! Connections of capnp-rpc: over a Unix socket, or over TLS 1.3 through TCP.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::compat::{TokioAsyncReadCompatExt as _, TokioAsyncWriteCompatExt as _};

use crate::interop::transport::{OURS, THEIRS, Transport};
use crate::peer_capnp::peer::Client;

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

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// Everything that it sends goes through this. Fails if the TLS handshake does.
pub(super) async fn open(
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

pub(super) fn system(
    stream: Box<dyn Duplex>,
    side: Side,
    offered: Option<Client>,
) -> RpcSystem<Side> {
    let (read, write) = tokio::io::split(stream);
    let network = twoparty::VatNetwork::new(
        futures::io::BufReader::new(read.compat()),
        futures::io::BufWriter::new(write.compat_write()),
        side,
        capnp::message::ReaderOptions::default(),
    );
    RpcSystem::new(Box::new(network), offered.map(|offered| offered.client))
}
