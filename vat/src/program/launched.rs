//! The object that a launched program's launcher talks to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};

use crate::core::{Exposure, Grants, Main};
use crate::net::driver::{Attach, Driver};
use crate::net::{Acceptor, Credentials, Socket, Stream};
use crate::power::{Exposed, Grant, Program, ProgramRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Exposures, Identity, RestorerRef, Seed, SwissNumber};

/// When and how the program is to end.
#[derive(Default)]
pub(super) struct End {
    code: Cell<Option<u8>>,
    decided: Notify,
}

impl End {
    /// The program ends with this code, as soon as what it said has left.
    fn with(&self, code: u8) {
        if self.code.get().is_none() {
            self.code.set(Some(code));
        }
        self.decided.notify_one();
    }

    pub(super) async fn wait(&self) -> u8 {
        loop {
            if let Some(code) = self.code.get() {
                return code;
            }
            self.decided.notified().await;
        }
    }
}

/// A launched program, before and after its `main`.
#[derive(vat::Object)]
#[object(external)]
pub(super) struct Launched {
    main: Option<Main>,
    driver: Driver,
    end: Rc<End>,
    /// Set by `start`.
    open: Option<Open>,
    /// Room for connections: beyond it they are refused, so that nobody can use up the descriptors.
    room: Arc<Semaphore>,
}

/// Connections that are open at a time. A launched program may have 256 descriptors, and needs some
/// for itself and for those that are on their way.
const CONNECTIONS: usize = 128;

/// What a started program shows to the network.
struct Open {
    acceptor: Acceptor,
    restorer: RestorerRef,
    exposed: BTreeMap<String, Ref>,
}

impl Launched {
    pub(super) fn new(main: Main, driver: Driver, end: Rc<End>) -> Self {
        Self {
            main: Some(main),
            driver,
            end,
            open: None,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Names what `main` gave back, and makes it reachable by its swiss numbers.
    fn publish(
        &mut self,
        turn: &Turn,
        seed: &Seed,
        exposures: Vec<Exposure>,
        names: &[String],
    ) -> Result<Vec<Exposed>> {
        let credentials = Credentials::new(&Identity::from_seed(seed)).map_err(Error::of)?;
        let mut by_digest = Exposures::default();
        let mut exposed = Vec::new();
        let mut by_name = BTreeMap::new();
        for exposure in exposures {
            let name = name_of(&exposure, names)?;
            by_digest.expose(
                &SwissNumber::exposed(seed, &name, 0),
                exposure.reference.clone(),
            );
            by_name.insert(name.clone(), exposure.reference.clone());
            exposed.push(Exposed {
                name,
                interface_name: exposure.interface_name.to_owned(),
                interface: exposure.interface,
                reference: exposure.reference,
            });
        }
        self.open = Some(Open {
            acceptor: credentials.acceptor(),
            restorer: RestorerRef::new(turn, by_digest),
            exposed: by_name,
        });
        Ok(exposed)
    }
}

/// The expose name: its own, or the manifest's only one.
fn name_of(exposure: &Exposure, names: &[String]) -> Result<String> {
    match (exposure.name, names) {
        ("", [only]) => Ok(only.clone()),
        ("", []) => Err(Error::failed(format!(
            "main gives back a {}, but the manifest has no [expose]",
            exposure.interface_name
        ))),
        ("", _) => Err(Error::failed(format!(
            "main gives back one reference, but the manifest exposes {}; give back a record \
             with these fields and #[derive(vat::Exposed)]",
            names.join(", ")
        ))),
        (name, _) => Ok(name.to_owned()),
    }
}

impl Program for Launched {
    async fn start(
        this: Near<Self>,
        cx: &Cx,
        seed: Vec<u8>,
        powers: Vec<Grant>,
        args: Vec<String>,
        exposes: Vec<String>,
    ) -> Result<Vec<Exposed>> {
        let seed = <[u8; Seed::LEN]>::try_from(seed.as_slice()).map(Seed::from_bytes);
        let seed = seed.map_err(|_| Error::failed("a seed has 32 bytes"))?;
        let (main, end) = this.with(cx, |launched| (launched.main.take(), launched.end.clone()))?;
        let main = main.ok_or_else(|| Error::failed("the program was started already"))?;
        let grants = powers
            .into_iter()
            .fold(Grants::new().with_args(args), |grants, grant| {
                grants.with_untyped(grant.slot, grant.power, grant.interface)
            });
        let started = match main.run(cx, grants).await {
            Ok(outcome) => this.call(cx, |launched| {
                launched.publish(cx, &seed, outcome.exposed, &exposes)
            }),
            Err(error) => Err(error),
        };
        match &started {
            Ok(exposed) if exposed.is_empty() => end.with(0),
            Ok(_) => {}
            Err(_) => end.with(1),
        }
        started
    }

    fn accept(
        &mut self,
        _turn: &Turn,
        stream: StreamRef,
        head: Vec<u8>,
        plain: Option<String>,
    ) -> Result<()> {
        let open = self
            .open
            .as_ref()
            .ok_or_else(|| Error::failed("not started yet"))?;
        let descriptor = descriptor_of(&stream)?;
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| Error::overloaded("too many connections are open"))?;
        match plain {
            Some(name) => {
                let bootstrap = open.exposed.get(&name).cloned();
                let bootstrap = bootstrap.ok_or_else(|| {
                    Error::failed(format!("no exposed reference is called {name}"))
                })?;
                let stream = Socket::from_descriptor(descriptor).and_then(Stream::plain);
                let stream = stream.map_err(Error::of)?;
                let connection = self.driver.attach(stream, Attach::plain(Some(bootstrap)));
                tokio::task::spawn_local(async move {
                    connection.gone().await;
                    drop(room);
                });
            }
            None => {
                let (acceptor, restorer) = (open.acceptor.clone(), open.restorer.clone());
                let driver = self.driver.clone();
                tokio::task::spawn_local(async move {
                    match Stream::accept_tls(descriptor, head, &acceptor).await {
                        Ok((stream, peer)) => {
                            let attach = Attach::network(Some(restorer.into()), peer.vat_protocol);
                            driver.attach(stream, attach).gone().await;
                        }
                        Err(error) => tracing::debug!(err = %error, "handshake failed"),
                    }
                    drop(room);
                });
            }
        }
        Ok(())
    }

    fn stop(&mut self, _turn: &Turn) -> Result<()> {
        self.end.with(0);
        Ok(())
    }
}

/// The stream's descriptor, for ourselves: the engine keeps its own until the reference goes.
fn descriptor_of(stream: &Ref) -> Result<OwnedFd> {
    let attached = stream
        .fd()
        .ok_or_else(|| Error::failed("no descriptor came with the stream"))?;
    match Rc::try_unwrap(attached) {
        Ok(owned) => Ok(owned),
        Err(shared) => shared.try_clone().map_err(Error::of),
    }
}

impl Launched {
    /// This object as the bootstrap of descriptor 3.
    pub(super) fn into_reference(self, turn: &Turn) -> Result<ProgramRef> {
        Ok(ProgramRef::from(&turn.spawn(self)))
    }
}
