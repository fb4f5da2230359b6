//! What the fuzz targets of the engine do with their input: `captp/fuzz` calls these functions with
//! what libFuzzer makes up, the tests of this crate with what it found before.
//!
//! Each gives an error in words when the engine did something that it must not do whatever the input
//! is. A panic is a finding, too.

pub mod decode;
pub mod hello;
pub mod hostile;
mod input;
mod wire;

#[cfg(test)]
mod tests;
