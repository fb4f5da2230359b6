//! Peers that send garbage, stop in the middle, or say nothing: their connection ends, in time.

use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{credentials, drain, identity, socket_pair, tls_pair};
use crate::net::{HandshakeError, Socket, Stream, handshake};

const SHORT: Duration = Duration::from_millis(50);

/// What the answerer says to a caller that sends `bytes` and closes.
async fn accept_bytes(bytes: &[u8]) -> HandshakeError {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    writer.write_all(bytes).unwrap();
    drop(writer);
    let acceptor = credentials(1).acceptor();
    Stream::accept_tls(reader.into(), Vec::new(), &acceptor)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_caller_that_does_not_speak_tls_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 100]] {
        let error = accept_bytes(bytes).await;
        assert!(matches!(error, HandshakeError::Protocol(_)), "{error}");
    }
    let error = accept_bytes(b"").await;
    assert!(matches!(error, HandshakeError::Closed), "{error}");
}

#[tokio::test]
async fn a_silent_peer_is_dropped_by_either_side() {
    let begin = std::time::Instant::now();
    let (left, _silent) = socket_pair();
    let socket = Socket::from_descriptor(left).unwrap();
    let error = handshake::accept(socket, &credentials(1).acceptor(), SHORT)
        .await
        .unwrap_err();
    assert!(matches!(error, HandshakeError::TimedOut), "{error}");

    let (left, _silent) = socket_pair();
    let socket = Socket::from_descriptor(left).unwrap();
    let connector = credentials(1).connector(identity(2).id());
    let error = handshake::connect(socket, &connector, SHORT)
        .await
        .unwrap_err();
    assert!(matches!(error, HandshakeError::TimedOut), "{error}");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn a_trickling_peer_gets_no_more_time_than_a_silent_one() {
    let (left, right) = socket_pair();
    let mut right = Socket::from_descriptor(right).unwrap();
    let trickle = async {
        // The begin of a record of 256 bytes, then one byte every few milliseconds.
        for byte in [0x16, 3, 1, 1, 0, 1, 0, 0, 252]
            .into_iter()
            .chain(std::iter::repeat(0))
        {
            if right.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let socket = Socket::from_descriptor(left).unwrap();
    let acceptor = credentials(1).acceptor();
    tokio::select! {
        accepted = handshake::accept(socket, &acceptor, SHORT) => {
            assert!(matches!(accepted, Err(HandshakeError::TimedOut)));
        }
        () = trickle => panic!("the caller was not dropped"),
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    // A first message as clients of TLS 1.2 send it: version 3.3 and one of its cipher suites.
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    // Extensions: curves, signature algorithms (ed25519 and ecdsa), point formats.
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 6, 0, 4, 8, 7, 4, 3, 0, 11, 0, 2, 1, 0,
    ];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut record = vec![
        0x16,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(hello);
    let error = accept_bytes(&record).await;
    let HandshakeError::Protocol(error) = error else {
        panic!("{error}")
    };
    assert!(
        matches!(error, rustls::Error::PeerIncompatible(_)),
        "{error}"
    );
}

/// Lets vat 2 call vat 1, but only the first `limit` bytes of what it sends arrive.
async fn cut_after(limit: usize) -> Result<(), HandshakeError> {
    let (caller_end, caller_wire) = socket_pair();
    let (answerer_wire, answerer_end) = socket_pair();
    let (mut from_caller, mut to_caller) =
        tokio::io::split(Socket::from_descriptor(caller_wire).unwrap());
    let (mut from_answerer, mut to_answerer) =
        tokio::io::split(Socket::from_descriptor(answerer_wire).unwrap());
    let forward = async {
        let mut left = limit;
        let mut buffer = [0; 100];
        while left > 0 {
            let room = left.min(buffer.len());
            let count = from_caller.read(&mut buffer[..room]).await.unwrap();
            if count == 0 || to_answerer.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            left -= count;
        }
        to_answerer.shutdown().await.unwrap();
    };
    let back = async {
        drop(tokio::io::copy(&mut from_answerer, &mut to_caller).await);
        drop(to_caller.shutdown().await);
    };
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let (accepted, _, (), ()) = tokio::join!(
        async {
            Stream::accept_tls(answerer_end, Vec::new(), &acceptor)
                .await
                .map(drop)
        },
        async { Stream::connect_tls(caller_end, &connector).await.map(drop) },
        forward,
        back,
    );
    accepted
}

#[tokio::test]
async fn a_caller_that_stops_anywhere_in_the_handshake_is_dropped() {
    assert!(
        cut_after(10_000).await.is_ok(),
        "the relay itself does not break anything"
    );
    // The caller's side has more than 400 bytes; its last message ends the handshake.
    for limit in (0..400).step_by(23) {
        let error = cut_after(limit).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Closed), "{limit}: {error}");
    }
}

#[tokio::test]
async fn garbage_after_the_handshake_ends_the_connection_with_an_error() {
    for garbage in [
        &b"\x17\x03\x03\x00\x20"[..],
        b"hello, this is no TLS record at all",
        &[0; 50],
    ] {
        let (left, right) = socket_pair();
        let wire = std::fs::File::from(right.try_clone().unwrap());
        let (acceptor, connector) = (
            credentials(1).acceptor(),
            credentials(2).connector(identity(1).id()),
        );
        let (accepted, connected) = tokio::join!(
            Stream::accept_tls(left, Vec::new(), &acceptor),
            Stream::connect_tls(right, &connector),
        );
        let (mut stream, _connected) = (accepted.unwrap().0, connected.unwrap());
        let mut bytes = garbage.to_vec();
        bytes.resize(64, 7);
        (&wire).write_all(&bytes).unwrap();
        let error = stream.recv(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_without_a_word_is_an_end_like_any_other() {
    let ((mut accepted, _), (mut connected, _)) = tls_pair().await;
    connected.queue(b"half a mess", Vec::new());
    connected.flush().await.unwrap();
    drop(connected);
    assert_eq!(drain(&mut accepted).await.unwrap(), b"half a mess");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_bytes_as_a_first_message_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(accept_bytes(&bytes));
    }
}
