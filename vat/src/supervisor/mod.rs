//! Supervision with Erlang/OTP semantics: specs, intensity, backoff, the pure model.
