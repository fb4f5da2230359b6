//! The launcher: one ensemble from its manifest to its end.
//!
//! It is a vat of its own, the only unconfined process of the ensemble. It opens what the manifest
//! grants, listens for connections and routes each one to the vat whose key it asks for, has its
//! programs started and supervised, and offers the operator a
//! [`Supervisor`](crate::power::Supervisor) reference in `control.cap`.
//!
//! What one program exposes and another is granted is a raw reference: it dies with the process it
//! leads to. The strategy `rest_for_one` starts those that hold it again, with a fresh one; sturdy
//! refs reconnect.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::broker::log::{Level, Log, LogLimits, LogSource};
use super::children::{Children, Maker};
use super::confine::{SealedProgram, Spawner};
use super::control::Control;
use super::grants::{GrantError, Granted};
use super::lives::Lives;
use super::manifest::Manifest;
use super::places::Places;
use super::route::{ListenError, Listeners};
use super::siblings::Introducer;
use super::state::{State, StateError};
use crate::net::driver::Driver;
use crate::net::{Credentials, Dialing, Peers};
use crate::power::{ChildState, ChildStatus, SupervisorRef};
use crate::prelude::*;
use crate::sturdy::{
    Address, Exposures, Identity, ReferenceFileError, RestorerRef, Seed, SturdyRef, SwissNumber,
    VatId, reference_file,
};
use crate::supervisor::{Event, Outcome};
use crate::{Vat, VatConfig};

/// How long the last answers may take to leave.
const TICK: Duration = Duration::from_secs(1);

/// How an ensemble is to be run.
#[derive(Debug)]
pub struct Options {
    /// The sealed programs of the manifest's children, in their order.
    pub programs: Vec<SealedProgram>,
    /// Arguments for each program's `main`; they travel over the bootstrap socket.
    pub args: Vec<String>,
    /// Where the reference files of exposed references go; `None` writes none.
    pub refs: Option<PathBuf>,
    /// Whether less confinement than the manifest requires is accepted.
    pub allow_weak: bool,
    /// Run once, in the foreground: no listeners without exposures, never restarted, output shown.
    pub once: bool,
}

/// A running ensemble.
pub struct Launcher {
    pub(super) name: String,
    pub(super) manifest: Manifest,
    pub(super) started: Instant,
    pub(super) driver: Driver,
    pub(super) log: Log,
    pub(super) log_dir: PathBuf,
    /// What the launcher says of refused connections.
    notes: LogSource,
    /// Removed at the end: the log of an ensemble without state.
    temporary: Option<PathBuf>,
    pub(super) children: Children,
    lives: Rc<Lives>,
    pub(super) peers: Peers,
    pub(super) restorer: RestorerRef,
    state: Option<State>,
    addresses: RefCell<Vec<Address>>,
    asked: Notify,
    stopping: Cell<bool>,
    written: RefCell<Vec<PathBuf>>,
}

impl Launcher {
    /// Opens everything the manifest needs and begins to listen. Nothing of the program runs yet.
    ///
    /// Must be called inside a tokio `LocalRuntime` or `LocalSet`.
    ///
    /// # Authority
    /// Opens the directories, files and ports that the manifest names with the rights of this
    /// process.
    ///
    /// # Errors
    /// When anything the manifest asks for cannot be had.
    pub async fn prepare(
        manifest: Manifest,
        places: &Places,
        options: Options,
    ) -> Result<Rc<Self>, LaunchError> {
        let name = manifest.name.as_str().to_owned();
        if options.programs.len() != manifest.children.len() {
            return Err(LaunchError::Programs {
                wanted: manifest.children.len(),
                given: options.programs.len(),
            });
        }
        let keeps = manifest.children.iter().any(|child| child.program.durable);
        let durable = !options.once || !manifest.exposes.is_empty() || keeps;
        let state = durable
            .then(|| State::open(places, &name, &manifest.path))
            .transpose()?;
        let seed = match &state {
            Some(state) => state.seed().derive("ensemble"),
            None => Seed::generate().map_err(LaunchError::Io)?,
        };
        let (log_dir, temporary) = log_dir(state.as_ref(), places, &name)?;
        let log = Log::open(&log_dir, LogLimits::default()).map_err(LaunchError::Log)?;
        // Another budget than the programs': they cannot silence what is said of them.
        let notes = log.source(&name);
        let driver = Driver::new(Vat::new(VatConfig::new(name.clone())));
        let granted = Granted::open(&manifest, &driver).await?;
        let identity = Identity::from_seed(&seed.derive("launcher"));
        let (peers, restorer) = own_vat(&driver, &identity)?;
        // Without a session it hands nothing over, under whatever number.
        let session = peers.session().unwrap_or_default();
        let maker = Maker {
            driver: &driver,
            log: &log,
            granted: &granted,
            siblings: &Rc::new(Introducer::new(identity, session)),
            seed: &seed,
            state: state.as_ref().map(State::dir),
            args: &options.args,
            allow_weak: options.allow_weak,
            once: options.once,
        };
        let (children, charges) = Children::new(&maker, &manifest, options.programs)?;
        let spawner = Spawner::start().map_err(LaunchError::Io)?;
        let lives = Lives::new(charges, manifest.supervision.supervisor_spec(), spawner);
        let launcher = Rc::new(Self {
            name,
            manifest,
            started: Instant::now(),
            driver,
            log,
            log_dir,
            notes,
            temporary,
            children,
            lives: Rc::new(lives),
            peers,
            restorer,
            state,
            addresses: RefCell::default(),
            asked: Notify::new(),
            stopping: Cell::new(false),
            written: RefCell::default(),
        });
        launcher
            .open_to_the_outside(&seed, options.refs.as_deref())
            .await?;
        Ok(launcher)
    }

