@0xef20da52bba1e1fd;
# Printed from the Rust types of the same names.

struct EntryTextText @0xf8fcc7e3f2fa099c {
  key @0 :Text;
  value @1 :Text;
}

enum LogLevel @0xd4e0047a0363351c {
  # How much a record matters.
  trace @0;
  # Every step, for whoever looks for a mistake.
  debug @1;
  # What helps to understand an oddity.
  info @2;
  # What happened.
  warn @3;
  # What should not happen and was coped with.
  error @4;
  # What went wrong.
}

interface LogSink @0x985d514a46d9c4a6 {
  # A place to log to. What is logged carries the holder's supervision path, set by the launcher.
  #
  # # Authority
  #
  # To add to the log in this child's name, within a budget of 100 records per second by default.
  # What is beyond it is counted, and the count is logged. The log cannot be read through it.
  log @0 (level :LogLevel, message :Text, fields :List(EntryTextText)) -> ();
  # Logs a record. Its answer means that it was taken, not that it is on disk.
  #
  # Messages are cut at 8 KiB, fields at 1 KiB each and at 32 of them. Log no secrets.
  tagged @1 (tag :Text) -> (value :LogSink);
  # The same log, whose records carry a tag. Tags of tagged ones are joined by slashes.
}
