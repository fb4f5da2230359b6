//! Listening sockets: TCP, and Unix sockets that only their owner can open.

use std::{
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{self, FlockOperation, Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use tokio::{
    net::{TcpListener, UnixListener},
    time::sleep,
};

use super::Socket;
use crate::sturdy::{Address, UnixPath};

/// A listening TCP or Unix socket.
///
/// # Authority
///
/// Making one uses the ambient authority of the process; confined vats cannot, and get connected
/// sockets from their launcher.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    /// When it was last said that descriptors or memory ran out.
    said: Mutex<Option<Instant>>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

impl Listener {
    /// Listens on a TCP port; port 0 lets the kernel choose one.
    ///
    /// # Errors
    ///
    /// When the address is taken, is not of this machine, or needs privileges.
    pub async fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::on(Kind::Tcp(TcpListener::bind(address).await?)))
    }

    /// Listens on a Unix socket with mode 0600, whatever the umask is, from its first moment on.
    ///
    /// A socket at this path on which nobody listens any more, left behind by a crash, is replaced;
    /// anything else there is left alone. The socket's file is removed when the listener is
    /// dropped. Blocks shortly.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] when somebody listens there or a file is in the way,
    /// [`io::ErrorKind::WouldBlock`] when another process is busy binding in the same directory.
    pub fn bind_unix(path: &UnixPath) -> io::Result<Self> {
        let path = path.as_path();
        let listener = {
            let _lock = lock_parent(path)?;
            remove_stale(path)?;
            bind_private(path)?
        };
        let file = SocketFile::at(path)?;
        let listener = StdUnixListener::from(listener);
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self::on(Kind::Unix {
            listener,
            _file: file,
        }))
    }

    const fn on(kind: Kind) -> Self {
        Self {
            kind,
            said: Mutex::new(None),
        }
    }

    /// Waits for the next caller.
    ///
    /// Callers that went away meanwhile are skipped. When descriptors or memory run out it says so
    /// in the log and tries again every 50 ms; meanwhile callers wait in the kernel's queue.
    ///
    /// # Errors
    ///
    /// When the listening socket itself failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no caller.
    pub async fn accept(&self) -> io::Result<Socket> {
        loop {
            let accepted = match &self.kind {
                Kind::Tcp(listener) => listener
                    .accept()
                    .await
                    .and_then(|(socket, _)| Socket::from_tcp(socket)),
                Kind::Unix { listener, .. } => listener
                    .accept()
                    .await
                    .and_then(|(socket, _)| Socket::from_unix(socket)),
            };
            match accepted {
                Err(error) if is_of_one_caller(&error) => {}
                Err(error) if is_shortage(&error) => {
                    self.note_shortage(&error);
                    sleep(SHORTAGE_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Says it once, and now and then if it lasts.
    fn note_shortage(&self, error: &io::Error) {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|said| now.duration_since(said) >= SHORTAGE_SAID) {
            *said = Some(now);
            tracing::warn!(
                err = %error,
                "callers have to wait: descriptors or memory ran out; allow this process more \
                 open files (ulimit -n)"
            );
        }
    }

    /// Where it listens, with the port that the kernel chose.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn local_address(&self) -> io::Result<Address> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        match &self.kind {
            Kind::Tcp(listener) => Address::try_from(listener.local_addr()?).map_err(invalid),
            Kind::Unix { _file: file, .. } => Address::unix(&file.path).map_err(invalid),
        }
    }
}

/// The file of a listening socket, removed with it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and number of the file, so that a successor's is not removed.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.into(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::unlink(&self.path);
        }
    }
}

/// How long to wait when descriptors or memory ran out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(50);
/// Time between two records of that.
const SHORTAGE_SAID: Duration = Duration::from_secs(10);

/// Callers that may wait until they are accepted.
const BACKLOG: i32 = 128;

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let stat = fs::lstat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Keeps other processes that bind a socket in the same directory away, as between the look at an
/// old socket and its removal another one could take its place.
fn lock_parent(path: &Path) -> io::Result<OwnedFd> {
    let parent = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(parent, flags, Mode::empty())?;
    // Not for ever: whoever can open the directory can hold the lock.
    for _ in 0..200 {
        match fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            result => return result.map(|()| directory).map_err(Into::into),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Removes a socket on which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(stat) = fs::lstat(path) else {
        return Ok(());
    };
    let in_use = |what: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    if !fs::FileType::from_raw_mode(stat.st_mode).is_socket() {
        return in_use("a file that is not a socket is in the way");
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return in_use("a socket of another user is in the way");
    }
    let probe = unix_socket()?;
    match rustix::net::connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => Ok(fs::unlink(path)?),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Ok(()) | Err(_) => in_use("another process listens on this socket"),
    }
}

fn bind_private(path: &Path) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    // The file gets the mode that the socket has when it is bound, less the umask: unlike a change
    // of the umask this concerns no other thread, and unlike a later chmod there is no gap.
    fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn unix_socket() -> io::Result<OwnedFd> {
    // Non-blocking, for a probe of a socket whose queue of callers is full would wait.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

fn is_of_one_caller(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected
    ) || matches!(
        errno(error),
        Some(libc::EPROTO | libc::EPERM | libc::EINVAL)
    )
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        errno(error),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

fn errno(error: &io::Error) -> Option<i32> {
    error.raw_os_error()
}
