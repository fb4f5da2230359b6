//! Large messages over real sockets: received where they stay, sent from where they lie.

use super::*;
use crate::Bytes;
use crate::net::{Credentials, Socket};
use crate::sturdy::{Identity, Seed};

#[vat::interface]
trait Mirror {
    fn show(&self, turn: &Turn, what: Bytes) -> Result<Bytes>;
}

#[derive(Clone, vat::Object)]
struct Glass;

impl Mirror for Glass {
    fn show(&self, _: &Turn, what: Bytes) -> Result<Bytes> {
        Ok(what)
    }
}

/// The two ends of a stream of each kind.
async fn streams() -> [(Stream, Stream); 3] {
    let flags = SocketFlags::CLOEXEC;
    let pair = || socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let passing = pair();
    let plain = pair();
    let plain_end = |end| Stream::plain(Socket::from_descriptor(end).unwrap()).unwrap();
    let tls = pair();
    let identity = |seed| Identity::from_seed(&Seed::from_bytes([seed; 32]));
    let credentials = |seed| Credentials::new(&identity(seed)).unwrap();
    let acceptor = credentials(1).acceptor();
    let connector = credentials(2).connector(identity(1).id());
    let (accepted, connected) = tokio::join!(
        Stream::accept_tls(tls.0, Vec::new(), &acceptor),
        Stream::connect_tls(tls.1, &connector),
    );
    [
        (
            Stream::from_socketpair(passing.0).unwrap(),
            Stream::from_socketpair(passing.1).unwrap(),
        ),
        (plain_end(plain.0), plain_end(plain.1)),
        (accepted.unwrap().0, connected.unwrap().0),
    ]
}

#[test]
fn bulk_data_comes_back_as_it_was_over_every_kind_of_stream() {
    run(async {
        for (theirs, ours) in streams().await {
            let callee = Driver::new(Vat::new("callee"));
            let caller = Driver::new(Vat::new("caller"));
            let glass = callee.vat().turn(|turn| Ok(MirrorRef::new(turn, Glass)));
            let _there = callee.attach(theirs, Attach::plain(Some(glass.unwrap().into())));
            let here = caller.attach(ours, Attach::plain(None));
            let mirror = MirrorRef::from(here.bootstrap().unwrap());
            let pattern: Bytes = (0..3u32 << 20).map(|at| (at % 253) as u8).collect();
            // Several at once, small ones between large ones, whole words or not.
            let sizes = [1 << 20, 3, 70_001, 16 << 10, 3 << 20, 0, 65_536, 16_385];
            let calls = sizes.map(|size| (size, mirror.show(pattern.slice(..size))));
            for (size, call) in calls {
                assert!(call.await.unwrap() == pattern[..size], "{size}");
            }
        }
    });
}

/// The begin of a message of one segment of 1 MiB.
fn begun(len: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 0, 2, 0];
    bytes.resize(len, 0);
    bytes
}

#[test]
fn a_connection_that_ends_inside_a_large_message_is_gone_at_once() {
    run(async {
        let callee = Driver::new(Vat::new("callee"));
        for len in [8, 100, 70_000, 150_000] {
            let (ours, connection) = store(&callee, Attach::plain);
            rustix::io::write(&ours, &begun(len)).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(connection.is_open());
            drop(ours);
            assert!(lasts(&connection).await < Duration::from_secs(5));
        }
    });
}

#[test]
fn a_descriptor_inside_a_large_message_ends_the_connection() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::{io::IoSlice, mem::MaybeUninit, os::fd::AsFd as _};

    run(async {
        let callee = Driver::new(Vat::new("callee"));
        let (ours, connection) = store(&callee, Attach::plain);
        rustix::io::write(&ours, &begun(100_000)).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let borrowed = [ours.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
        let more = [IoSlice::new(&[0; 64])];
        sendmsg(&ours, &more, &mut control, SendFlags::empty()).unwrap();
        assert!(lasts(&connection).await < Duration::from_secs(5));
    });
}
