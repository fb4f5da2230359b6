//! One receive and one send on a Unix stream socket, with the descriptors that travel beside.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most descriptors of one message. More from a peer end the connection.
pub const MAX_DESCRIPTORS: usize = 16;

/// Receives bytes and the descriptors that came with them, which are close-on-exec.
///
/// Descriptors that the process has no room for, or more than [`MAX_DESCRIPTORS`], are an error;
/// those that did arrive are closed, as nobody knows which ones are missing.
pub(super) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(bytes)];
    #[cfg(test)]
    count::RECEIVES.with(|count| count.set(count.get() + 1));
    let message = recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;

    let mut descriptors = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            descriptors.extend(received);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(invalid(
            "descriptors that the peer sent were lost: they were too many",
        ));
    }
    Ok((message.bytes, descriptors))
}

/// Receives bytes; a descriptor that comes with them is an error, and the kernel closes it.
pub(super) fn receive_plain(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    // An ordinary read would drop descriptors silently.
    let mut no_control = RecvAncillaryBuffer::default();
    let mut iov = [IoSliceMut::new(bytes)];
    let message = recvmsg(socket, &mut iov, &mut no_control, RecvFlags::CMSG_CLOEXEC)?;
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(invalid(
            "the peer sent a descriptor on a stream that takes none",
        ));
    }
    Ok(message.bytes)
}

/// Sends some of the bytes.
pub(super) fn send_plain(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Sends some of the bytes, and all descriptors along with the first of them.
pub(super) fn send(
    socket: impl AsFd,
    bytes: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors));
    if !fits {
        return Err(invalid("too many descriptors in one message"));
    }
    #[cfg(test)]
    count::SENDS.with(|count| count.set(count.get() + 1));
    Ok(sendmsg(socket, bytes, &mut control, SendFlags::NOSIGNAL)?)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// System calls of this thread.
#[cfg(test)]
pub(super) mod count {
    use std::cell::Cell;

    thread_local! {
        pub(in crate::net) static SENDS: Cell<usize> = const { Cell::new(0) };
        pub(in crate::net) static RECEIVES: Cell<usize> = const { Cell::new(0) };
    }
}
