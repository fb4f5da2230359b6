//! A Unix stream socket in the runtime, watched for room to write only while it has none.
//!
//! The kernel tells whoever watches a Unix socket for writing each time that the peer has read
//! something. A connection on which calls and answers alternate would be woken twice for each of
//! them.

use std::{
    fmt, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{Interest, unix::AsyncFd};

use crate::sys;

/// A connected Unix stream socket, bound to the runtime in which it was made.
pub(super) struct UnixSocket {
    socket: Arc<UnixStream>,
    /// `None` once the runtime did not take the socket again.
    watched: Option<AsyncFd<Arc<UnixStream>>>,
    /// Whether it is watched for writing too.
    watches_writing: bool,
    /// Writes in a row that found room meanwhile.
    in_a_row: u32,
    /// Who waits for something to read.
    reader: Option<Waker>,
}

/// So many writes that find room end the watch for it: not so few that a large message, which fills
/// the socket again and again, begins and ends one each time.
const FOUND_ROOM: u32 = 16;

impl UnixSocket {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        Ok(Self {
            watched: Some(sys::watch_socket(socket.clone(), Interest::READABLE)?),
            socket,
            watches_writing: false,
            in_a_row: 0,
            reader: None,
        })
    }

    pub(super) fn into_std(self) -> io::Result<UnixStream> {
        drop(self.watched);
        Arc::into_inner(self.socket).ok_or_else(unwatched)
    }

    /// Reads with `operation` as soon as there is something. If it `took_all` that was there, the next
    /// one waits for more, which spares the system call that would find nothing.
    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&UnixStream) -> io::Result<T>,
        took_all: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        let watched = self.watched.as_ref().ok_or_else(unwatched)?;
        loop {
            let Poll::Ready(mut ready) = watched.poll_read_ready(cx)? else {
                match &mut self.reader {
                    Some(reader) => reader.clone_from(cx.waker()),
                    None => self.reader = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            };
            match ready.try_io(|_| operation(&self.socket)) {
                // The readiness was outdated; waiting again registers the waker.
                Err(_) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => {
                    // What has arrived since the readiness was learnt makes it a newer one.
                    if result.as_ref().is_ok_and(&took_all) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Writes with `operation` as soon as there is room.
    pub(super) fn poll_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let result = if self.watches_writing {
                let watched = self.watched.as_ref().ok_or_else(unwatched)?;
                let mut room = ready!(watched.poll_write_ready(cx)?);
                let Ok(result) = room.try_io(|_| operation(&self.socket)) else {
                    self.in_a_row = 0;
                    continue;
                };
                result
            } else {
                operation(&self.socket)
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch(true)?,
                result => {
                    self.found_room()?;
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn found_room(&mut self) -> io::Result<()> {
        if self.watches_writing {
            self.in_a_row += 1;
            if self.in_a_row >= FOUND_ROOM {
                self.watch(false)?;
            }
        }
        Ok(())
    }

    /// Begins or ends watching for room. The runtime knows no other way than to begin anew.
    fn watch(&mut self, writing: bool) -> io::Result<()> {
        drop(self.watched.take());
        let interest = match writing {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.watched = Some(sys::watch_socket(self.socket.clone(), interest)?);
        self.watches_writing = writing;
        self.in_a_row = 0;
        // Whoever waits to read is no longer known to the runtime.
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    /// Tells the peer that no more follows.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// The user that the process at the other end had when it connected.
    pub(super) fn peer_user(&self) -> io::Result<u32> {
        sys::peer_user(&self.socket)
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The connection cannot be used further.
fn unwatched() -> io::Error {
    io::Error::other("the runtime could not watch the socket for room to write")
}

impl fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixSocket")
            .field("socket", &self.socket)
            .field("watches_writing", &self.watches_writing)
            .finish_non_exhaustive()
    }
}
