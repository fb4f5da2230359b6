//! The interfaces of the example programs, shared between them.
