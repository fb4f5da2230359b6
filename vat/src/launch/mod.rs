//! The launcher: manifests, confinement, brokers, supervised children.

pub mod manifest;
pub mod places;
