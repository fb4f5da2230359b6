//! The vat itself: heap, turns, references, promises, tasks.
