//! Runs that failed once, and seeds that hold.

#![cfg(test)]

mod answers;
mod brief;
mod circles;
mod embargoes;
mod handoff;
mod queues;
mod seeds;
