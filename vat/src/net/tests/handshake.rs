//! Who gets through the handshake, and what is carried afterwards.

use std::sync::Arc;

use rustls::{
    ClientConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio_rustls::TlsConnector;

use super::{Queued, credentials, drain, identity, plain_pair, socket_pair, tls_pair};
use crate::net::{
    HandshakeError, Listener, Socket, Stream,
    tls::{CertificateError, VAT_PROTOCOL},
};

#[tokio::test]
async fn both_sides_learn_the_other_vat_and_that_it_speaks_our_protocol() {
    let ((_, caller), (_, answerer)) = tls_pair().await;
    assert_eq!(caller.id, identity(2).id());
    assert_eq!(answerer.id, identity(1).id());
    assert!(caller.vat_protocol && answerer.vat_protocol);
}

#[tokio::test]
async fn a_vat_answers_over_tcp() {
    let listener = Listener::bind_tcp("[::1]:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.local_address().unwrap();
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let accept = async {
        let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
        Stream::accept_tls(socket, Vec::new(), &acceptor)
            .await
            .unwrap()
    };
    let addresses = [address];
    let ((accepted, _), connected) = tokio::join!(accept, Stream::connect(&addresses, &connector));
    let mut accepted = Queued::from(accepted);
    let mut connected = Queued::from(connected.unwrap().0);
    connected.queue(b"hello", Vec::new());
    connected.close().await.unwrap();
    assert_eq!(drain(&mut accepted).await.unwrap(), b"hello");
}

#[tokio::test]
async fn both_directions_go_on_while_both_send_more_than_the_buffers_hold() {
    let ((mut left, _), (mut right, _)) = tls_pair().await;
    let (mut third, mut fourth) = plain_pair();
    for stream in [&mut left, &mut right, &mut third, &mut fourth] {
        for number in 0..100 {
            stream.queue(&vec![number; 20_000], Vec::new());
        }
        assert_eq!(stream.out.len(), 2_000_000);
    }
    async fn exchange(mut stream: Queued) -> usize {
        let mut buffer = vec![0; 5000];
        let mut count = 0;
        while count < 2_000_000 || !stream.out.is_empty() {
            if let super::Progress::Received(piece) = stream.progress(&mut buffer).await.unwrap() {
                assert!(piece.bytes > 0, "closed after {count}");
                count += piece.bytes;
            }
        }
        count
    }
    let counts = tokio::join!(
        exchange(left),
        exchange(right),
        exchange(third),
        exchange(fourth)
    );
    assert_eq!(counts, (2_000_000, 2_000_000, 2_000_000, 2_000_000));
}

#[tokio::test]
async fn another_vat_at_the_address_is_refused_by_the_caller() {
    // Vat 3 answers in the place of vat 1, with its own key, and does not mind the name.
    let raw = credentials(2).connector(identity(1).id());
    let connectors = [raw.with_certificates().unwrap(), raw];
    for (connector, impostor) in connectors.iter().zip(foreign_servers(3)) {
        let (left, right) = socket_pair();
        let (_, refused) = tokio::join!(
            impostor.accept(Socket::from_descriptor(left).unwrap()),
            Stream::connect_tls(right, connector),
        );
        let error = refused.unwrap_err();
        let HandshakeError::Certificate(CertificateError::WrongVat { expected, found }) = error
        else {
            panic!("{error}")
        };
        assert_eq!((expected, found), (identity(1).id(), identity(3).id()));
    }
}

#[tokio::test]
async fn a_caller_that_wants_another_vat_is_refused_by_the_answerer() {
    let (left, right) = socket_pair();
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(3).id()),
    );
    let (accepted, connected) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        Stream::connect_tls(right, &connector),
    );
    assert!(matches!(accepted.unwrap_err(), HandshakeError::Protocol(_)));
    assert!(matches!(connected.unwrap_err(), HandshakeError::Refused(_)));
}

#[tokio::test]
async fn a_caller_without_a_key_is_refused() {
    let error = accept_from(foreign_config().with_no_client_auth())
        .await
        .unwrap_err();
    assert!(
        matches!(error, HandshakeError::Certificate(CertificateError::NotOne)),
        "{error}"
    );
}

