//! The interfaces of the example programs, shared by those who offer them and those who use them.

pub mod guestbook;
