//! Where connections come in: the launcher's listeners, and the way from a `ClientHello` to the vat
//! whose key it asks for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::incoming::Incoming;
use super::launcher::Launcher;
use super::manifest::{ChildSource, Manifest};
use super::state::{State, StateError};
use crate::net::{Listener, Socket, Stream, client_hello};
use crate::sturdy::{Address, UnixPath};

/// Whom a connection may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The launched vats.
    Children,
    /// These and the launcher's own vat.
    Launcher,
}

/// Everything the launcher listens on.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// For the vats of the ensemble, whichever a caller asks for. The launcher's own vat is not
    /// confined: it answers on the Unix socket only, and nobody on the network meets it.
    shared: Vec<(Listener, Reach)>,
    /// For one exposed reference each, without encryption, for local programs of the same user.
    plain: Vec<(ChildSource, Listener)>,
    addresses: Vec<Address>,
}

impl Listeners {
    /// Binds the manifest's addresses, the ensemble's own socket and the declared plain sockets.
    pub(crate) async fn open(manifest: &Manifest, state: &State) -> Result<Self, ListenError> {
        let mut shared = Vec::new();
        for asked in &manifest.listen {
            shared.push((bind_tcp(*asked, state).await?, Reach::Children));
        }
        let own = bind_unix(&state.runtime().join("vat.sock"))?;
        shared.push((own, Reach::Launcher));
        let addresses = shared
            .iter()
            .map(|(listener, _)| listener.local_address())
            .collect::<Result<_, _>>();
        let addresses = addresses.map_err(ListenError::Address)?;
        let mut plain = Vec::new();
        for expose in &manifest.exposes {
            let Some(socket) = &expose.socket else {
                continue;
            };
            plain.push((expose.from.clone(), bind_unix(socket)?));
        }
        Ok(Self {
            shared,
            plain,
            addresses,
        })
    }

    /// The addresses that sturdy refs to this ensemble carry.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Accepts connections for `launcher` as long as it lives.
    pub(crate) fn serve(self, launcher: &Rc<Launcher>) {
        for (listener, reach) in self.shared {
            spawn_accepting(listener, launcher, move |launcher, socket| {
                tokio::task::spawn_local(route(launcher, socket, reach));
            });
        }
        for (source, listener) in self.plain {
            spawn_accepting(listener, launcher, move |launcher, socket| {
                let Some(child) = launcher.children.source(&source) else {
                    return;
                };
                let name = source.expose.to_string();
                let incoming = socket
                    .check_same_user()
                    .and_then(|()| Incoming::new(socket, Vec::new(), Some(name)));
                match incoming {
                    Ok(incoming) => child.accept(incoming),
                    Err(error) => tracing::debug!(err = %error, "a local caller was refused"),
                }
            });
        }
    }
}

/// Gives every connection that is let in to `take`, until the launcher is gone.
fn spawn_accepting(
    listener: Listener,
    launcher: &Rc<Launcher>,
    mut take: impl FnMut(Rc<Launcher>, Socket) + 'static,
) {
    let weak = Rc::downgrade(launcher);
    tokio::task::spawn_local(async move {
        loop {
            let accepted = listener.accept().await;
            let Some(launcher) = weak.upgrade() else {
                return;
            };
            match accepted {
                // One that is not let in is closed, and said so in the log.
                Ok(socket) => {
                    if let Ok(socket) = launcher.peers.admission().admit(socket) {
                        take(launcher, socket);
                    }
                }
                Err(error) => {
                    tracing::error!(err = %error, "a listener ended");
                    return;
                }
            }
        }
    });
}

/// A new connection: finds out whom it is for and passes it there.
async fn route(launcher: Rc<Launcher>, mut socket: Socket, reach: Reach) {
    let hello = match client_hello::read(&mut socket).await {
        Ok(hello) => hello,
        Err(error) => {
            tracing::debug!(err = %error, "a connection without a usable hello");
            return;
        }
    };
    if let Some(child) = launcher.children.with_vat(hello.vat) {
        // If the runtime cannot let go of it, there is nobody to tell.
        if let Ok(incoming) = Incoming::new(socket, hello.bytes, None) {
            child.accept(incoming);
        }
    } else if reach == Reach::Launcher && hello.vat == launcher.peers.id() {
        accept_own(&launcher, socket, hello.bytes).await;
    } else {
        tracing::debug!("a connection for a vat that is not here");
    }
}

/// A connection to the launcher's own vat: an operator's command.
async fn accept_own(launcher: &Launcher, socket: Socket, head: Vec<u8>) {
    match Stream::accept_tls_on(socket, head, launcher.peers.acceptor()).await {
        Ok((stream, peer)) => {
            let peers = launcher.peers.clone();
            tokio::task::spawn_local(async move { peers.accepted(stream, peer).await });
        }
        Err(error) => tracing::debug!(err = %error, "an operator's connection was refused"),
    }
}

fn bind_unix(path: &Path) -> Result<Listener, ListenError> {
    let fail = |source| ListenError::Unix {
        path: path.into(),
        source,
    };
    let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
    let socket = UnixPath::new(path).map_err(|error| fail(invalid(error)))?;
    Listener::bind_unix(&socket).map_err(fail)
}

/// Binds the port that was used before for `:0`, or a new one, which is remembered.
async fn bind_tcp(asked: SocketAddr, state: &State) -> Result<Listener, ListenError> {
    let fail = |source| ListenError::Tcp {
        address: asked,
        source,
    };
    let key = asked.to_string();
    if let (0, Some(port)) = (asked.port(), state.remembered_port(&key)) {
        let mut known = asked;
        known.set_port(port);
        if let Ok(listener) = Listener::bind_tcp(known).await {
            return Ok(listener);
        }
        tracing::warn!(
            port,
            "the remembered port is taken; references to it are stale"
        );
    }
    let listener = Listener::bind_tcp(asked).await.map_err(fail)?;
    if asked.port() == 0
        && let Address::Tcp { port, .. } = listener.local_address().map_err(fail)?
    {
        state.remember_port(&key, port.get())?;
    }
    Ok(listener)
}

/// Why the launcher cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// A TCP address cannot be bound.
    #[error("cannot listen on {address}")]
    Tcp {
        /// The address of the manifest.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A Unix socket cannot be made.
    #[error("cannot listen on the socket {}", path.display())]
    Unix {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The address does not fit into a sturdy ref.
    #[error("cannot tell where it listens")]
    Address(#[source] std::io::Error),
    /// The chosen port cannot be remembered.
    #[error(transparent)]
    State(#[from] StateError),
}
