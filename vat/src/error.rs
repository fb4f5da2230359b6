//! Errors that travel with broken promises.
