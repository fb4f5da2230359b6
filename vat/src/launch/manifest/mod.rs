//! The manifest: parsed with spans, checked completely before anything starts.
