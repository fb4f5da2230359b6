//! TLS between vats: version 1.3 only, both sides show an ed25519 key, and the key is the vat's id.
//!
//! The certificate is only the envelope of the key, as widespread TLS libraries know no other. Of a
//! peer's certificate the public key counts and nothing else; that the peer has the private key is
//! shown by the handshake's signature. There are no session tickets and no early data, which could
//! be replayed. The server name of a connection (SNI) is the text of the vat id, alone.

mod certificate;
mod verifier;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, CommonState, ConfigBuilder, ConfigSide, ServerConfig, WantsVerifier,
    WantsVersions,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

pub use self::certificate::{CertificateError, CredentialsError};
use self::verifier::{AnyVat, ThisVat};
use crate::sturdy::{Identity, VatId};

/// The protocol name (ALPN) of a peer that speaks our hello before Cap'n Proto.
///
/// Our callers offer it. A caller that offers no name at all is an ordinary Cap'n Proto peer; one
/// that offers only other names is refused.
pub const VAT_PROTOCOL: &[u8] = b"vat/1";

/// A vat's key as TLS uses it, with the certificate made for it.
#[derive(Clone)]
pub struct Credentials {
    identity: Identity,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// The credentials of `identity`.
    ///
    /// # Errors
    ///
    /// When no certificate can be made, which would be a defect of this library.
    pub fn new(identity: &Identity) -> Result<Self, CredentialsError> {
        let certified = Arc::new(certificate::certify(identity)?);
        Ok(Self {
            identity: identity.clone(),
            certified,
        })
    }

    /// The vat that they prove to be.
    pub fn id(&self) -> VatId {
        self.identity.id()
    }

    /// The key behind them.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The certificate as DER, for libraries that need it beforehand.
    pub fn certificate(&self) -> &[u8] {
        self.certified
            .cert
            .first()
            .map_or(&[], |certificate| certificate)
    }

    #[cfg(test)]
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// What answers calls to this vat. It takes callers with any key, but none without.
    pub fn acceptor(&self) -> Acceptor {
        let resolver = OwnName {
            id: self.id(),
            certified: self.certified.clone(),
        };
        let mut config = tls13(ServerConfig::builder_with_provider(PROVIDER.clone()))
            .with_client_cert_verifier(Arc::new(AnyVat))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![VAT_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Acceptor {
            id: self.id(),
            config: Arc::new(config),
        }
    }

    /// What calls the vat `expected`, and accepts no other in its place.
    pub fn connector(&self, expected: VatId) -> Connector {
        let resolver = SingleCertAndKey::from(self.certified.clone());
        let mut config = tls13(ClientConfig::builder_with_provider(PROVIDER.clone()))
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ThisVat(expected)))
            .with_client_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![VAT_PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Connector {
            expected,
            config: Arc::new(config),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Answers calls to one vat. See [`Credentials::acceptor`].
#[derive(Clone)]
pub struct Acceptor {
    id: VatId,
    config: Arc<ServerConfig>,
}

impl Acceptor {
    /// The vat that answers.
    pub fn id(&self) -> VatId {
        self.id
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Calls one vat. See [`Credentials::connector`].
#[derive(Clone)]
pub struct Connector {
    expected: VatId,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// The vat that is called.
    pub fn expected(&self) -> VatId {
        self.expected
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The server name to send: the vat id, a single DNS label.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        #[expect(
            clippy::expect_used,
            reason = "52 characters of a-z and 2-7 are a DNS label"
        )]
        ServerName::try_from(self.expected.to_string()).expect("a DNS name")
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Which vat is at the other end of a TLS stream, and what it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The vat whose private key the peer has shown to have. It tells who speaks, and authorises
    /// nothing.
    pub id: VatId,
    /// Whether both sides agreed on [`VAT_PROTOCOL`]; if not, the peer speaks Cap'n Proto alone.
    pub vat_protocol: bool,
}

impl PeerInfo {
    /// The peer of a completed handshake.
    pub(super) fn of(connection: &CommonState) -> Result<Self, CertificateError> {
        let id = certificate::peer_id(connection.peer_certificates().unwrap_or_default())?;
        Ok(Self {
            id,
            vat_protocol: connection.alpn_protocol() == Some(VAT_PROTOCOL),
        })
    }
}

/// The vat that a server name (SNI) means, if it is the id of one.
pub(super) fn named_vat(server_name: &str) -> Option<VatId> {
    // DNS names have no case.
    server_name.to_ascii_lowercase().parse().ok()
}

/// Our own judgement about a certificate, if that is what ended a handshake.
pub(super) fn certificate_error(error: &rustls::Error) -> Option<CertificateError> {
    match error {
        rustls::Error::NoCertificatesPresented => Some(CertificateError::NotOne),
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref().copied()
        }
        _ => None,
    }
}

/// Shows the certificate to callers that ask for this vat, or that do not say for whom they ask.
#[derive(Debug)]
struct OwnName {
    id: VatId,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OwnName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked_for_us = hello
            .server_name()
            .is_none_or(|name| named_vat(name) == Some(self.id));
        asked_for_us.then(|| self.certified.clone())
    }
}

fn tls13<S: ConfigSide>(
    builder: ConfigBuilder<S, WantsVersions>,
) -> ConfigBuilder<S, WantsVerifier> {
    #[expect(
        clippy::expect_used,
        reason = "the provider is a constant that has TLS 1.3"
    )]
    builder
        .with_protocol_versions(&[&TLS13])
        .expect("a provider with TLS 1.3")
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));
