//! What a person or the system asks of a running command.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command_error::{CommandError, Kind};

/// The signals that end an ensemble in order.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// Which one came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, or the terminal is gone.
    Terminate,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn catch() -> Result<Self, CommandError> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                CommandError::new(Kind::Failed, format!("cannot receive signals: {error}"))
            })
        };
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.hangup.recv() => Asked::Terminate,
        }
    }
}
