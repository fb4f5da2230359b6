//! The system capabilities as interfaces.
