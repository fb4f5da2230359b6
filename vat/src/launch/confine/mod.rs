//! Kernel confinement of a child process, and the report of what was enforced.
//!
//! A child gets descriptors 0 (nothing), 1 and 2 (its log) and 3 (a stream socket to the
//! launcher), an empty environment, and its name as the only argument. Before its first
//! instruction the kernel takes everything else away: see [`Level`] for what that is, and
//! [`Report`] for what it was in a given case. A level is never claimed on the strength of a
//! kernel's version or settings: a trial child enters the confinement and probes it first
//! ([`doctor`], [`Spawner::start`]), and every step of a launch that fails is a refusal.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::pipe;
//! use vat::launch::confine::{Launch, Level, Limits, SealedProgram, Spawner};
//!
//! let spawner = Spawner::start()?;
//! let program = SealedProgram::load("target/debug/guestbook".as_ref())?;
//! let (log, output) = pipe()?;
//! let launch = Launch {
//!     program,
//!     name: "guestbook".into(),
//!     require: Level::L2,
//!     allow_weak: false,
//!     stdout: output.try_clone()?.into(),
//!     stderr: output.into(),
//!     limits: Limits::default(),
//! };
//! let mut child = spawner.spawn(launch).await?;
//! println!("{} at level {}", child.pid(), child.report().level);
//! let exit = child.wait().await?;
//! # drop((log, exit)); Ok(())
//! # }
//! ```
//!
//! # What a program notices
//!
//! - Only static, position-independent programs are accepted ([`SealedProgram::load`]).
//! - `fstat` works on descriptors, `File::metadata` does not (it asks for a path); no file, socket,
//!   process or program can be opened, made or started; threads can.
//! - At L3 the program is process 1 of its own namespace, for which the kernel ignores signals that
//!   it sends to itself: `abort` ends it by SIGSEGV instead of SIGABRT.
//! - The vDSO clock and `getrandom` cannot be taken away.

mod child;
mod elf;
mod enclosure;
mod filter;
mod host;
mod level;
mod program;
mod spawner;

pub use self::child::{Child, Exit};
pub use self::host::{HostReport, Trial, doctor};
pub use self::level::{Level, Mechanism, MechanismName, Report, UnknownLevel};
pub use self::program::{LoadError, Reason, SealedProgram, Unsuitable};
pub use self::spawner::{Launch, Limits, SpawnError, Spawner};