#[tokio::test]
async fn a_caller_with_another_kind_of_key_is_refused() {
    // The caller has no key of the kind that was asked for, and rustls shows it all the same.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = foreign_config()
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .unwrap();
    assert!(accept_from(config).await.is_err());
}

#[tokio::test]
async fn a_caller_with_a_chain_of_certificates_is_refused() {
    let (certificate, key) = foreign_certificate(|_| {});
    let config = foreign_config()
        .with_client_auth_cert(vec![certificate.clone(), certificate], key)
        .unwrap();
    let error = accept_from(config).await.unwrap_err();
    assert!(
        matches!(error, HandshakeError::Certificate(CertificateError::NotOne)),
        "{error}"
    );
}

#[tokio::test]
async fn a_caller_with_a_huge_certificate_is_refused() {
    let (certificate, key) = foreign_certificate(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "n".repeat(2000));
    });
    let config = foreign_config()
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let error = accept_from(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            HandshakeError::Certificate(CertificateError::TooLong)
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_ordinary_caller_is_let_in_with_any_names_and_dates_and_without_our_protocol() {
    let (certificate, key) = foreign_certificate(|params| {
        params.not_after = rcgen::date_time_ymd(1999, 1, 1);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "somebody");
    });
    let config = foreign_config()
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let (_, peer) = accept_from(config).await.unwrap();
    assert!(!peer.vat_protocol);
    assert_ne!(peer.id, identity(1).id());
}

#[tokio::test]
async fn a_caller_that_offers_only_another_protocol_is_refused() {
    let (certificate, key) = foreign_certificate(|_| {});
    let mut config = foreign_config()
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(matches!(
        accept_from(config).await.unwrap_err(),
        HandshakeError::Protocol(_)
    ));

    let (certificate, key) = foreign_certificate(|_| {});
    let mut config = foreign_config()
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), VAT_PROTOCOL.to_vec()];
    assert!(accept_from(config).await.unwrap().1.vat_protocol);
}

#[tokio::test]
async fn a_certificate_does_not_help_without_its_private_key() {
    // Vat 3 shows the certificate of vat 2, and signs with its own key.
    let stolen = CertificateDer::from(credentials(2).certificate().to_vec());
    let (_, key) = foreign_certificate(|_| {});
    let provider = rustls::crypto::ring::default_provider();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![stolen], signer);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let config = foreign_config().with_client_cert_resolver(Arc::new(resolver));
    let error = accept_from(config).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Protocol(_)), "{error}");
}

#[test]
fn the_certificate_is_the_same_every_time_and_names_nobody() {
    assert_eq!(credentials(1).certificate(), credentials(1).certificate());
    assert!(credentials(1).certificate().len() < 300);
}

/// Vat 1 answers a caller that is not ours.
async fn accept_from(
    config: ClientConfig,
) -> Result<(Stream, crate::net::PeerInfo), HandshakeError> {
    let (left, right) = socket_pair();
    let acceptor = credentials(1).acceptor();
    let name = ServerName::try_from(identity(1).id().to_string()).unwrap();
    let caller = TlsConnector::from(Arc::new(config));
    let right = Socket::from_descriptor(right).unwrap();
    let (accepted, _) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        caller.connect(name, right)
    );
    accepted
}

/// A caller that takes any answer.
fn foreign_config() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
}

fn foreign_certificate(
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = rcgen::CertificateParams::default();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    (
        certificate.der().clone(),
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    )
}

/// Answerers that show the key of a vat whatever name the caller asks for: in a certificate, and raw.
fn foreign_servers(number: u8) -> [tokio_rustls::TlsAcceptor; 2] {
    let mut raw = false;
    credentials(number).acceptor().configs().map(|config| {
        let mut config = (*config).clone();
        config.cert_resolver = Arc::new(AnyName(number, raw));
        raw = true;
        Arc::new(config).into()
    })
}

#[derive(Debug)]
struct AnyName(u8, bool);

impl rustls::server::ResolvesServerCert for AnyName {
    fn resolve(
        &self,
        _hello: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(credentials(self.0).certified(self.1))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.1
    }
}

#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
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
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
