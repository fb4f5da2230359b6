//! Calls without compiled interfaces: JSON to wire and back by a description.
