//! What the tests of the brokers' objects have in common.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use tokio::task::LocalSet;

use crate::net::Stream;
use crate::net::driver::{Attach, Connection, Driver};
use crate::prelude::*;
use crate::{Vat, VatConfig};

/// Two vats with a socket pair between them, as the launcher and a child have it.
pub(super) struct Far {
    _launcher: Driver,
    _child: Driver,
    connection: Connection,
}

impl Far {
    /// The launcher's vat grants what `make` makes there.
    pub(super) fn new(make: impl FnOnce(&Turn) -> Ref) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stream = |end: UnixStream| Stream::from_socketpair(end.into()).unwrap();
        let launcher = Driver::new(Vat::new(VatConfig::new("launcher")));
        let granted = launcher.vat().turn(|turn| Ok(make(turn))).unwrap();
        launcher.attach(stream(ours), Attach::sibling(Some(granted)));
        let child = Driver::new(Vat::new(VatConfig::new("child")));
        let connection = child.attach(stream(theirs), Attach::sibling(None));
        Self {
            _launcher: launcher,
            _child: child,
            connection,
        }
    }

    /// The granted reference, in the child's vat.
    pub(super) fn granted(&self) -> Ref {
        self.connection.bootstrap().unwrap()
    }

    pub(super) fn disconnect(&self) {
        self.connection.close();
    }
}

/// Runs a test on a runtime like the launcher's.
pub(super) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A file system of 64 KiB at a path, for as long as this lives.
pub(super) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None`, with a remark, where mounting is not allowed.
    pub(super) fn mount(at: &'a Path) -> Option<Self> {
        let size = c"size=64k";
        if rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), size).is_err() {
            println!("not proven here: mounting a small file system is not allowed");
            return None;
        }
        Some(Self(at))
    }

    pub(super) fn make_read_only(&self) {
        rustix::mount::mount_remount(self.0, MountFlags::RDONLY, "").unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0, UnmountFlags::DETACH).unwrap();
    }
}
