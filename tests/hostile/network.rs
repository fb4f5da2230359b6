//! Attempts upon the network and upon other programs' sockets.

use super::{Outcome, Probe, Refused, attempt, call, word};

const STREAM: i32 = libc::SOCK_STREAM;
const DATAGRAM: i32 = libc::SOCK_DGRAM;
const MPTCP: i32 = 262;
const TCP_FAST_OPEN: usize = 0x2000_0000;

pub(super) const PROBES: &[Probe] = &[
    ("listen on TCP", || listen(STREAM, 0)),
    ("connect to TCP", || connect(STREAM, 0)),
    ("listen on MPTCP", || listen(STREAM, MPTCP)),
    ("connect to MPTCP", || connect(STREAM, MPTCP)),
    ("listen on TCP with IPv6", || {
        let address = [[10_u8, 0].as_slice(), &[0; 26]].concat();
        let socket = socket(libc::AF_INET6, STREAM, 0)?;
        let outcome = bind(&socket, &address);
        outcome.and_then(|()| attempt(libc::SYS_listen, &[socket.0, 1]))
    }),
    ("bind and send with UDP", || {
        let receiver = inet(DATAGRAM, 0)?;
        let address = receiver.address()?;
        let sender = socket(libc::AF_INET, DATAGRAM, 0)?;
        let to = address.as_ptr() as usize;
        attempt(libc::SYS_sendto, &[sender.0, to, 1, 0, to, address.len()])
    }),
    ("open a raw IP socket", || {
        socket(libc::AF_INET, libc::SOCK_RAW, 1).map(drop)
    }),
    ("open a packet socket", || {
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0x300).map(drop)
    }),
    ("bind a netlink socket", || {
        let socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, 0)?;
        bind(&socket, &[16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }),
    ("open a VM socket", || {
        socket(libc::AF_VSOCK, STREAM, 0).map(drop)
    }),
    ("open a kernel crypto socket", || {
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0).map(drop)
    }),
    ("listen on an abstract Unix socket", || {
        let socket = socket(libc::AF_UNIX, STREAM, 0)?;
        bind(&socket, b"\x01\0\0vat-hostile-listener")?;
        attempt(libc::SYS_listen, &[socket.0, 1])
    }),
    ("connect to an abstract Unix socket", || {
        let listener = socket(libc::AF_UNIX, STREAM, 0)?;
        bind(&listener, b"\x01\0\0vat-hostile-target")?;
        attempt(libc::SYS_listen, &[listener.0, 1])?;
        let caller = socket(libc::AF_UNIX, STREAM, 0)?;
        let address = b"\x01\0\0vat-hostile-target";
        attempt(
            libc::SYS_connect,
            &[caller.0, address.as_ptr() as usize, address.len()],
        )
    }),
    ("listen on a named Unix socket", || {
        let socket = socket(libc::AF_UNIX, STREAM, 0)?;
        let path = c"/tmp/vat-hostile-socket";
        let address = [b"\x01\0".as_slice(), path.to_bytes_with_nul()].concat();
        bind(&socket, &address)?;
        attempt(
            libc::SYS_unlinkat,
            &[super::HERE, path.as_ptr() as usize, 0],
        )
    }),
    // A datagram socket can send to every named socket that its user may write to, /dev/log say.
    ("make a datagram socket pair", || pair(DATAGRAM)),
    ("make a packet socket pair", || pair(libc::SOCK_SEQPACKET)),
    ("TCP Fast Open with sendto", || fast_open(libc::SYS_sendto)),
    ("TCP Fast Open with sendmsg", || {
        fast_open(libc::SYS_sendmsg)
    }),
    ("bind descriptor 3", || {
        let address = b"\x01\0\0vat-hostile-bind";
        attempt(
            libc::SYS_bind,
            &[3, address.as_ptr() as usize, address.len()],
        )
    }),
    ("listen on descriptor 3", || {
        attempt(libc::SYS_listen, &[3, 1])
    }),
    ("attach a packet filter", || {
        option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER)
    }),
    ("set a socket's device", || {
        option(libc::SOL_SOCKET, libc::SO_MARK)
    }),
    ("ask for the peer as a process descriptor", || {
        const PEER_PIDFD: i32 = 77;
        let ends = stream_pair()?;
        let (mut value, mut length) = (0_i32, 4_u32);
        let into = [(&raw mut value) as usize, (&raw mut length) as usize];
        let arguments = [
            ends.0.0,
            word(libc::SOL_SOCKET),
            word(PEER_PIDFD),
            into[0],
            into[1],
        ];
        attempt(libc::SYS_getsockopt, &arguments)
    }),
    ("make a notification pipe", || {
        let mut ends = [0_i32; 2];
        attempt(
            libc::SYS_pipe2,
            &[ends.as_mut_ptr() as usize, word(libc::O_EXCL)],
        )
    }),
];

