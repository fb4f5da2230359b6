//! One supervised child: what is known of it, and its lives one after the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::broker::log::LogSource;
use super::confine::{self, Launch, Level, Report, SealedProgram, Spawner};
use super::incoming::{Incoming, Queue, Waiting};
use super::output;
use crate::net::driver::{Attach, Driver};
use crate::net::{Refusals, Stream};
use crate::power::{ChildState, ChildStatus, Exposed, Grant, ProgramRef, StreamRef};
use crate::prelude::*;
use crate::sturdy::{Address, Identity, Seed, VatId};
use crate::supervisor::{ExitReason, Terminate};

/// How long a program whose `main` failed may take to end by itself.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// A year: longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a child is made of, the same for all its lives.
pub(crate) struct ChildPlan {
    pub(crate) name: String,
    pub(crate) program: SealedProgram,
    pub(crate) require: Level,
    pub(crate) allow_weak: bool,
    pub(crate) seed: Seed,
    pub(crate) powers: Vec<Grant>,
    pub(crate) args: Vec<String>,
    /// The interface each expose name must have.
    pub(crate) exposes: BTreeMap<String, String>,
    /// How long it may take until it is ready; no limit for a program that exposes nothing.
    pub(crate) ready_within: Option<Duration>,
    /// Whether its standard output goes to ours, line by line, as well as into the log.
    pub(crate) echo: bool,
}

/// A supervised child.
pub(crate) struct Child {
    driver: Driver,
    plan: ChildPlan,
    vat: VatId,
    /// Where it is reached.
    addresses: RefCell<Vec<Address>>,
    state: watch::Sender<ChildState>,
    /// Connections that the child has not taken yet.
    queue: Queue,
    /// Those that it did not take.
    refusals: Rc<RefCell<Refusals>>,
    now: RefCell<Now>,
}

/// What changes from life to life.
struct Now {
    pid: u32,
    lives: u32,
    ready_since: Option<Instant>,
    last_exit: Option<ExitReason>,
    exit_code: Option<i32>,
    report: Option<Report>,
    program: Option<ProgramRef>,
    commands: Option<mpsc::UnboundedSender<Terminate>>,
    exposed: Vec<Exposed>,
}

/// What a life needs of its launcher.
pub(crate) struct Surroundings {
    pub(crate) spawner: Spawner,
    pub(crate) output: LogSource,
}

/// How far one life got, for whoever supervises it.
pub(crate) enum Life {
    /// The process could not be started.
    NotStarted(String),
    /// The process ended.
    Ended(ExitReason),
}

impl Child {
    pub(crate) fn new(driver: Driver, plan: ChildPlan) -> Self {
        let vat = Identity::from_seed(&plan.seed).id();
        let now = Now {
            pid: 0,
            lives: 0,
            ready_since: None,
            last_exit: None,
            exit_code: None,
            report: None,
            program: None,
            commands: None,
            exposed: Vec::new(),
        };
        Self {
            driver,
            plan,
            vat,
            addresses: RefCell::default(),
            state: watch::Sender::new(ChildState::Starting),
            queue: Queue::new(),
            refusals: Rc::default(),
            now: RefCell::new(now),
        }
    }

    pub(crate) fn vat(&self) -> VatId {
        self.vat
    }

    /// Says where it is reached, for its next life.
    pub(crate) fn set_addresses(&self, addresses: &[Address]) {
        self.addresses.replace(addresses.to_vec());
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.plan.seed
    }

    /// A reference that the present life exposes.
    pub(crate) fn exposed(&self, name: &str) -> Option<Ref> {
        let now = self.now.borrow();
        now.exposed
            .iter()
            .find(|exposed| exposed.name == name)
            .map(|one| one.reference.clone())
    }

    pub(crate) fn set_state(&self, state: ChildState) {
        self.state.send_replace(state);
    }

    pub(crate) fn state(&self) -> ChildState {
        *self.state.borrow()
    }

    /// Sees every change of the state.
    pub(crate) fn watch_state(&self) -> watch::Receiver<ChildState> {
        self.state.subscribe()
    }

