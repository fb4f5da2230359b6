//! The `vat` command as its user sees it: arguments in; output and exit code out.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod check;
mod doctor;
mod frame;
mod help;
mod refs;
mod run;
