//! The promises of the design, each with tests named after it.

mod bulk;
mod carry;
mod combine;
mod far;
mod giving_up;
pub(crate) mod link;
mod look;
mod model;
mod references;
pub(crate) mod sample;
mod time;
mod turns;
mod unheeded;
