//! System calls: the one module with unsafe code.
