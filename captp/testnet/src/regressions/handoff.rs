//! Three-party handoff.

mod ends;
mod held;
mod pins;
mod reflected;
mod refused;
