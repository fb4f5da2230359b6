//! The launcher: manifests, confinement, brokers, supervised children.

pub mod broker;
pub mod build;
pub mod confine;
pub mod manifest;
mod child;
mod control;
mod grants;
pub mod launcher;
mod output;
pub mod places;
mod route;
pub mod state;
