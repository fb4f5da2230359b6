//! Brokers: the objects behind granted powers.

pub mod fs;
mod workers;

pub use workers::{Job, JobLost, Lane, Overloaded, WorkerLimits, Workers};
