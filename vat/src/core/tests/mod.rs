//! The promises of the design, each with tests named after it.

mod bulk;
mod combine;
mod far;
mod link;
mod look;
mod references;
mod sample;
mod time;
mod turns;
mod unheeded;
