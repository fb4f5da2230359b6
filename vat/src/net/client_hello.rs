//! The first message of a TLS caller, read to learn which vat it wants.
//!
//! The launcher owns the listening sockets and reads this much, and no more: the vat that is named
//! gets the connected socket together with the bytes read, and does the whole handshake itself. The
//! launcher never sends a byte of TLS. The bytes are parsed by the same library that parses them
//! again in the vat.

use std::{fmt, io, time::Duration};

use rustls::server::Acceptor;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{Socket, tls};
use crate::sturdy::VatId;

/// Most bytes of a first message. Callers that send more before it is complete are dropped.
pub const MAX_LEN: usize = 4096;

/// Most time until the first message is complete.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A caller's first message.
#[non_exhaustive]
pub struct ClientHello {
    /// The vat that the caller asks for.
    pub vat: VatId,
    /// All that was read from the socket, at most [`MAX_LEN`] bytes; for
    /// [`Stream::accept_tls`](super::Stream::accept_tls).
    pub bytes: Vec<u8>,
}

impl fmt::Debug for ClientHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHello")
            .field("vat", &self.vat)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

/// Reads the first message of a caller.
///
/// # Errors
///
/// See [`ClientHelloError`]. The only right thing to do then is to close the socket.
///
/// # Cancel safety
///
/// Dropping the future loses the bytes read so far; the socket should be closed.
pub async fn read(socket: &mut Socket) -> Result<ClientHello, ClientHelloError> {
    read_within(socket, TIMEOUT).await
}

pub(super) async fn read_within(
    socket: &mut Socket,
    limit: Duration,
) -> Result<ClientHello, ClientHelloError> {
    timeout(limit, read_untimed(socket))
        .await
        .unwrap_or(Err(ClientHelloError::TimedOut))
}

async fn read_untimed(socket: &mut Socket) -> Result<ClientHello, ClientHelloError> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::new();
    let mut buffer = [0; MAX_LEN];
    loop {
        // Never a byte more than allowed is taken out of the socket.
        let room = buffer.get_mut(bytes.len()..).unwrap_or_default();
        if room.is_empty() {
            return Err(ClientHelloError::TooLong);
        }
        let count = socket.read(room).await.map_err(ClientHelloError::Io)?;
        let piece = room.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Err(ClientHelloError::Closed);
        }
        let vat = parse(&mut acceptor, piece)?;
        bytes.extend_from_slice(piece);
        if let Some(vat) = vat {
            return Ok(ClientHello { vat, bytes });
        }
    }
}

/// Adds a piece; the vat that the message names, once it is complete.
fn parse(acceptor: &mut Acceptor, mut piece: &[u8]) -> Result<Option<VatId>, ClientHelloError> {
    while !piece.is_empty() {
        acceptor
            .read_tls(&mut piece)
            .map_err(ClientHelloError::Io)?;
        let accepted = acceptor
            .accept()
            .map_err(|(error, _alert)| ClientHelloError::NotTls(error))?;
        if let Some(accepted) = accepted {
            let hello = accepted.client_hello();
            let name = hello.server_name().ok_or(ClientHelloError::NoServerName)?;
            return tls::named_vat(name)
                .map(Some)
                .ok_or(ClientHelloError::NotAVat);
        }
    }
    Ok(None)
}

/// Why a caller is dropped before any vat hears of it.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum ClientHelloError {
    /// It did not send its first message within [`TIMEOUT`].
    #[error("the caller did not send its first TLS message within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// It closed the connection before its first message was complete.
    #[error("the caller closed the connection before its first TLS message was complete")]
    Closed,
    /// Its first message is longer than [`MAX_LEN`].
    #[error("the caller's first TLS message is longer than {MAX_LEN} bytes")]
    TooLong,
    /// It sent something else.
    #[error("the caller does not speak TLS: {0}")]
    NotTls(rustls::Error),
    /// It does not say which vat it wants.
    #[error("the caller named no vat: it must send the vat id as the server name (SNI)")]
    NoServerName,
    /// It named something else than a vat.
    #[error("the server name (SNI) that the caller sent is not a vat id")]
    NotAVat,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
}
