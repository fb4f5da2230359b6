//! The `vat` command: launcher, supervisor and operator's tool.

fn main() {}
