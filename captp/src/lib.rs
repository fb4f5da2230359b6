//! The Cap'n Proto RPC engine: a sans-IO state machine.
#![forbid(unsafe_code)]
