//! The launcher: manifests, confinement, brokers, supervised children.

pub mod broker;
pub mod build;
pub mod confine;
pub mod manifest;
pub mod places;
pub mod state;
