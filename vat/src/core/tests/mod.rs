//! The promises of the design, each with tests named after it.

mod references;
mod sample;
mod turns;
