//! Confinement: a hostile program gets nowhere, an ordinary one notices little, nothing is left.
//!
//! Every attempt of the hostile program is also made unconfined in the same run: what succeeds
//! there is proven to be refused by the confinement; what the host forbids anyway is printed as
//! not proven.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the processes of a test are told by the environment what to do"
)]

mod harness;
mod hostile;
mod ordinary;
mod refusals;
mod starts;
