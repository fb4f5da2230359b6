//! The first bytes of a TLS caller, which the launcher reads to find out which vat is meant: never
//! more than it may, the same however the stream is cut, and never a panic.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tokio::io::AsyncWriteExt;
use vat::net::Socket;
use vat::net::client_hello::{self, ClientHello, ClientHelloError, MAX_LEN};

/// The first byte says how large the pieces are that the stream comes in; the rest is the stream.
pub(crate) fn run(input: &[u8]) -> Result<(), String> {
    let Some((cut, stream)) = input.split_first() else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (whole, pieces) = runtime.block_on(async {
        let size = usize::from(*cut).max(1).max(stream.len() / 64);
        (read(stream, MAX_LEN * 2).await, read(stream, size).await)
    });
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => {
            if whole.vat != pieces.vat {
                return Err(format!("{}, in pieces {}", whole.vat, pieces.vat));
            }
            for read in [whole, pieces] {
                if read.bytes.len() > MAX_LEN {
                    return Err(format!("{} bytes were read", read.bytes.len()));
                }
                if !stream.starts_with(&read.bytes) {
                    return Err("other bytes are passed on than came".to_owned());
                }
            }
            Ok(())
        }
        (Err(whole), Err(pieces)) => {
            match std::mem::discriminant(whole) == std::mem::discriminant(pieces) {
                true => Ok(()),
                false => Err(format!("at once: {whole}; in pieces: {pieces}")),
            }
        }
        (Ok(_), Err(pieces)) => Err(format!("only in pieces: {pieces}")),
        (Err(whole), Ok(_)) => Err(format!("only at once: {whole}")),
    }
}

/// Sends the stream in pieces of this size, and then its end.
async fn read(stream: &[u8], size: usize) -> Result<ClientHello, ClientHelloError> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut socket = Socket::from_descriptor(OwnedFd::from(ours)).expect("a stream socket");
    theirs.set_nonblocking(true).expect("a socket");
    let mut theirs = tokio::net::UnixStream::from_std(theirs).expect("a socket");
    let write = async {
        for piece in stream.chunks(size) {
            // The reader may be content, and gone.
            if theirs.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        drop(theirs.shutdown().await);
        // Until the reader has had its say.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        read = client_hello::read(&mut socket) => read,
        () = write => unreachable!("it waits for the reader"),
    }
}
