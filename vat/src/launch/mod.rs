//! The launcher: manifests, confinement, brokers, supervised children.

pub mod broker;
pub mod build;
mod carrier;
mod child;
mod children;
pub mod confine;
mod control;
mod grants;
mod incoming;
pub mod launcher;
mod lives;
pub mod manifest;
mod output;
pub mod places;
mod powers;
mod route;
mod siblings;
pub mod state;

pub use grants::GrantError;
pub use route::ListenError;
