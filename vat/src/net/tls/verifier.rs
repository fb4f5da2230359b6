//! Which peers are let in: the judgement that TLS asks for while it shakes hands.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature_with_raw_key,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::{
    PROVIDER,
    certificate::{CertificateError, Envelope, peer_id, public_key},
};
use crate::sturdy::VatId;

/// Lets in callers with any ed25519 key, in this envelope.
#[derive(Debug)]
pub(super) struct AnyVat(pub(super) Envelope);

/// Accepts one vat as the one that answers, with its key in this envelope.
#[derive(Debug)]
pub(super) struct ThisVat(pub(super) VatId, pub(super) Envelope);

/// What both judge in the same way, where `$envelope` is the field with the envelope.
macro_rules! judge_signatures {
    ($envelope:tt) => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            shown: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_signature(message, shown, self.$envelope, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            self.$envelope == Envelope::RawKey
        }
    };
}

impl ClientCertVerifier for AnyVat {
    judge_signatures!(0);

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        lone_id(end_entity, intermediates, self.0)?;
        Ok(ClientCertVerified::assertion())
    }
}

impl ServerCertVerifier for ThisVat {
    judge_signatures!(1);

    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = lone_id(end_entity, intermediates, self.1)?;
        if found != self.0 {
            return Err(refusal(CertificateError::WrongVat {
                expected: self.0,
                found,
            }));
        }
        Ok(ServerCertVerified::assertion())
    }
}

fn lone_id(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    envelope: Envelope,
) -> Result<VatId, Error> {
    if !intermediates.is_empty() {
        return Err(refusal(CertificateError::NotOne));
    }
    peer_id(std::slice::from_ref(end_entity), envelope).map_err(refusal)
}

/// Checks the handshake's signature against the very key that was taken out of the certificate, so
/// that it does not matter how another parser would read it.
fn verify_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    envelope: Envelope,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let id = peer_id(std::slice::from_ref(shown), envelope).map_err(refusal)?;
    let algorithms = &PROVIDER.signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &public_key(&id), signature, algorithms)
}

fn refusal(error: CertificateError) -> Error {
    rustls::CertificateError::Other(OtherError(Arc::new(error))).into()
}
