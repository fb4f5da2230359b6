//! Brokers: the objects behind granted powers.
//!
//! What may block runs on [`Workers`]; the objects live in the launcher's vat and only wait for it.

mod clock;
mod directory;
pub mod fs;
pub mod log;
mod log_sink;
#[cfg(test)]
mod tests;
mod workers;

pub use clock::{clock, monotonic_nanos, wall_millis};
pub use directory::directory;
pub use log_sink::log_sink;
pub use workers::{Job, JobLost, Lane, Overloaded, WorkerLimits, Workers};
