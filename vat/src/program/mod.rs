//! A launched program: what happens in its process around its `main`.
//!
//! The launcher starts it confined, with nothing but a socket on descriptor 3. What it gets over
//! that socket (its identity, its powers, connected streams) is all it ever has.

mod launched;
mod preamble;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::DumpableBehavior;
use tokio::runtime::LocalOptions;

use crate::core::{Main, Vat, VatConfig};
use crate::net::Stream;
use crate::net::driver::{Attach, Driver};
use crate::power::{ProgramRef, SiblingsRef};
use launched::{End, Launched};
#[cfg(feature = "launch")]
pub(crate) use preamble::Preamble;
#[cfg(not(feature = "launch"))]
use preamble::Preamble;

/// How long the last answers may take to leave when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Stack of the thread that runs the vat. On a thread of its own, a stack overflow says so; on the
/// main thread of a confined process it would be a bare signal.
const STACK: usize = 8 << 20;

/// Runs `main` as a launched program; the `main` function that `#[vat::main]` writes calls this.
pub fn program_main(main: fn() -> Main) -> ExitCode {
    let vat = std::thread::Builder::new()
        .name("vat".into())
        .stack_size(STACK);
    let code = vat
        .spawn(move || run(main))
        .map(std::thread::JoinHandle::join);
    ExitCode::from(match code {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => 101, // it panicked, and has said so
        Err(error) => fail(&format!("cannot start the vat's thread: {error}")),
    })
}

fn run(main: fn() -> Main) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the event loop: {error}")),
    };
    runtime.block_on(live(main))
}

async fn live(main: fn() -> Main) -> u8 {
    let (stream, preamble) = match launcher().await {
        Ok(launcher) => launcher,
        Err(error) => {
            return fail(&format!(
                "this is a vat program; start it with `vat run <manifest>` ({error})"
            ));
        }
    };
    let driver = Driver::new(Vat::new(VatConfig::new("program")));
    let end = Rc::new(End::default());
    let launched = driver.vat().turn(|turn| {
        let launched = Launched::new(turn, &driver, main(), preamble.seed, end.clone())?;
        let peers = launched.peers().clone();
        peers.set_session(preamble.session);
        Ok((launched.into_reference(turn)?, peers))
    });
    let (program, peers) = match launched {
        Ok(launched) => launched,
        Err(error) => return fail(&error.to_string()),
    };
    let attach = Attach::sibling(Some(ProgramRef::into(program)));
    let connection = driver.attach(stream, attach.with_peer(preamble.launcher, Vec::new()));
    if let Some(launcher) = connection.bootstrap() {
        peers.set_siblings(SiblingsRef::from(launcher));
    }
    let code = tokio::select! {
        code = end.wait() => code,
        () = connection.gone() => return fail("the launcher is gone"),
    };
    driver.flushed(LAST_WORDS).await;
    code
}

/// The way to whoever launched this program, and what they said first.
async fn launcher() -> std::io::Result<(Stream, Preamble)> {
    let mut stream = Stream::inherited()?;
    // What it is told is not for core dumps, nor for other processes of its user.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let preamble = Preamble::receive(&mut stream).await?;
    Ok((stream, preamble))
}

#[expect(
    clippy::print_stderr,
    reason = "the launcher captures it; there is nobody else to tell"
)]
fn fail(what: &str) -> u8 {
    eprintln!("{what}");
    2
}
