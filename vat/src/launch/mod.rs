//! The launcher: manifests, confinement, brokers, supervised children.
