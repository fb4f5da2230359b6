//! System calls: the one module with unsafe code.
//!
//! Everything here is safe to call; the reasons stand beside each `unsafe` block. The larger part
//! is what happens between `clone` and `exec` of a confined child ([`child`]), where only raw
//! system calls are allowed: no allocation, no lock, no code of the C library that keeps state.
#![allow(
    unsafe_code,
    reason = "the one place for it: every block says why it is sound"
)]

#[cfg(feature = "launch")]
mod child;
#[cfg(feature = "launch")]
mod fork;
pub(crate) mod inherited;
mod peer;
#[cfg(feature = "launch")]
mod raw;
mod reactor;
#[cfg(feature = "launch")]
mod step;
#[cfg(feature = "launch")]
mod trial;

#[cfg(feature = "launch")]
pub(crate) use self::child::{EXEC_PATH_ADDRESS, Expected, LOW_LIMIT, PROGRAM_DESCRIPTOR};
#[cfg(feature = "launch")]
pub(crate) use self::fork::{
    Blueprint, Forked, IdRange, StartFailure, block_signals, fork, keep_child_statuses,
    landlock_abi, reap, refuse_descriptors,
};
pub(crate) use self::peer::{is_same_user, peer_user};
#[cfg(feature = "launch")]
pub(crate) use self::reactor::watch_readable;
pub(crate) use self::reactor::watch_socket;
