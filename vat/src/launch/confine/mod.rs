//! Kernel confinement of a child process, and the report of what was enforced.
