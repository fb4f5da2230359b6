//! File descriptors that can be told apart, also after they were passed on.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

/// A new one; `None` if there is none to be had.
#[must_use]
pub fn unique() -> Option<OwnedFd> {
    let (one, _) = UnixStream::pair().ok()?;
    Some(one.into())
}

/// The same number for all copies of a descriptor, and for no other one that is open.
#[must_use]
pub fn number(descriptor: &OwnedFd) -> Option<u64> {
    #[expect(clippy::disallowed_types, reason = "only its number is asked for")]
    let file = std::fs::File::from(descriptor.try_clone().ok()?);
    Some(file.metadata().ok()?.ino())
}
