//! The object that a launched program's launcher talks to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::Interface;
use crate::core::{Exposure, Grants, Main};
use crate::durable::Store;
use crate::net::driver::{Attach, Driver};
use crate::net::{
    Admission, AdmissionLimits, Credentials, Dialing, PeerInfo, Peers, Socket, Stream,
};
use crate::power::{Exposed, Grant, NetworkRef, Program, ProgramRef, StoreFileRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Exposures, Identity, RestorerRef, Seed, SwissNumber, VatId};

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
    end: Rc<End>,
    seed: Seed,
    driver: Driver,
    /// The program as other vats find it. It is on the network before its `main` runs, which may
    /// give references away.
    peers: Peers,
    /// Whoever asks for references before `main` has given them waits.
    restorer: Option<Resolver<RestorerRef>>,
    /// What `main` gave back.
    exposed: BTreeMap<String, Ref>,
    /// One count for each stream that a sibling has here, beside our own.
    siblings: BTreeMap<VatId, Rc<()>>,
}

/// Streams of one sibling that are taken: the one that is there, one that comes because two have
/// called at the same time, and one that comes because the first is lost.
const STREAMS_OF_SIBLING: usize = 3;

impl Launched {
    /// The program with this seed.
    pub(super) fn new(
        turn: &Turn,
        driver: &Driver,
        main: Main,
        seed: Seed,
        end: Rc<End>,
    ) -> Result<Self> {
        let credentials = Credentials::new(&Identity::from_seed(&seed)).map_err(Error::of)?;
        let (bootstrap, restorer) = turn.promise::<RestorerRef>();
        let bootstrap = Some(bootstrap.into());
        let peers = Peers::new(driver.clone(), credentials, bootstrap, Dialing::nobody());
        // Beyond it connections are refused, so that nobody can use up the descriptors.
        peers.set_admission(Admission::new(AdmissionLimits::launched()));
        Ok(Self {
            main: Some(main),
            end,
            seed,
            driver: driver.clone(),
            peers,
            restorer: Some(restorer),
            exposed: BTreeMap::new(),
            siblings: BTreeMap::new(),
        })
    }

    pub(super) const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The program's way out is the power that was granted for that, if one was.
    fn dial_through(&self, powers: &[Grant]) {
        let network = powers
            .iter()
            .find(|grant| grant.interface == <NetworkRef as Interface>::ID)
            .map(|grant| NetworkRef::from(grant.power.clone()));
        if let Some(network) = network {
            self.peers.set_dialing(Dialing::through(network));
        }
    }

    /// Names what `main` gave back, and makes it reachable by its swiss numbers.
    fn publish(
        &mut self,
        turn: &Turn,
        exposures: Vec<Exposure>,
        names: &[String],
    ) -> Result<Vec<Exposed>> {
        let mut by_digest = Exposures::default();
        let mut exposed = Vec::new();
        for exposure in exposures {
            let name = name_of(&exposure, names)?;
            by_digest.expose(
                &SwissNumber::exposed(&self.seed, &name, 0),
                exposure.reference.clone(),
            );
            self.exposed
                .insert(name.clone(), exposure.reference.clone());
            exposed.push(Exposed {
                name,
                interface_name: exposure.interface_name.to_owned(),
                interface: exposure.interface,
                reference: exposure.reference,
            });
        }
        if let Some(restorer) = self.restorer.take() {
            restorer.resolve(Ok(RestorerRef::new(turn, by_digest)));
        }
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
        powers: Vec<Grant>,
        args: Vec<String>,
        exposes: Vec<String>,
        addresses: Vec<String>,
    ) -> Result<Vec<Exposed>> {
        let addresses = addresses.iter().filter_map(|address| address.parse().ok());
        let addresses: Vec<_> = addresses.collect();
        let (main, end) = this.with(cx, |launched| {
            launched.peers.set_addresses(&addresses);
            launched.dial_through(&powers);
            (launched.main.take(), launched.end.clone())
        })?;
        let main = main.ok_or_else(|| Error::failed("the program was started already"))?;
        let grants = powers
            .into_iter()
            .fold(Grants::new().with_args(args), |grants, grant| {
                grants.with_untyped(grant.slot, grant.power, grant.interface)
            });
        let started = match main.run(cx, grants).await {
            Ok(outcome) => this.call(cx, |launched| {
                launched.publish(cx, outcome.exposed, &exposes)
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
        let socket = Socket::from_descriptor(Ref::from(stream).take_fd()?).map_err(Error::of)?;
        let socket = self.peers.admission().admit(socket)?;
        match plain {
            Some(name) => {
                let bootstrap = self.exposed.get(&name).cloned();
                let bootstrap = bootstrap.ok_or_else(|| {
                    Error::failed(format!("no exposed reference is called {name}"))
                })?;
                let stream = Stream::plain(socket).map_err(Error::of)?;
                self.driver.attach(stream, Attach::plain(Some(bootstrap)));
            }
            None => {
                let peers = self.peers.clone();
                tokio::task::spawn_local(async move {
                    match Stream::accept_tls_on(socket, head, peers.acceptor()).await {
                        Ok((stream, peer)) => peers.accepted(stream, peer).await,
                        Err(error) => tracing::debug!(err = %error, "handshake failed"),
                    }
                });
            }
        }
        Ok(())
    }

    fn meet(&mut self, _turn: &Turn, stream: StreamRef, vat: String) -> Result<()> {
        let (id, vat_protocol) = (vat.parse::<VatId>().map_err(Error::of)?, true);
        let stream = Stream::sibling(Ref::from(stream).take_fd()?).map_err(Error::of)?;
        let streams = self.siblings.entry(id).or_default();
        if Rc::strong_count(streams) > STREAMS_OF_SIBLING {
            return Err(Error::overloaded("there are enough streams of this vat"));
        }
        let (peers, one_more) = (self.peers.clone(), streams.clone());
        tokio::task::spawn_local(async move {
            peers.accepted(stream, PeerInfo { id, vat_protocol }).await;
            drop(one_more);
        });
        Ok(())
    }

    fn stop(&mut self, _turn: &Turn) -> Result<()> {
        self.end.with(0);
        Ok(())
    }

    fn keep(&mut self, _turn: &Turn, store: StoreFileRef) -> Result<()> {
        let file = File::from(Ref::from(store).take_fd()?);
        let store = Store::open(file).map_err(|error| Error::failed(error.to_string()))?;
        self.driver.vat().attach_store(store)
    }
}

impl Launched {
    /// This object as the bootstrap of descriptor 3.
    pub(super) fn into_reference(self, turn: &Turn) -> Result<ProgramRef> {
        Ok(ProgramRef::from(&turn.spawn(self)))
    }
}
