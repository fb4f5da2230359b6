//! The floor: the bytes of these calls and answers, without an engine, a runtime or a check of
//! anything but their length. What no implementation can get below.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

use crate::load::Amount;

/// A framed Call of `number` to import 0: segment table, Message, Call, target, Payload, params.
const CALL: [u64; 15] = [
    14 << 32,
    structure(0, 1, 1),
    2,
    structure(0, 3, 3),
    0, // question id; method 0; results to the caller
    0xe1c7_a290_5b3d_4f68,
    0,
    structure(2, 1, 1),
    structure(3, 0, 2),
    0,
    0,
    0,
    structure(1, 1, 0),
    0,
    0, // the number
];

/// Its Return: segment table, Message, Return, Payload, results.
const RETURN: [u64; 10] = [
    9 << 32,
    structure(0, 1, 1),
    3,
    structure(0, 2, 1),
    2 << 32, // answer id; no Finish needed
    0,
    structure(0, 0, 2),
    structure(1, 1, 0),
    0,
    0, // the number
];

const fn structure(offset: u64, data: u64, pointers: u64) -> u64 {
    offset << 2 | data << 32 | pointers << 48
}

fn put(out: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}

fn word(frame: &[u8], index: usize) -> u64 {
    let bytes = frame[index * 8..][..8].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes"))
}

/// Reads what is there and hands on every whole frame of this length.
fn frames(
    stream: &mut UnixStream,
    buffer: &mut Vec<u8>,
    words: usize,
    mut each: impl FnMut(&[u8]),
) -> bool {
    let held = buffer.len();
    buffer.resize(held + (64 << 10), 0);
    let count = stream.read(&mut buffer[held..]).unwrap_or(0);
    buffer.truncate(held + count);
    let whole = buffer.len() / (words * 8) * (words * 8);
    buffer[..whole].chunks_exact(words * 8).for_each(&mut each);
    buffer.drain(..whole);
    count > 0
}

pub fn serve(listener: &UnixListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        loop {
            let open = frames(&mut stream, &mut buffer, CALL.len(), |call| {
                let mut answer = RETURN;
                answer[4] |= word(call, 4) & 0xffff_ffff;
                answer[9] = word(call, 14);
                put(&mut out, &answer);
            });
            if !open || stream.write_all(&out).is_err() {
                break;
            }
            out.clear();
        }
    }
}

pub struct Caller(UnixStream);

impl Caller {
    pub fn connect(path: &Path) -> Self {
        Self(UnixStream::connect(path).expect("the server listens"))
    }

    /// Keeps that many calls outstanding.
    pub fn calls(&mut self, outstanding: usize, amount: Amount) -> u64 {
        let (mut buffer, mut out) = (Vec::new(), Vec::new());
        let start = Instant::now();
        let (mut sent, mut answered) = (0, 0);
        let more = |sent: u64| match amount {
            Amount::Calls(calls) => sent < calls,
            Amount::Time(time) => !sent.is_multiple_of(64) || start.elapsed() < time,
        };
        let mut ended = false;
        let mut one = |sent: &mut u64, out: &mut Vec<u8>| {
            ended = ended || !more(*sent);
            if !ended {
                let mut call = CALL;
                call[4] = *sent & 0xffff_ffff;
                call[14] = *sent;
                put(out, &call);
                *sent += 1;
            }
        };
        for _ in 0..outstanding {
            one(&mut sent, &mut out);
        }
        while answered < sent {
            self.0.write_all(&out).expect("a reader");
            out.clear();
            let open = frames(&mut self.0, &mut buffer, RETURN.len(), |_| {
                answered += 1;
                one(&mut sent, &mut out);
            });
            assert!(open, "the server is gone");
        }
        answered
    }
}
