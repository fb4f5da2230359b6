@0xa107f46457abdf45;
# Printed from the Rust types of the same names.

interface Clock @0xb612cd0a968e489f {
  # The time of day, and timers.
  #
  # # Authority
  #
  # To know the time and to be woken, with at most 1,024 calls of `sleep` waiting at a time. The
  # kernel lets a hostile program read the time without it; a program that takes time from here only
  # can be simulated and replayed.
  now @0 () -> (value :UInt64);
  # The host's wall clock: milliseconds since 1970-01-01 UTC. It may jump, also back.
  monotonic @1 () -> (value :UInt64);
  # A clock that never goes back and never jumps: nanoseconds since some moment in the past, the
  # same one for all calls as long as the launcher runs.
  sleep @2 (millis :UInt64) -> ();
  # Answers after `millis` milliseconds, never earlier.
}