    /// The exit code (or 128 + signal) of the last life.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.now.borrow().exit_code
    }

    pub(crate) fn status(&self) -> ChildStatus {
        let now = self.now.borrow();
        let report = now.report.as_ref();
        ChildStatus {
            path: self.plan.name.clone(),
            vat: self.vat.to_string(),
            state: self.state(),
            pid: now.pid,
            restarts: now.lives.saturating_sub(1),
            up_ms: now.ready_since.map_or(0, |since| millis(since.elapsed())),
            last_exit: now
                .last_exit
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            confinement: report
                .map(|report| report.level.to_string())
                .unwrap_or_default(),
            enforced: report
                .map(|report| mechanisms(report, true))
                .unwrap_or_default(),
            missing: report
                .map(|report| mechanisms(report, false))
                .unwrap_or_default(),
            exposes: self.plan.exposes.keys().cloned().collect(),
        }
    }

    /// Asks the present life to end, or ends it.
    pub(crate) fn terminate(&self, how: Terminate) {
        self.set_state(ChildState::Stopping);
        if let Some(commands) = &self.now.borrow().commands {
            let _ = commands.send(how); // already gone: then there is nothing to end
        }
    }

    /// Hands a connected stream to the child, or holds it while the child is down.
    pub(crate) fn accept(&self, incoming: Incoming) {
        if let ChildState::Ended | ChildState::GaveUp | ChildState::Stopping = self.state() {
            return;
        }
        let waiting = match self.queue.enter(incoming) {
            Ok(waiting) => waiting,
            Err(full) => return note_refused(&self.refusals, full),
        };
        match (self.state(), &self.now.borrow().program) {
            (ChildState::Running, Some(program)) => self.hand_over(program, waiting),
            _ => self.queue.hold(waiting),
        }
    }

    /// What is to be said of connections that the child did not take, now and then.
    pub(crate) fn take_report(&self) -> Option<String> {
        self.refusals.borrow_mut().take_report()
    }

    /// Closes the connections that were held too long.
    pub(crate) fn drop_stale(&self) {
        self.queue.drop_stale();
    }

    /// Passes a stream's descriptor to the program, attached to a reference.
    fn hand_over(&self, program: &ProgramRef, waiting: Waiting) {
        let Waiting {
            incoming, ticket, ..
        } = waiting;
        let Incoming {
            stream,
            head,
            plain,
            place,
        } = incoming;
        let carrier = self.driver.vat().turn(|turn| {
            let carrier = StreamRef::from(&turn.spawn(Carrier));
            Ok(Ref::from(carrier).with_fd(Rc::new(stream)))
        });
        if let Ok(carrier) = carrier {
            let taken = program.accept(StreamRef::from(carrier), head, plain);
            let refusals = self.refusals.clone();
            tokio::task::spawn_local(async move {
                if let Err(error) = taken.await {
                    note_refused(&refusals, error);
                }
                drop((ticket, place));
            });
        }
    }

    /// One life: from the start of the process, when `spawned` is called, to its end.
    pub(crate) async fn live(&self, around: &Surroundings, spawned: impl FnOnce()) -> Life {
        let (commands, inbox) = mpsc::unbounded_channel();
        {
            self.set_state(ChildState::Starting);
            let mut now = self.now.borrow_mut();
            now.lives += 1;
            now.commands = Some(commands);
        }
        let life = match self.spawn(around).await {
            Ok(process) => {
                spawned();
                Life::Ended(self.attend(process, inbox).await)
            }
            Err(not_started) => not_started,
        };
        let mut now = self.now.borrow_mut();
        now.pid = 0;
        now.ready_since = None;
        now.report = None;
        now.program = None;
        now.commands = None;
        now.exposed.clear();
        if self.state() != ChildState::Stopping {
            self.set_state(ChildState::Waiting);
        }
        if let Life::Ended(reason) = &life {
            now.last_exit = Some(reason.clone());
        }
        life
    }

    async fn spawn(&self, around: &Surroundings) -> Result<confine::Child, Life> {
        let plan = &self.plan;
        let (stdout, stderr) = output::capture(&around.output, plan.echo)
            .map_err(|source| Life::NotStarted(format!("no pipe for its output: {source}")))?;
        let process = around
            .spawner
            .spawn(Launch {
                program: plan.program.clone(),
                name: plan.name.clone(),
                require: plan.require,
                allow_weak: plan.allow_weak,
                stdout,
                stderr,
                limits: confine::Limits::default(),
            })
            .await
            .map_err(|error| Life::NotStarted(error.to_string()))?;
        let mut now = self.now.borrow_mut();
        now.pid = process.pid();
        now.report = Some(process.report().clone());
        Ok(process)
    }

    /// Starts the program in its process and stays with it until the process is gone.
    async fn attend(
        &self,
        mut process: confine::Child,
        mut inbox: mpsc::UnboundedReceiver<Terminate>,
    ) -> ExitReason {
        let connection = match process.take_socket().map(Stream::from_socketpair) {
            Some(Ok(stream)) => self.driver.attach(stream, Attach::sibling(None)),
            _ => return ExitReason::Abnormal("there is no socket to it".to_owned()),
        };
        let Some(program) = connection.bootstrap().map(ProgramRef::from) else {
            return ExitReason::Abnormal("the launcher ends".to_owned());
        };
        let plan = &self.plan;
        let names = plan.exposes.keys().cloned().collect();
        let start = program.start(
            plan.seed.expose().to_vec(),
            plan.powers.clone(),
            plan.args.clone(),
            names,
            self.addresses
                .borrow()
                .iter()
                .map(Address::to_string)
                .collect::<Vec<_>>(),
        );
        let mut start = Some(start);
        let deadline = tokio::time::sleep(plan.ready_within.unwrap_or(FOREVER));
        tokio::pin!(deadline);
        let mut cause: Option<String> = None;
        let (mut asked, mut dead, mut cut) = (false, false, false);
        loop {
            tokio::select! {
                exit = process.wait() => {
                    return self.ended(exit, asked, cause);
                }
                started = answer_of(&mut start) => {
                    start = None;
                    if let Err(error) = self.started(&program, started) {
                        // It ends by itself, with its own exit code; or it is made to.
                        cause = Some(error);
                        deadline.as_mut().reset(tokio::time::Instant::now() + GIVEN_UP);
                    }
                }
                // Usually because it ends; one that goes on without its launcher is ended.
                () = connection.gone(), if !cut => {
                    cut = true;
                    deadline.as_mut().reset(tokio::time::Instant::now() + GIVEN_UP);
                }
                () = &mut deadline, if !dead && (start.is_some() || cause.is_some() || cut) => {
                    let within = plan.ready_within.unwrap_or_default();
                    cause.get_or_insert_with(|| match cut {
                        true => "it cut its connection to the launcher".to_owned(),
                        false => format!("it was not ready within {within:?}"),
                    });
                    start = None;
                    dead = true;
                    drop(process.kill()); // if it is gone already, all the better
                }
                Some(how) = inbox.recv() => {
                    asked = true;
                    match how {
                        Terminate::Ask => program.stop().detach(),
                        Terminate::Kill => drop(process.kill()),
                    }
                }
            }
        }
    }

    /// The program answered `start`: it is ready, if what it exposes is what the manifest says.
    fn started(&self, program: &ProgramRef, started: Result<Vec<Exposed>>) -> Result<(), String> {
        let exposed = match started {
            Ok(exposed) => exposed,
            // The process is about to end, and its end says why.
            Err(error) if error.kind() == ErrorKind::Disconnected => return Ok(()),
            Err(error) => return Err(format!("its main failed: {error}")),
        };
        self.check_exposed(&exposed)?;
        let mut now = self.now.borrow_mut();
        now.ready_since = Some(Instant::now());
        now.program = Some(program.clone());
        now.exposed = exposed;
        self.set_state(ChildState::Running);
        for waiting in self.queue.take_held() {
            self.hand_over(program, waiting);
        }
        Ok(())
    }

    /// What the program gives back must be what the manifest declares, by name and interface.
    fn check_exposed(&self, exposed: &[Exposed]) -> Result<(), String> {
        for (name, interface) in &self.plan.exposes {
            match exposed.iter().find(|exposed| exposed.name == *name) {
                None => return Err(format!("it does not expose {name}, as its manifest says")),
                Some(exposed) if exposed.interface_name != *interface => {
                    return Err(format!(
                        "it exposes {name} as {}; its manifest says {interface}",
                        exposed.interface_name
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn ended(
        &self,
        exit: std::io::Result<confine::Exit>,
        asked: bool,
        cause: Option<String>,
    ) -> ExitReason {
        self.now.borrow_mut().exit_code = match &exit {
            Ok(confine::Exit::Code(code)) => Some(*code),
            Ok(confine::Exit::Signal(signal)) => Some(128 + signal),
            Err(_) => None,
        };
        match (exit, cause) {
            (_, Some(cause)) => ExitReason::Abnormal(cause),
            (_, None) if asked => ExitReason::Shutdown,
            (Ok(confine::Exit::Code(0)), None) => ExitReason::Normal,
            (Ok(exit), None) => ExitReason::Abnormal(exit.to_string()),
            (Err(error), None) => ExitReason::Abnormal(format!("cannot wait for it: {error}")),
        }
    }
}

/// Waits for the answer, as long as there is one to come.
async fn answer_of(start: &mut Option<Promise<Vec<Exposed>>>) -> Result<Vec<Exposed>> {
    match start {
        Some(start) => start.await,
        None => std::future::pending().await,
    }
}

/// The mechanisms of a report that are enforced, or are not, for people.
fn mechanisms(report: &Report, enforced: bool) -> Vec<String> {
    let chosen = report
        .mechanisms
        .iter()
        .filter(|mechanism| mechanism.enforced == enforced);
    chosen
        .map(|mechanism| format!("{}: {}", mechanism.name, mechanism.detail))
        .collect()
}

/// The child did not take a connection.
fn note_refused(refusals: &RefCell<Refusals>, why: impl Display) {
    let now = tokio::time::Instant::now();
    refusals.borrow_mut().note("the vat itself", why, now);
}

/// What a stream's descriptor is attached to on its way.
#[derive(Clone, vat::Object)]
struct Carrier;

impl crate::power::Stream for Carrier {}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
