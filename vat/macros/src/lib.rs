//! The macros of vat: `#[vat::interface]`, the derives `Data`, `Object` and `Powers`, and `#[vat::main]`.
