//! One life of a child: its powers, its process, its start, and what its end was.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use captp::Limits;
use tokio::sync::mpsc;

use super::Child;
use crate::durable::{Store, StoreError};
use crate::launch::carrier::carry_store;
use crate::launch::confine::{self, Launch, Spawner};
use crate::launch::{output, powers};
use crate::net::driver::{Attach, Connection};
use crate::net::{Stream, new_session};
use crate::power::{ChildState, Exposed, Grant, ProgramRef, SiblingsRef};
use crate::prelude::*;
use crate::program::Preamble;
use crate::sturdy::{Address, Seed};
use crate::supervisor::{ExitReason, Terminate};

/// How long a program whose `main` failed may take to end by itself.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// How long what a program said last may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Signatures of a program's gifts to the launcher that are checked per second.
const CHECKS: usize = 128;
/// A year: longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a life is told by its supervisor.
pub(crate) struct Orders(pub(super) mpsc::UnboundedReceiver<Terminate>);

/// How far one life got, for whoever supervises it.
pub(crate) enum Life {
    /// The process could not be started.
    NotStarted(String),
    /// The process ended.
    Ended(ExitReason),
}

impl Child {
    /// A life begins: from here on it can be told to end.
    pub(crate) fn begin(&self) -> Orders {
        let (commands, inbox) = mpsc::unbounded_channel();
        self.set_state(ChildState::Starting);
        let mut now = self.now.borrow_mut();
        now.lives += 1;
        now.commands = Some(commands);
        Orders(inbox)
    }

    /// One life: from the start of the process, when `spawned` is called, to its end.
    pub(crate) async fn live(
        &self,
        spawner: &Spawner,
        orders: Orders,
        spawned: impl FnOnce(),
    ) -> Life {
        let Orders(mut inbox) = orders;
        let life = match self.supplied(&mut inbox).await {
            Ok(powers) => match self.spawn(spawner).await {
                Ok(process) => {
                    spawned();
                    Life::Ended(self.attend(process, powers, inbox).await)
                }
                Err(not_started) => not_started,
            },
            Err(not_started) => not_started,
        };
        let mut now = self.now.borrow_mut();
        now.pid = 0;
        now.ready_since = None;
        now.report = None;
        now.program = None;
        now.commands = None;
        now.exposed.clear();
        self.siblings.end(self.vat);
        if self.state() != ChildState::Stopping {
            self.set_state(ChildState::Waiting);
        }
        if let Life::Ended(reason) = &life {
            now.last_exit = Some(reason.clone());
        }
        life
    }

    /// Its powers for this life. What it waits for may be a sibling that never comes: whoever tells
    /// it to end ends the wait.
    async fn supplied(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<Terminate>,
    ) -> Result<Vec<Grant>, Life> {
        tokio::select! {
            powers = powers::assemble(&self.plan.supplies, self.plan.start_within) => {
                powers.map_err(|unsupplied| Life::NotStarted(unsupplied.to_string()))
            }
            Some(_) = inbox.recv() => Err(not_wanted()),
            () = self.unwanted.notified() => Err(not_wanted()),
        }
    }