/// A socket, closed at the end.
struct Socket(usize);

impl Drop for Socket {
    fn drop(&mut self) {
        drop(call(libc::SYS_close, &[self.0]));
    }
}

impl Socket {
    fn address(&self) -> Result<[u8; 16], Refused> {
        let mut address = [0_u8; 16];
        let mut length = 16_u32;
        let into = [address.as_mut_ptr() as usize, (&raw mut length) as usize];
        call(libc::SYS_getsockname, &[self.0, into[0], into[1]])?;
        Ok(address)
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<Socket, Refused> {
    call(
        libc::SYS_socket,
        &[word(family), word(kind), word(protocol)],
    )
    .map(Socket)
}

fn bind(socket: &Socket, address: &[u8]) -> Outcome {
    attempt(
        libc::SYS_bind,
        &[socket.0, address.as_ptr() as usize, address.len()],
    )
}

/// A socket bound to a free port of the loopback address.
fn inet(kind: i32, protocol: i32) -> Result<Socket, Refused> {
    let socket = socket(libc::AF_INET, kind, protocol)?;
    bind(&socket, &[2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])?;
    Ok(socket)
}

fn listen(kind: i32, protocol: i32) -> Outcome {
    let socket = inet(kind, protocol)?;
    attempt(libc::SYS_listen, &[socket.0, 1])
}

fn connect(kind: i32, protocol: i32) -> Outcome {
    let caller = socket(libc::AF_INET, kind, protocol)?;
    let listener = inet(kind, protocol)?;
    attempt(libc::SYS_listen, &[listener.0, 1])?;
    let address = listener.address()?;
    attempt(
        libc::SYS_connect,
        &[caller.0, address.as_ptr() as usize, address.len()],
    )
}

fn descriptors(kind: i32) -> Result<(Socket, Socket), Refused> {
    let mut ends = [0_i32; 2];
    let arguments = [
        word(libc::AF_UNIX),
        word(kind),
        0,
        ends.as_mut_ptr() as usize,
    ];
    call(libc::SYS_socketpair, &arguments)?;
    Ok((Socket(word(ends[0])), Socket(word(ends[1]))))
}

fn pair(kind: i32) -> Outcome {
    descriptors(kind).map(drop)
}

fn stream_pair() -> Result<(Socket, Socket), Refused> {
    descriptors(STREAM)
}

/// Where no TCP socket is to be had, the flag itself must be refused on any socket: a listening
/// one that was passed in could call out with it.
fn fast_open(number: libc::c_long) -> Outcome {
    let (mut socket, mut address) = (stream_pair()?.0, None);
    let listener = inet(STREAM, 0);
    if let Ok(listener) = &listener {
        call(libc::SYS_listen, &[listener.0, 1])?;
        address = Some(listener.address()?);
        socket = self::socket(libc::AF_INET, STREAM, 0)?;
    }
    let other_end = stream_pair()?;
    let socket = if address.is_some() {
        &socket
    } else {
        &other_end.0
    };
    let (to, length) = match &address {
        Some(address) => (address.as_ptr() as usize, address.len()),
        None => (0, 0),
    };
    let byte = [0_u8; 1];
    if number == libc::SYS_sendto {
        let arguments = [
            socket.0,
            byte.as_ptr() as usize,
            1,
            TCP_FAST_OPEN,
            to,
            length,
        ];
        return attempt(number, &arguments);
    }
    let part = [byte.as_ptr() as usize, 1];
    let message = [to, length, part.as_ptr() as usize, 1, 0, 0, 0];
    attempt(
        number,
        &[socket.0, message.as_ptr() as usize, TCP_FAST_OPEN],
    )
}

fn option(level: i32, name: i32) -> Outcome {
    let ends = stream_pair()?;
    // One instruction, "accept everything", is also good for options that want an integer.
    let instruction = [0x6_u16, 0, 0xffff, 0];
    let program = [1_usize, instruction.as_ptr() as usize];
    let value = [program.as_ptr() as usize, size_of_val(&program)];
    attempt(
        libc::SYS_setsockopt,
        &[ends.0.0, word(level), word(name), value[0], value[1]],
    )
}
