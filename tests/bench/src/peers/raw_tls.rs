//! TLS without anything above it: the frame of a call there and back, one at a time.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Client;

/// Bytes of the Call that `number` makes, framed; its Return is a third shorter.
const FRAME: usize = 120;

pub async fn serve(listener: UnixListener, connections: usize) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(["bench".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate");
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut open = Vec::new();
    for _ in 0..connections {
        let (stream, _) = listener.accept().await.expect("a connection");
        let acceptor = acceptor.clone();
        open.push(tokio::task::spawn_local(async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            let mut frame = [0; FRAME];
            while stream.read_exact(&mut frame).await.is_ok() {
                stream.write_all(&frame).await.expect("a reader");
                stream.flush().await.expect("a reader");
            }
        }));
    }
    for connection in open {
        drop(connection.await);
    }
}

#[derive(Clone)]
pub struct Caller(Rc<Mutex<TlsStream<UnixStream>>>);

impl Client for Caller {
    type Data = Vec<u8>;

    async fn connect(path: &Path) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        let stream = UnixStream::connect(path).await.expect("the server listens");
        let name = ServerName::try_from("bench").expect("a name");
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        Self(Rc::new(Mutex::new(stream.expect("a handshake"))))
    }

    async fn close(self) {}

    async fn number(&self, value: u64) -> u64 {
        let mut frame = [0; FRAME];
        frame[..8].copy_from_slice(&value.to_le_bytes());
        let mut stream = self.0.lock().await;
        stream.write_all(&frame).await.expect("a reader");
        stream.flush().await.expect("a reader");
        stream.read_exact(&mut frame).await.expect("an answer");
        u64::from_le_bytes(frame[..8].try_into().expect("eight bytes"))
    }

    async fn bytes(&self, value: Vec<u8>) -> Vec<u8> {
        value
    }
}

/// The client's keys are not what is measured.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}
