//! Unix sockets: what is watched for, and that nothing is missed.

use std::{
    future::poll_fn,
    io::{Read, Write},
    os::unix::net::UnixStream,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::net::{Socket, Stream};

/// Our end, of both kinds, and the peer's.
fn pairs() -> [(Stream, UnixStream); 2] {
    let passing = UnixStream::pair().unwrap();
    let plain = UnixStream::pair().unwrap();
    let socket = Socket::from_descriptor(plain.0.into()).unwrap();
    [
        (
            Stream::from_socketpair(passing.0.into()).unwrap(),
            passing.1,
        ),
        (Stream::plain(socket).unwrap(), plain.1),
    ]
}

/// What comes next, without waiting for anything but the event loop.
async fn received(stream: &mut Stream) -> Vec<u8> {
    let mut buffer = [0; 64];
    let count = soon(stream.recv(&mut buffer)).await.unwrap().bytes;
    buffer[..count].to_vec()
}

/// What is there once the event loop has looked. A look that only a timer brings about is too late.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let result = timeout(Duration::from_secs(5), future).await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "it is not noticed"
    );
    result.expect("it happens")
}

#[tokio::test]
async fn what_a_peer_writes_and_its_end_are_seen_at_once() {
    for (mut stream, mut peer) in pairs() {
        peer.write_all(b"first").unwrap();
        assert_eq!(received(&mut stream).await, b"first");
        // Nothing is left now; what follows comes in one go.
        peer.write_all(b"last").unwrap();
        drop(peer);
        assert_eq!(received(&mut stream).await, b"last");
        assert_eq!(received(&mut stream).await, b"");
    }
    for (mut stream, mut peer) in pairs() {
        peer.write_all(b"only").unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(received(&mut stream).await, b"only");
        assert_eq!(received(&mut stream).await, b"", "half closed");
        // The other half still works.
        poll_fn(|cx| stream.poll_send(cx, b"answer", &[]))
            .await
            .unwrap();
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }
}

#[tokio::test]
async fn whoever_waits_to_read_is_woken_while_the_socket_is_full() {
    for (mut stream, mut peer) in pairs() {
        let piece = [7; 1 << 16];
        let mut buffer = [0; 64];
        let mut full = 0;
        // As a connection's task does it: waits for something to read, then finds no room to write.
        for round in 0..3u8 {
            let both = poll_fn(|cx| {
                if let Poll::Ready(read) = stream.poll_recv(cx, &mut buffer) {
                    return Poll::Ready(read.unwrap().bytes);
                }
                while stream.poll_send(cx, &piece, &[]).is_ready() {
                    full += 1;
                }
                peer.write_all(&[round]).unwrap();
                Poll::Pending
            });
            assert!(soon(both).await > 0);
        }
        assert!(full > 0);
        drop_all(&mut peer);
        // There is room again, and then so often that it is no longer watched for.
        for _ in 0..100 {
            soon(poll_fn(|cx| stream.poll_send(cx, &[1; 8], &[])))
                .await
                .unwrap();
            drop_all(&mut peer);
        }
        peer.write_all(b"more").unwrap();
        while received(&mut stream).await != b"more" {}
    }
}

/// Reads what there is.
fn drop_all(peer: &mut UnixStream) {
    peer.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while peer.read(&mut buffer).is_ok_and(|count| count > 0) {}
    peer.set_nonblocking(false).unwrap();
}
