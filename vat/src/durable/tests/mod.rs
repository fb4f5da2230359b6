//! Promise 13, and what durable objects are made of.

mod basics;
mod lives;
mod output;
mod references;
mod versions;
