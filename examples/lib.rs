//! The interfaces of the example programs, shared by those who offer them and those who use them.
#![allow(
    clippy::missing_errors_doc,
    reason = "what an example's method may fail with is in its text"
)]

pub mod bank;
pub mod guestbook;
pub mod shop;
