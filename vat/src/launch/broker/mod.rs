//! Brokers: the objects behind granted powers.

pub mod fs;
pub mod log;
mod workers;

pub use workers::{Job, JobLost, Lane, Overloaded, WorkerLimits, Workers};
