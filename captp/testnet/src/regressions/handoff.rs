//! Three-party handoff.

mod accepted;
mod ends;
mod held;
mod pins;
mod reflected;
mod refused;
