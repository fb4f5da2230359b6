//! Whole-system tests of vat: several processes, real sockets, real peers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod bad_input;
mod confinement;
mod harness;
mod hostile_run;
mod interop;
mod launcher;
mod main_job;
mod network;
mod readme;
