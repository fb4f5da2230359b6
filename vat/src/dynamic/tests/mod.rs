//! JSON to wire and back.

mod arguments;
mod chains;
mod far;
mod fixture;
mod random;
mod shown;
mod vectors;
