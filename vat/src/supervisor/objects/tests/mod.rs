//! Supervision of objects, each rule with tests named after it.

mod deaths;
mod history;
mod lives;
mod rules;
mod sample;
mod service;
mod trees;
