//! Arguments and results: Rust types in Cap'n Proto's own layout.
