//! The event loop that commands run their vat in.

use std::future::Future;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::command_error::{CommandError, Kind};

/// Runs `work` to its end on this thread; whatever it spawned ends with it.
pub(crate) fn block_on<T>(
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CommandError::new(
                Kind::Failed,
                format!("the event loop cannot be started: {error}"),
            )
        })?;
    let result = LocalSet::new().block_on(&runtime, work);
    // Work on other threads that nobody waits for, such as a name that is still looked up.
    runtime.shutdown_background();
    result
}
