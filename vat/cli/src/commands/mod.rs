//! One module per command.

pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod help;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod refs;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod store;
pub(crate) mod up;
pub(crate) mod version;
