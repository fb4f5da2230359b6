//! Whole-system tests of vat: several processes, real sockets, real peers.

mod confinement;

mod harness;
mod hostile_run;
mod launcher;
