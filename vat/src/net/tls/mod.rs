//! TLS between vats: version 1.3 only, both sides show an ed25519 key, and the key is the vat's id.
//!
//! A key is shown by itself (a raw public key, RFC 7250) or in an X.509 certificate. The certificate
//! is only the envelope of the key, as widespread TLS libraries know no other. Of a peer's
//! certificate the public key counts and nothing else; that the peer has the private key is shown by
//! the handshake's signature.
//!
//! Both are answered on the same port, each side's key as the caller's first message asks for it.
//! Callers ask for raw keys, and call again with certificates where these are all that is known: the
//! TLS library cannot offer both in one call. There are no session tickets and no early data, which could
//! be replayed. The server name of a connection (SNI) is the text of the vat id, alone.

mod certificate;
mod verifier;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, CommonState, ConfigBuilder, ConfigSide, PeerIncompatible, ServerConfig,
    WantsVerifier, WantsVersions,
    client::{AlwaysResolvesClientRawPublicKeys, Resumption},
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    server::{CertificateType, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use self::certificate::Envelope;
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
    bare: Arc<CertifiedKey>,
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
            bare: Arc::new(certificate::bare(identity)),
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
    pub(super) fn certified(&self, raw: bool) -> Arc<CertifiedKey> {
        match raw {
            true => self.bare.clone(),
            false => self.certified.clone(),
        }
    }

    /// What answers calls to this vat. It takes callers with any key, but none without.
    pub fn acceptor(&self) -> Acceptor {
        use Envelope::{Certificate, RawKey};
        Acceptor {
            id: self.id(),
            certificates: self.answering(Certificate, Certificate),
            raw_caller: self.answering(Certificate, RawKey),
            raw_answerer: self.answering(RawKey, Certificate),
            raw_keys: self.answering(RawKey, RawKey),
        }
    }

    /// Answers with our key in one envelope, and wants the caller's in the other.
    fn answering(&self, ours: Envelope, theirs: Envelope) -> Arc<ServerConfig> {
        let resolver = OwnName {
            id: self.id(),
            envelope: ours,
            certified: match ours {
                Envelope::Certificate => self.certified.clone(),
                Envelope::RawKey => self.bare.clone(),
            },
        };
        let mut config = tls13(ServerConfig::builder_with_provider(PROVIDER.clone()))
            .with_client_cert_verifier(Arc::new(AnyVat(theirs)))
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![VAT_PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Arc::new(config)
    }

    /// What calls the vat `expected`, and accepts no other in its place. It asks for raw keys.
    pub fn connector(&self, expected: VatId) -> Connector {
        Connector {
            expected,
            config: self.calling(expected, Envelope::RawKey),
            fallback: Some(self.calling(expected, Envelope::Certificate)),
        }
    }

    /// Calls with both keys in this envelope.
    fn calling(&self, expected: VatId, envelope: Envelope) -> Arc<ClientConfig> {
        let config = tls13(ClientConfig::builder_with_provider(PROVIDER.clone()))
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(ThisVat(expected, envelope)));
        let mut config = config.with_client_cert_resolver(match envelope {
            Envelope::Certificate => Arc::new(SingleCertAndKey::from(self.certified.clone())),
            Envelope::RawKey => Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.bare.clone())),
        });
        config.alpn_protocols = vec![VAT_PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Arc::new(config)
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
    certificates: Arc<ServerConfig>,
    /// Only the caller shows a raw key.
    raw_caller: Arc<ServerConfig>,
    /// Only we do.
    raw_answerer: Arc<ServerConfig>,
    raw_keys: Arc<ServerConfig>,
}

impl Acceptor {
    /// The vat that answers.
    pub fn id(&self) -> VatId {
        self.id
    }

    /// How to answer this caller: raw keys where it knows them, certificates otherwise.
    pub(super) fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let raw = |known: Option<&[CertificateType]>| {
            known.is_some_and(|known| known.contains(&CertificateType::RawPublicKey))
        };
        let config = match (
            raw(hello.server_cert_types()),
            raw(hello.client_cert_types()),
        ) {
            (false, false) => &self.certificates,
            (false, true) => &self.raw_caller,
            (true, false) => &self.raw_answerer,
            (true, true) => &self.raw_keys,
        };
        config.clone()
    }

    #[cfg(test)]
    pub(super) fn configs(&self) -> [Arc<ServerConfig>; 2] {
        [self.certificates.clone(), self.raw_keys.clone()]
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
    /// Without raw keys, for vats that know certificates only.
    fallback: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// The vat that is called.
    pub fn expected(&self) -> VatId {
        self.expected
    }

    /// The same with certificates instead of raw keys; `None` if it is that already.
    #[must_use]
    pub fn with_certificates(&self) -> Option<Self> {
        Some(Self {
            expected: self.expected,
            config: self.fallback.clone()?,
            fallback: None,
        })
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
        let id = certificate::any_peer_id(connection.peer_certificates().unwrap_or_default())?;
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

/// Whether a handshake failed because the other side does not know raw keys.
pub(super) fn wants_certificates(error: &rustls::Error) -> bool {
    use rustls::AlertDescription::{HandshakeFailure, UnsupportedCertificate};
    matches!(
        error,
        rustls::Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension)
            | rustls::Error::AlertReceived(HandshakeFailure | UnsupportedCertificate)
    )
}

/// Shows the key to callers that ask for this vat, or that do not say for whom they ask.
#[derive(Debug)]
struct OwnName {
    id: VatId,
    envelope: Envelope,
    certified: Arc<CertifiedKey>,
}

impl ResolvesServerCert for OwnName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked_for_us = hello
            .server_name()
            .is_none_or(|name| named_vat(name) == Some(self.id));
        asked_for_us.then(|| self.certified.clone())
    }

    fn only_raw_public_keys(&self) -> bool {
        self.envelope == Envelope::RawKey
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
