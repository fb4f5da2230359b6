//! Descriptors beside bytes.

use std::{
    io::{IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use proptest::prelude::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::{Progress, Queued, passing_pair, plain_pair, socket_pair};
use crate::net::{MAX_DESCRIPTORS, Received, Socket, Stream};

/// A file that only `number` is in.
fn numbered(number: u32) -> OwnedFd {
    let file = rustix::fs::memfd_create("number", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&file, &number.to_le_bytes()).unwrap();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    file
}

fn number(file: OwnedFd) -> u32 {
    let mut bytes = [0; 4];
    std::fs::File::from(file).read_exact(&mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// Sends as a hostile peer would: whatever it likes, in one call.
fn send_raw(socket: impl AsFd, bytes: &[u8], descriptors: &[OwnedFd]) {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    let slices = [IoSlice::new(bytes)];
    rustix::net::sendmsg(socket, &slices, &mut control, SendFlags::empty()).unwrap();
}

/// A message of the test's own framing: length, number, count of descriptors, then filling.
struct Message {
    number: u32,
    descriptors: u32,
    len: usize,
}

const HEADER: usize = 12;

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        for (place, value) in [self.len as u32, self.number, self.descriptors]
            .iter()
            .enumerate()
        {
            bytes[place * 4..place * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

/// Puts messages together, and gives descriptors to the last one that begins in a piece.
#[derive(Default)]
struct Framing {
    bytes: Vec<u8>,
    /// Bytes that the message in progress still needs after `bytes`, its begin being known.
    begun: Vec<OwnedFd>,
    complete: Vec<(u32, Vec<u32>)>,
}

impl Framing {
    fn add(&mut self, piece: &[u8], received: Received) {
        let mut descriptors = received.descriptors;
        // Bytes before the piece belong to a message that began earlier.
        let mut begins_here = self.bytes.is_empty();
        self.bytes.extend_from_slice(piece);
        loop {
            let is_complete = self.bytes.len() >= HEADER && self.bytes.len() >= self.field(0);
            if begins_here && (!is_complete || self.bytes.len() == self.field(0)) {
                // Nothing else begins in this piece.
                self.begun.append(&mut descriptors);
            }
            if !is_complete {
                break;
            }
            let (number_of, count) = (self.field(1) as u32, self.field(2));
            let numbers: Vec<u32> = self.begun.drain(..).map(number).collect();
            assert_eq!(numbers.len(), count, "message {number_of}");
            self.complete.push((number_of, numbers));
            let len = self.field(0);
            self.bytes.drain(..len);
            if self.bytes.is_empty() {
                break;
            }
            begins_here = true;
        }
        assert!(descriptors.is_empty(), "descriptors without a message");
    }

    fn field(&self, place: usize) -> usize {
        let bytes = self.bytes[place * 4..place * 4 + 4].try_into().unwrap();
        u32::from_le_bytes(bytes) as usize
    }
}

/// Sends messages and flushes at random, and receives with buffers of random sizes.
async fn run(messages: Vec<Message>, flush: Vec<bool>, sizes: Vec<usize>) {
    let (mut sender, mut receiver) = passing_pair();
    let sent: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message.number,
                (0..message.descriptors)
                    .map(|i| message.number + i)
                    .collect(),
            )
        })
        .collect();
    let send = async move {
        for (message, flush) in messages.into_iter().zip(flush.into_iter().cycle()) {
            let descriptors = (0..message.descriptors).map(|i| numbered(message.number + i));
            sender.queue(&message.encode(), descriptors.collect());
            if flush {
                sender.flush().await.unwrap();
            }
        }
        sender.close().await.unwrap();
    };
    let receive = async move {
        let mut framing = Framing::default();
        for size in sizes.into_iter().cycle() {
            let mut buffer = vec![0; size];
            let received = receiver.recv(&mut buffer).await.unwrap();
            if received.bytes == 0 {
                break;
            }
            let piece = buffer[..received.bytes].to_vec();
            framing.add(&piece, received);
        }
        framing.complete
    };
    let ((), complete) = tokio::join!(send, receive);
    assert_eq!(complete.len(), sent.len());
    assert!(complete == sent, "descriptors came with the wrong message");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn message() -> impl Strategy<Value = (u32, usize)> {
    let descriptors = prop_oneof![3 => Just(0), 1 => 1..=MAX_DESCRIPTORS as u32];
    let len = prop_oneof![8 => HEADER..200, 2 => HEADER..20_000, 1 => HEADER..480_000];
    (descriptors, len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn descriptors_arrive_with_their_message(
        messages in proptest::collection::vec(message(), 1..60),
        flush in proptest::collection::vec(any::<bool>(), 1..20),
        sizes in proptest::collection::vec(prop_oneof![1..100usize, 1000..300_000usize], 1..20),
    ) {
        let messages = messages.into_iter().enumerate().map(|(index, (descriptors, len))| Message {
            number: index as u32 * 100,
            descriptors,
            len,
        });
        runtime().block_on(run(messages.collect(), flush, sizes));
    }
}

#[tokio::test]
async fn received_descriptors_are_close_on_exec() {
    let (mut sender, mut receiver) = passing_pair();
    sender.queue(&[1], vec![numbered(7)]);
    sender.flush().await.unwrap();
    let received = receiver.recv(&mut [0; 10]).await.unwrap();
    let flags = rustix::io::fcntl_getfd(&received.descriptors[0]).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    assert_eq!(number(received.descriptors.into_iter().next().unwrap()), 7);
}

#[tokio::test]
async fn too_many_descriptors_end_the_connection_and_are_closed() {
    let (left, right) = socket_pair();
    let mut stream = Stream::from_socketpair(left).unwrap();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let many: Vec<_> = (0..60).map(|_| write_end.try_clone().unwrap()).collect();
    send_raw(&right, b"x", &many);
    drop((write_end, many));
    let error = stream.recv(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    // A pipe has no writers left once every copy is closed.
    assert_eq!(std::fs::File::from(read_end).read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_descriptor_on_another_kind_of_stream_ends_the_connection_and_is_closed() {
    let (left, right) = socket_pair();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let mut stream = Stream::plain(Socket::from_descriptor(left).unwrap()).unwrap();
    send_raw(&right, b"hello", &[write_end]);
    let error = stream.recv(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(std::fs::File::from(read_end).read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_descriptor_beside_a_first_tls_message_ends_the_connection() {
    let (left, right) = socket_pair();
    let mut socket = Socket::from_descriptor(left).unwrap();
    send_raw(&right, b"\x16", &[numbered(1)]);
    let error = crate::net::client_hello::read(&mut socket)
        .await
        .unwrap_err();
    assert!(
        matches!(error, crate::net::client_hello::ClientHelloError::Io(_)),
        "{error}"
    );
}

#[tokio::test]
async fn only_passing_streams_take_descriptors_to_send() {
    let (mut plain, _) = plain_pair();
    assert!(!plain.passes_descriptors());
    plain.queue(&[1], vec![numbered(1)]);
    let error = plain.flush().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let (mut passing, _) = passing_pair();
    assert!(passing.passes_descriptors());
    passing.queue(&[1], (0..17).map(numbered).collect());
    let error = passing.flush().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let (mut left, mut right) = passing_pair();
    let total: usize = (0..200).map(|i| i * 100 + 1).sum();
    for i in 0..200 {
        let descriptors = if i % 7 == 0 {
            vec![numbered(i)]
        } else {
            Vec::new()
        };
        left.queue(&vec![1; i as usize * 100 + 1], descriptors);
    }
    let mut buffer = vec![0; 1 << 20];
    let mut small = [0; 10];
    let (mut bytes, mut descriptors) = (0, Vec::new());
    while bytes < total {
        // Each future is polled once and dropped, which is where it would lose things.
        tokio::select! {
            biased;
            progress = left.progress(&mut small) => {
                assert!(matches!(progress.unwrap(), Progress::Flushed));
            }
            () = tokio::task::yield_now() => {}
        }
        tokio::select! {
            biased;
            received = right.recv(&mut buffer) => {
                let received = received.unwrap();
                bytes += received.bytes;
                descriptors.extend(received.descriptors.into_iter().map(number));
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(bytes, total);
    assert_eq!(
        descriptors,
        (0..200).filter(|i| i % 7 == 0).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn what_is_no_connected_socket_is_refused() {
    let (read_end, _write_end) = rustix::pipe::pipe().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join("a")).unwrap();
    let (datagram, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (unconnected, _) = {
        use rustix::net::{AddressFamily, SocketType, socket};
        (
            socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap(),
            (),
        )
    };
    let bad: [OwnedFd; 6] = [
        numbered(1),
        read_end,
        listener.into(),
        datagram.into(),
        tcp.into(),
        unconnected,
    ];
    for descriptor in bad {
        let copy = descriptor.try_clone().unwrap();
        let error = Socket::from_descriptor(copy).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
        assert!(Stream::from_socketpair(descriptor).is_err());
    }
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    assert!(Stream::from_socketpair(connected.try_clone().unwrap().into()).is_err());
    let error = Stream::plain(Socket::from_descriptor(connected.into()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[tokio::test]
async fn a_peer_that_closes_is_seen_after_its_last_bytes() {
    let (left, right) = UnixStream::pair().unwrap();
    let mut stream = Queued::from(Stream::from_socketpair(left.into()).unwrap());
    (&right).write_all(b"last").unwrap();
    drop(right);
    assert_eq!(stream.recv(&mut [0; 10]).await.unwrap().bytes, 4);
    assert_eq!(stream.recv(&mut [0; 10]).await.unwrap().bytes, 0);
    stream.queue(&[1], Vec::new());
    let error = stream.flush().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
