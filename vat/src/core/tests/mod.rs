//! The promises of the design, each with tests named after it.

mod sample;
mod turns;