    /// Listens, and writes the reference files that lead here.
    async fn open_to_the_outside(
        self: &Rc<Self>,
        seed: &Seed,
        refs: Option<&Path>,
    ) -> Result<(), LaunchError> {
        let Some(state) = &self.state else {
            return Ok(());
        };
        let listeners = Listeners::open(&self.manifest, state).await?;
        self.addresses.replace(listeners.addresses().to_vec());
        self.children.set_addresses(listeners.addresses());
        let swiss = SwissNumber::exposed(&seed.derive("launcher"), "control", 0);
        let launcher = Rc::downgrade(self);
        self.driver.vat().turn(|turn| {
            let control = SupervisorRef::new(turn, Control::new(launcher));
            let Some(exposures) = self.restorer.downcast::<Exposures>(turn) else {
                return Err(Error::failed("the restorer is our own object"));
            };
            exposures.with(turn, |exposures| exposures.expose(&swiss, control.into()))
        })?;
        self.write_reference(&state.runtime().join("control.cap"), self.peers.id(), swiss)?;
        if let Some(refs) = refs {
            for expose in &self.manifest.exposes {
                let Some(child) = self.children.source(&expose.from) else {
                    continue;
                };
                let swiss = SwissNumber::exposed(child.seed(), expose.from.expose.as_str(), 0);
                let file = refs.join(format!("{}.cap", expose.name));
                self.write_reference(&file, child.vat(), swiss)?;
            }
        }
        listeners.serve(self);
        Ok(())
    }

    fn write_reference(
        &self,
        path: &Path,
        vat: VatId,
        swiss: SwissNumber,
    ) -> Result<(), LaunchError> {
        let mut addresses = self.addresses.borrow().clone();
        // The launcher's own vat answers on the Unix socket only.
        addresses.retain(|address| vat != self.peers.id() || !address.is_network());
        let reference = SturdyRef::new(vat, swiss, addresses)
            .map_err(|error| LaunchError::Address(error.to_string()))?;
        reference_file::write(path, &reference)?;
        self.written.borrow_mut().push(path.to_owned());
        Ok(())
    }

    /// The reference files that were written for the exposed references.
    pub fn reference_files(&self) -> Vec<PathBuf> {
        let control = self
            .state
            .as_ref()
            .map(|state| state.runtime().join("control.cap"));
        let written = self.written.borrow();
        written
            .iter()
            .filter(|path| Some(*path) != control.as_ref())
            .cloned()
            .collect()
    }

    /// The ensemble's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the log is written; read it with a
    /// [`LogReader`](super::broker::log::LogReader).
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Waits until the log is written and everything said to others has left, a second at most.
    pub async fn flushed(&self) {
        self.log.flush().await;
        self.driver.flushed(TICK).await;
    }

    /// A reference that the ensemble exposes, while the program whose it is runs. It dies with the
    /// process that it leads to.
    pub fn exposed(&self, name: &str) -> Option<Ref> {
        let mut exposes = self.manifest.exposes.iter();
        let source = &exposes.find(|expose| expose.name.as_str() == name)?.from;
        self.children
            .source(source)?
            .exposed(source.expose.as_str())
    }

    /// Where the launcher listens.
    pub fn addresses(&self) -> Vec<Address> {
        self.addresses.borrow().clone()
    }

    /// What the operator sees of the children now, in start order.
    pub fn children(&self) -> Vec<ChildStatus> {
        self.children.status()
    }

