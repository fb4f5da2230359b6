//! JSON to wire and back.

mod arguments;
mod chains;
mod fixture;
mod random;
mod shown;
mod vectors;
