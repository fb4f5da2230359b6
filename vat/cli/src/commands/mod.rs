//! One module per command.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod help;
pub(crate) mod version;