    async fn spawn(&self, spawner: &Spawner) -> Result<confine::Child, Life> {
        let plan = &self.plan;
        let (stdout, stderr) = output::capture(&plan.output, plan.echo)
            .map_err(|source| Life::NotStarted(format!("no pipe for its output: {source}")))?;
        let process = spawner
            .spawn(Launch {
                program: plan.program.clone(),
                name: plan.path.clone(),
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

    /// Begins to speak with the program at the other end.
    async fn connect(&self, mut stream: Stream, session: u64) -> Connection {
        let vat = self.driver.vat();
        let given = vat.engine(|engine| engine.gifts_made());
        let life = self.siblings.begin(self.vat, session, given);
        let preamble = Preamble {
            seed: Seed::from_bytes(*self.plan.seed.expose()),
            launcher: self.siblings.launcher(),
            session,
        };
        if let Err(error) = preamble.send(&mut stream).await {
            tracing::debug!(err = %error, "a program ended before it was told who it is");
        }
        let way = vat.turn(|turn| Ok(self.siblings.way_of(turn, self.vat, life)));
        let attach = Attach::sibling(way.ok().map(SiblingsRef::into))
            .with_limits(Limits::default().with_signature_checks(CHECKS))
            .with_peer(self.vat, self.addresses.borrow().clone());
        self.driver.attach(stream, attach)
    }

    /// Starts the program in its process and stays with it until the process is gone.
    async fn attend(
        &self,
        mut process: confine::Child,
        powers: Vec<Grant>,
        mut inbox: mpsc::UnboundedReceiver<Terminate>,
    ) -> ExitReason {
        let socket = process.take_socket().map(Stream::from_socketpair);
        let (Some(Ok(stream)), Some(session)) = (socket, new_session()) else {
            let what = "there is no socket to it, or no random number for it";
            return ExitReason::Abnormal(what.to_owned());
        };
        let connection = self.connect(stream, session).await;
        let Some(program) = connection.bootstrap().map(ProgramRef::from) else {
            return ExitReason::Abnormal("the launcher ends".to_owned());
        };
        self.now.borrow_mut().program = Some(program.clone());
        let plan = &self.plan;
        let mut start = Some(Box::pin(self.start(&connection, &program, powers)));
        let ready_within = (!plan.exposes.is_empty()).then_some(plan.start_within);
        let deadline = tokio::time::sleep(ready_within.unwrap_or(FOREVER));
        tokio::pin!(deadline);
        let mut cause: Option<String> = None;
        let (mut asked, mut dead, mut cut) = (false, false, false);
        loop {
            tokio::select! {
                exit = process.wait() => {
                    self.withdraw();
                    // Its last words are there; if nobody else holds its socket, so is the end.
                    drop(tokio::time::timeout(LAST_WORDS, connection.gone()).await);
                    connection.close();
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
                    let within = plan.start_within;
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

    /// Starts the program once it has said hello: before, what it is given could not be handed over.
    async fn start(
        &self,
        connection: &Connection,
        program: &ProgramRef,
        powers: Vec<Grant>,
    ) -> Result<Vec<Exposed>> {
        if !connection.greeted().await {
            return Err(Error::disconnected("it has not said hello"));
        }
        if let Some(path) = &self.plan.store {
            let failed = |error: &dyn std::fmt::Display| {
                let path = path.display();
                Error::failed(format!("it cannot have its durable store {path}: {error}"))
            };
            let file = open_store(path).map_err(|error| failed(&error))?;
            let vat = self.driver.vat();
            let carried = vat.turn(|turn| Ok(carry_store(turn, file)))?;
            let kept = program.keep(carried).await;
            kept.map_err(|error| failed(&error))?;
        }
        let addresses = self.addresses.borrow().clone();
        let started = program.start(
            powers,
            self.plan.args.clone(),
            self.plan.exposes.keys().cloned().collect(),
            addresses.iter().map(Address::to_string).collect::<Vec<_>>(),
        );
        started.await
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

    /// Its process is gone: nobody is given what it exposed any more.
    fn withdraw(&self) {
        self.now.borrow_mut().exposed.clear();
        if self.state() == ChildState::Running {
            self.set_state(ChildState::Waiting);
        }
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

/// The file of a durable store, locked. Each life has it opened anew, so that the lock is its own.
fn open_store(path: &Path) -> Result<File, StoreError> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    Store::file_at(path)
}

fn not_wanted() -> Life {
    Life::NotStarted("it was told to end before it had its powers".to_owned())
}

/// Waits for the answer, as long as there is one to come.
async fn answer_of(
    start: &mut Option<impl Future<Output = Result<Vec<Exposed>>> + Unpin>,
) -> Result<Vec<Exposed>> {
    match start {
        Some(start) => start.await,
        None => std::future::pending().await,
    }
}
