//! Arguments and results: Rust types in Cap'n Proto's own layout.

mod layout;

pub use layout::{Branch, Kind, Layout, Member, Size, Slot, Solved, solve};
