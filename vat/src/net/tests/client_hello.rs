//! Reading the first message of a caller: whole, in pieces, cut off, and anything else.

use std::{io::Write, os::fd::OwnedFd, os::unix::net::UnixStream, time::Duration};

use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::{credentials, identity, socket_pair};
use crate::net::{
    Socket, Stream,
    client_hello::{ClientHello, ClientHelloError, MAX_LEN, read, read_within},
};

/// The first message of vat 2 calling under `name`.
fn hello(name: &str) -> Vec<u8> {
    let config = credentials(2).connector(identity(1).id()).config();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

fn own_hello() -> Vec<u8> {
    hello(&identity(1).id().to_string())
}

/// What becomes of a caller that sends `bytes` and closes.
async fn read_all(bytes: &[u8]) -> Result<ClientHello, ClientHelloError> {
    let (mut writer, reader) = UnixStream::pair().unwrap();
    let mut socket = Socket::from_descriptor(reader.into()).unwrap();
    writer.write_all(bytes).unwrap();
    drop(writer);
    read(&mut socket).await
}

#[tokio::test]
async fn it_names_the_vat_and_keeps_all_bytes() {
    let bytes = own_hello();
    let hello = read_all(&bytes).await.unwrap();
    assert_eq!(hello.vat, identity(1).id());
    assert_eq!(hello.bytes, bytes);
}

#[tokio::test]
async fn it_may_come_byte_by_byte() {
    let bytes = own_hello();
    let (writer, reader) = UnixStream::pair().unwrap();
    let mut writer = Socket::from_descriptor(writer.into()).unwrap();
    let mut socket = Socket::from_descriptor(reader.into()).unwrap();
    let trickle = async {
        for byte in &bytes {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &[*byte])
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (hello, ()) = tokio::join!(read(&mut socket), trickle);
    assert_eq!(hello.unwrap().bytes, bytes);
}

#[tokio::test]
async fn the_vat_completes_the_handshake_with_the_bytes_and_the_socket() {
    let (left, right) = socket_pair();
    let (acceptor, connector) = (
        credentials(1).acceptor(),
        credentials(2).connector(identity(1).id()),
    );
    let route = async {
        let mut socket = Socket::from_descriptor(left).unwrap();
        let hello = read(&mut socket).await.unwrap();
        let passed: OwnedFd = socket.into_descriptor().unwrap();
        Stream::accept_tls(passed, hello.bytes, &acceptor)
            .await
            .unwrap()
    };
    let ((_, caller), connected) = tokio::join!(route, Stream::connect_tls(right, &connector));
    assert_eq!(connected.unwrap().1.id, identity(1).id());
    assert_eq!(caller.id, identity(2).id());
}

#[tokio::test]
async fn every_truncation_is_an_error() {
    let bytes = own_hello();
    for end in 0..bytes.len() {
        let error = read_all(&bytes[..end]).await.unwrap_err();
        assert!(matches!(error, ClientHelloError::Closed), "{end}: {error}");
    }
}

#[tokio::test]
async fn every_flipped_bit_is_an_error_or_still_a_message() {
    let bytes = own_hello();
    let id = identity(1).id();
    let name = id.to_string();
    let start = bytes
        .windows(name.len())
        .position(|window| window == name.as_bytes())
        .unwrap();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[position] ^= 1 << bit;
            // Most changes are in random numbers and keys, which this does not judge.
            if let Ok(hello) = read_all(&changed).await {
                assert_eq!(hello.bytes, changed);
                let is_in_name = (start..start + name.len()).contains(&position);
                let is_case = bit == 5;
                assert_eq!(hello.vat != id, is_in_name && !is_case, "{position} {bit}");
            }
        }
    }
}

#[tokio::test]
async fn other_names_are_refused() {
    let id = identity(1).id().to_string();
    for name in [
        "example.com",
        &format!("{id}.vat"),
        &id[1..],
        &id.replace('a', "b"),
    ] {
        let error = read_all(&hello(name)).await.unwrap_err();
        assert!(
            matches!(error, ClientHelloError::NotAVat),
            "{name}: {error}"
        );
    }
    let error = read_all(&hello("127.0.0.1")).await.unwrap_err();
    assert!(matches!(error, ClientHelloError::NoServerName), "{error}");
    assert_eq!(
        read_all(&hello(&id.to_uppercase())).await.unwrap().vat,
        identity(1).id()
    );
}

#[tokio::test]
async fn other_protocols_are_refused_at_once() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        let error = read_all(bytes).await.unwrap_err();
        assert!(matches!(error, ClientHelloError::NotTls(_)), "{error}");
    }
    assert!(matches!(
        read_all(b"").await.unwrap_err(),
        ClientHelloError::Closed
    ));
}

#[tokio::test]
async fn a_message_that_never_ends_is_cut_off() {
    // A record that announces a message of 65535 bytes, and then more of it.
    let mut bytes = vec![0x16, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff];
    bytes.resize(20_000, 0);
    let (mut writer, reader) = UnixStream::pair().unwrap();
    writer.write_all(&bytes).unwrap();
    let mut socket = Socket::from_descriptor(reader.into()).unwrap();
    let error = read(&mut socket).await.unwrap_err();
    assert!(matches!(error, ClientHelloError::TooLong), "{error}");
    let mut rest = vec![0; 20_000];
    let left = tokio::io::AsyncReadExt::read(&mut socket, &mut rest)
        .await
        .unwrap();
    assert_eq!(left, 20_000 - MAX_LEN, "no more was read than allowed");
}

#[tokio::test]
async fn a_silent_caller_is_dropped_in_time() {
    let (_writer, reader) = socket_pair();
    let mut socket = Socket::from_descriptor(reader).unwrap();
    let begin = std::time::Instant::now();
    let error = read_within(&mut socket, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientHelloError::TimedOut), "{error}");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_bytes_are_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), like_tls: bool) {
        if like_tls {
            let start = [0x16, 3, 1, 0, bytes.len().saturating_sub(5) as u8, 1, 0, 0];
            bytes.splice(..bytes.len().min(8), start);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert!(runtime.block_on(read_all(&bytes)).is_err());
    }
}
