//! Nothing here: this package exists for its test binary, `it`.
