@0xee2bac67bd0a68ad;
# Printed from the Rust types of the same names.

using LogLevel = import "/log.capnp".LogLevel;
using EntryTextText = import "/log.capnp".EntryTextText;

enum ChildState @0x8c61fe7f4a34fbac {
  # What a supervised child is doing.
  starting @0;
  # Its process was started and is not ready yet.
  running @1;
  # It answered `start`: it is ready.
  waiting @2;
  # It ended and will be started again after a delay.
  stopping @3;
  # It was asked to stop and has not ended yet.
  ended @4;
  # It ended and will not be started again.
  gaveUp @5;
  # Its supervisor gave up: too many restarts in too short a time.
}

struct ChildStatus @0xa54ab8be0a0b3a0f {
  # One supervised child as it is at one moment.
  path @0 :Text;
  # Its supervision path: `guestbook`.
  vat @1 :Text;
  # Its vat id.
  state @2 :ChildState;
  # What it is doing.
  pid @3 :UInt32;
  # Its process id, or 0 while there is no process.
  restarts @4 :UInt32;
  # How often it was started again since the launcher started.
  upMs @5 :UInt64;
  # Milliseconds since its present process became ready, or 0.
  lastExit @6 :Text;
  # How its last process ended; empty if none did.
  confinement @7 :Text;
  # The confinement that was really enforced: `L3`; empty while there is no process.
  enforced @8 :List(Text);
  # The mechanisms behind that level that are in force.
  missing @9 :List(Text);
  # The mechanisms that are not, with the reason.
  exposes @10 :List(Text);
  # The names of the references it exposes.
}

struct EnsembleStatus @0xd377ab450e5bbd5e {
  # An ensemble as it is at one moment.
  name @0 :Text;
  # The manifest's `[vat] name`.
  manifest @1 :Text;
  # Where the manifest lies on the launcher's machine.
  pid @2 :UInt32;
  # The launcher's process id.
  uptimeMs @3 :UInt64;
  # Milliseconds since the launcher started.
  listens @4 :List(Text);
  # Where the launcher listens for connections to its vats.
  children @5 :List(ChildStatus);
  # The children in start order.
}

interface Follow @0x82de4c5a8e1f4d38 {
  # A running `follow_logs`; it ends when the last reference to it is dropped.
}

interface LogReader @0x8ac079c169a0557a {
  # Somebody who wants to see log records as they come.
  record @0 (record :LogRecord) -> ();
  # A new record.
}

struct LogRecord @0xca1bc94632c24e41 {
  # A record of the log, as an operator reads it.
  timeUs @0 :UInt64;
  # When the launcher received it: microseconds since 1970-01-01 UTC.
  level @1 :LogLevel;
  # How much it matters.
  from @2 :Text;
  # The supervision path of the child.
  tag @3 :Text;
  # The tag of the reference it was logged through; empty if it had none.
  stream @4 :Text;
  # `stdout` or `stderr` if it is a line of the child's output; else empty.
  message @5 :Text;
  # The text. It may contain any character: mind a terminal.
  fields @6 :List(EntryTextText);
  # Named values beside it.
}

interface Supervisor @0xa5da1605f6db0b54 {
  # A running ensemble, as its operator sees it.
  #
  # # Authority
  # Its holder sees every child, reads the log and can stop the ensemble.
  status @0 () -> (value :EnsembleStatus);
  # The ensemble and its children as they are now.
  down @1 () -> ();
  # Stops all children in reverse start order with their grace, then ends the launcher.
  # Answers when the children are gone.
  logs @2 (count :UInt32 = 100) -> (value :List(LogRecord));
  # The last `count` records of the log, oldest first.
  followLogs @3 (reader :LogReader) -> (value :Follow);
  # Sends every new log record to `reader` until the returned reference is dropped.
}