    /// The exit code of the last life of the first child (128 + signal if a signal ended it): of the
    /// only one, where there is one.
    pub fn exit_code(&self) -> Option<i32> {
        self.children.exit_code()
    }

    /// Waits until every child is ready, or will never be. `GaveUp`: the supervisor gave one up;
    /// `Running`: it did not, and at least one is ready; `Ended`: none is.
    pub async fn ready(&self) -> ChildState {
        let mut known = BTreeSet::new();
        while let Some(child) = self.next_settled(&known).await {
            known.insert(child.path);
        }
        self.children.state()
    }

    /// Waits for a child that is ready, or will never be, and whose path is not among `known`. When
    /// there is no other, waits until all of them are at the same time, and gives `None`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn next_settled(&self, known: &BTreeSet<String>) -> Option<ChildStatus> {
        self.children.next_settled(known).await
    }

    /// Begins an ordered stop: the children are asked in reverse order, one at a time, and each is
    /// killed after its grace.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.asked.notify_waiters();
        self.lives.tell(Event::Stop);
    }

    /// Ends all children now.
    pub fn kill(&self) {
        self.stopping.set(true);
        self.asked.notify_waiters();
        self.lives.tell(Event::Kill);
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits until it is asked to stop: also one whose supervisor gave up is there until then.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn stop_requested(&self) {
        loop {
            let asked = self.asked.notified();
            if self.stopping.get() {
                return;
            }
            asked.await;
        }
    }

    /// Waits until no child is left and none will be started.
    pub async fn ended(&self) -> Outcome {
        self.lives.ended().await
    }

    /// Runs the ensemble to its end: starts the children, restarts them, stops them when asked. It
    /// ends by itself when no child is left that runs or will run.
    ///
    /// A supervisor that gave up stays, with the child's state `gave_up`, until it is stopped: the
    /// caller decides by the outcome.
    ///
    /// # Panics
    /// When it is called twice.
    pub async fn run(self: &Rc<Self>) -> Outcome {
        let outcome = self.lives.run(self.started, || self.tick()).await;
        self.driver.flushed(TICK).await;
        outcome
    }

    fn tick(&self) {
        if let Some(report) = self.peers.admission().take_report() {
            self.notes.log(Level::Warn, &report, [("by", "launcher")]);
        }
    }
}

impl Drop for Launcher {
    /// The references die with the launcher's listeners; `control.cap` says that it runs.
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            drop(std::fs::remove_file(state.runtime().join("control.cap")));
        }
        if let Some(temporary) = &self.temporary {
            drop(std::fs::remove_dir_all(temporary));
        }
    }
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launcher")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The launcher as other vats find it: what it offers is found by its swiss number.
fn own_vat(driver: &Driver, identity: &Identity) -> Result<(Peers, RestorerRef), LaunchError> {
    let credentials = Credentials::new(identity).map_err(|e| LaunchError::Key(e.to_string()))?;
    let restorer = driver
        .vat()
        .turn(|turn| Ok(RestorerRef::new(turn, Exposures::default())))?;
    let bootstrap = Some(restorer.clone().into());
    let peers = Peers::new(driver.clone(), credentials, bootstrap, Dialing::nobody());
    Ok((peers, restorer))
}

/// Where the log goes: into the state, or, where there is none, into a directory for this run only.
fn log_dir(
    state: Option<&State>,
    places: &Places,
    name: &str,
) -> Result<(PathBuf, Option<PathBuf>), LaunchError> {
    let dir = match state {
        Some(state) => state.dir().join("log"),
        None => places
            .runtime(name)
            .join(format!("run-{}", std::process::id())),
    };
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(LaunchError::Log)?;
    let temporary = state.is_none().then(|| dir.clone());
    Ok((dir, temporary))
}

/// Why an ensemble could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is not one program for each child.
    #[error("the manifest has {wanted} programs, and {given} were given")]
    Programs {
        /// How many children the manifest has.
        wanted: usize,
        /// How many programs were given.
        given: usize,
    },
    /// Its state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What the manifest grants cannot be had.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// It cannot listen where the manifest says.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A reference file cannot be written.
    #[error(transparent)]
    ReferenceFile(#[from] ReferenceFileError),
    /// An address does not fit into a sturdy ref.
    #[error("{0}")]
    Address(String),
    /// The launcher's key cannot be used.
    #[error("{0}")]
    Key(String),
    /// The log cannot be written.
    #[error("cannot open the log")]
    Log(#[source] std::io::Error),
    /// The operating system refused.
    #[error("cannot start the launcher")]
    Io(#[source] std::io::Error),
    /// The launcher's own vat refused.
    #[error(transparent)]
    Vat(#[from] Error),
}
