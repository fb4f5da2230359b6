//! What a child writes to its standard output and error: into the log, and shown when asked for.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

use super::broker::log::{LogSource, Stream};

/// Most bytes taken from a pipe at a time.
const CHUNK: usize = 8 << 10;

/// The writing ends of two pipes whose lines become records of `source`.
///
/// With `echo`, what comes is also written to the launcher's own output, as it is.
///
/// # Errors
/// When no pipe can be made.
pub(crate) fn capture(source: &LogSource, echo: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((
        one(source, Stream::Stdout, echo)?,
        one(source, Stream::Stderr, echo)?,
    ))
}

fn one(source: &LogSource, stream: Stream, echo: bool) -> io::Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    let mut reader = Receiver::from_owned_fd(reader)?;
    let mut lines = source.capture(stream);
    tokio::task::spawn_local(async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = reader.read(&mut chunk).await {
            let bytes = chunk.get(..count).unwrap_or_default();
            if echo {
                // If nobody reads our output any more: the log has it all the same.
                drop(match stream {
                    Stream::Stdout => io::stdout().write_all(bytes),
                    Stream::Stderr => io::stderr().write_all(bytes),
                });
            }
            lines.feed(bytes);
        }
    });
    Ok(writer)
}
