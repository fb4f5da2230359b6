//! The TLS handshake on a connected socket, within its time limit.

use std::{io, time::Duration};

use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

use super::{
    Acceptor, Connector, PeerInfo, Socket, Stream,
    tls::{CertificateError, certificate_error, wants_certificates},
};

/// Most time that a handshake may take, from the first byte on; a slower peer is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum HandshakeError {
    /// The descriptor is not a connected socket.
    #[error("the connection cannot be used: {0}")]
    Socket(io::Error),
    /// The peer did not complete the handshake within [`HANDSHAKE_TIMEOUT`].
    #[error("the peer did not complete the TLS handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TimedOut,
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The peer's certificate is refused: no key, a wrong kind of key, or another vat's.
    #[error(transparent)]
    Certificate(CertificateError),
    /// The peer refused us, by a TLS alert.
    #[error("the peer refused the TLS handshake: {0}")]
    Refused(rustls::Error),
    /// The peer does not speak TLS 1.3 as we do.
    #[error("the TLS handshake failed: {0}")]
    Protocol(rustls::Error),
    /// The connection failed.
    #[error("the connection failed during the TLS handshake: {0}")]
    Io(io::Error),
}

impl HandshakeError {
    /// Whether the same peer may answer a call with certificates instead of raw keys.
    pub fn wants_certificates(&self) -> bool {
        match self {
            Self::Refused(error) | Self::Protocol(error) => wants_certificates(error),
            _ => false,
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) {
            return Self::Closed;
        }
        match error.downcast::<rustls::Error>() {
            Ok(error) => match certificate_error(&error) {
                Some(certificate) => Self::Certificate(certificate),
                None if matches!(error, rustls::Error::AlertReceived(_)) => Self::Refused(error),
                None => Self::Protocol(error),
            },
            Err(error) => Self::Io(error),
        }
    }
}

pub(super) async fn accept(
    socket: Socket,
    acceptor: &Acceptor,
    limit: Duration,
) -> Result<(Stream, PeerInfo), HandshakeError> {
    let accepting = async {
        let started = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket).await?;
        let config = acceptor.config_for(&started.client_hello());
        started.into_stream(config).await
    };
    let stream = timeout(limit, accepting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    let (mut stream, peer) = completed(stream.into())?;
    stream.handshake_done();
    Ok((stream, peer))
}

pub(super) async fn connect(
    socket: Socket,
    connector: &Connector,
    limit: Duration,
) -> Result<(Stream, PeerInfo), HandshakeError> {
    let connecting =
        TlsConnector::from(connector.config()).connect(connector.server_name(), socket);
    let stream = timeout(limit, connecting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    completed(stream.into())
}

fn completed(stream: TlsStream<Socket>) -> Result<(Stream, PeerInfo), HandshakeError> {
    let (_, connection) = stream.get_ref();
    let peer = PeerInfo::of(connection).map_err(HandshakeError::Certificate)?;
    Ok((Stream::tls(stream), peer))
}
