//! Raw public keys beside certificates on one port: callers and answerers of every kind.

use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert},
    sign::SingleCertAndKey,
    version::TLS13,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{credentials, identity, socket_pair};
use crate::net::tls::{CertificateError, PeerInfo};
use crate::net::{AttemptError, HandshakeError, Listener, Socket, Stream};
use crate::sturdy::Address;

/// A caller of vat 1 as vat 2 that is not ours: takes and shows a raw key or a certificate.
fn caller(raw_answerer: bool, raw_caller: bool) -> ClientConfig {
    let connector = credentials(2).connector(identity(1).id());
    let connector = match raw_answerer {
        true => connector,
        false => connector.with_certificates().unwrap(),
    };
    let mut config = (*connector.config()).clone();
    let certified = credentials(2).certified(raw_caller);
    let shown: Arc<dyn ResolvesClientCert> = match raw_caller {
        true => Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)),
        false => Arc::new(SingleCertAndKey::from(certified)),
    };
    config.client_auth_cert_resolver = shown;
    config
}

/// Vat 1 answers this caller.
async fn answer(config: ClientConfig) -> Result<PeerInfo, HandshakeError> {
    let (left, right) = socket_pair();
    let acceptor = credentials(1).acceptor();
    let name = identity(1).id().to_string().try_into().unwrap();
    let right = Socket::from_descriptor(right).unwrap();
    let caller = TlsConnector::from(Arc::new(config));
    let (accepted, called) = tokio::join!(
        Stream::accept_tls(left, Vec::new(), &acceptor),
        caller.connect(name, right)
    );
    assert!(accepted.is_err() || called.is_ok());
    accepted.map(|(_, peer)| peer)
}

#[tokio::test]
async fn each_side_s_key_is_taken_raw_or_in_a_certificate() {
    for (raw_answerer, raw_caller) in [(false, false), (false, true), (true, false), (true, true)] {
        let peer = answer(caller(raw_answerer, raw_caller)).await.unwrap();
        assert_eq!(peer.id, identity(2).id(), "{raw_answerer} {raw_caller}");
        assert!(peer.vat_protocol);
    }
}

#[tokio::test]
async fn a_raw_key_does_not_help_without_its_private_key() {
    // Vat 3 shows the key of vat 2, and signs with its own.
    let stolen = credentials(2).certified(true);
    let own = credentials(3).certified(true);
    let mixed = rustls::sign::CertifiedKey::new(stolen.cert.clone(), own.key.clone());
    let mut config = caller(true, true);
    config.client_auth_cert_resolver =
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(mixed)));
    let error = answer(config).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn what_is_no_ed25519_key_is_refused() {
    let key = credentials(2).certified(true).key.clone();
    let one_byte_more = [&*credentials(2).certified(true).cert[0], &[0]].concat();
    for shown in [vec![0x30; 44], vec![0; 5000], one_byte_more] {
        let shown = rustls::sign::CertifiedKey::new(vec![shown.into()], key.clone());
        let mut config = caller(true, true);
        config.client_auth_cert_resolver =
            Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(shown)));
        let error = answer(config).await.unwrap_err();
        assert!(
            matches!(
                error,
                HandshakeError::Certificate(CertificateError::NotEd25519)
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_raw_key_where_a_certificate_was_agreed_on_is_refused() {
    let mut config = caller(false, false);
    let raw = credentials(2).certified(true);
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(raw));
    let error = answer(config).await.unwrap_err();
    assert!(
        matches!(
            error,
            HandshakeError::Certificate(CertificateError::Malformed)
        ),
        "{error}"
    );
}

async fn listener() -> (Listener, Address) {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind_tcp(address).await.unwrap();
    let address = listener.local_address().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_caller_prefers_raw_keys_and_calls_again_with_certificates() {
    for (raw, calls) in [(true, 1), (false, 2)] {
        let (listener, address) = listener().await;
        let answering = async {
            // In the place of vat 1; it knows one kind of keys only.
            let [certificates, raw_keys] = credentials(1).acceptor().configs();
            let answerer = TlsAcceptor::from(if raw { raw_keys } else { certificates });
            for call in 1..=2 {
                let socket = listener.accept().await.unwrap();
                if let Ok(stream) = answerer.accept(socket).await {
                    return (call, stream);
                }
            }
            panic!("nobody called properly");
        };
        let connector = credentials(2).connector(identity(1).id());
        let addresses = [address];
        let (answered, connected) =
            tokio::join!(answering, Stream::connect(&addresses, &connector));
        assert_eq!(connected.unwrap().1.id, identity(1).id());
        assert_eq!(answered.0, calls, "raw: {raw}");
    }
}

#[tokio::test]
async fn another_vat_is_refused_also_when_called_again_with_certificates() {
    let (listener, address) = listener().await;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let shown = credentials(3).certified(false);
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let impostor = TlsAcceptor::from(Arc::new(config));
    let answering = async {
        loop {
            let socket = listener.accept().await.unwrap();
            drop(impostor.accept(socket).await);
        }
    };
    let connector = credentials(2).connector(identity(1).id());
    let addresses = [address];
    let refused = tokio::select! {
        refused = Stream::connect(&addresses, &connector) => refused.unwrap_err(),
        () = answering => panic!("it answers for ever"),
    };
    let [(_, AttemptError::Handshake(error))] = &*refused.attempts else {
        panic!("{refused}")
    };
    assert!(
        matches!(
            error,
            HandshakeError::Certificate(CertificateError::WrongVat { .. })
        ),
        "{error}"
    );
}

/// OpenSSL calls vat 1 with these further options; what vat 1 says.
async fn s_client(options: &[&str]) -> Result<PeerInfo, HandshakeError> {
    let directory = tempfile::tempdir().unwrap();
    super::python::write_pem(directory.path());
    let (listener, address) = listener().await;
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-tls1_3", "-alpn", "vat/1", "-connect"])
        .arg(address.to_string())
        .args(["-servername", &identity(1).id().to_string()])
        .arg("-cert")
        .arg(directory.path().join("cert.pem"))
        .arg("-key")
        .arg(directory.path().join("key.pem"))
        .args(options);
    let mut openssl = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let socket = listener.accept().await.unwrap().into_descriptor().unwrap();
    let acceptor = credentials(1).acceptor();
    let accepted = Stream::accept_tls(socket, Vec::new(), &acceptor).await;
    openssl.kill().unwrap();
    openssl.wait().unwrap();
    accepted.map(|(_, peer)| peer)
}

#[tokio::test]
async fn openssl_calls_with_certificates_and_where_it_can_with_raw_keys() {
    let Ok(help) = Command::new("openssl").args(["s_client", "-help"]).output() else {
        println!("not proven: there is no openssl here");
        return;
    };
    let peer = s_client(&[]).await.unwrap();
    assert_eq!((peer.id, peer.vat_protocol), (identity(2).id(), true));
    let help = [help.stdout, help.stderr].concat();
    if !String::from_utf8_lossy(&help).contains("enable_server_rpk") {
        println!("not proven: this openssl is older than 3.2 and knows no raw keys");
        return;
    }
    for options in [
        &["-enable_server_rpk"][..],
        &["-enable_client_rpk"],
        &["-enable_server_rpk", "-enable_client_rpk"],
    ] {
        let peer = s_client(options).await.unwrap();
        assert_eq!(peer.id, identity(2).id(), "{options:?}");
    }
}
