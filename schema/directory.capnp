@0xd77ed6e2a0d4e262;
# Printed from the Rust types of the same names.

interface Directory @0x941a5e0c89b2f58b {
  # A directory of the host, and every file beneath it.
  #
  # A name is a relative path of up to 32 parts (`notes`, `2026/november`), at most 1,024 bytes,
  # without `.` and `..`; the directories in it must be there. Symbolic links are never followed,
  # and only regular files are opened.
  #
  # # Ordering
  #
  # What is asked of one directory takes place in the order asked.
  #
  # # Authority
  #
  # Reading, and unless it is a read-only facet creating and appending, beneath this directory.
  # Nothing of the host outside.
  open @0 (name :Text, create :Bool = false) -> (value :File);
  # Opens a file. With `create`, one that is not there is created empty.
  #
  # If the host lets the launcher only read the file, the reference cannot append.
  create @1 (name :Text) -> (value :File);
  # Creates an empty file; fails if there is anything of this name.
  readOnly @2 () -> (value :Directory);
  # The same directory without the rights to create and to append.
}

interface File @0xabbaf0ef399de60b {
  # An open file.
  #
  # # Ordering
  #
  # What is asked of one file takes place in the order asked, by all its holders together: a read
  # sees every append asked for before it.
  #
  # # Authority
  #
  # Reading, and unless it is a read-only facet appending, this one file, for as long as the
  # reference is held.
  read @0 (from :UInt64 = 0, count :UInt64 = 1048576) -> (value :Data);
  # Up to `count` bytes from offset `from` on; fewer only at the end of the file. At most 1 MiB
  # at once.
  readAll @1 () -> (value :Data);
  # The whole file, if it has at most 1 MiB.
  readText @2 () -> (value :Text);
  # The whole file as text, if it has at most 1 MiB and is UTF-8.
  size @3 () -> (value :UInt64);
  # Its length in bytes.
  append @4 (data :Data, sync :Bool = false) -> (value :UInt64);
  # Appends all of `data` or nothing, at most 1 MiB, and answers with the offset at which it
  # begins.
  #
  # With `sync` it answers when the data is on disk, otherwise when it is in the file. When the
  # disk is full the call fails and the file is as it was. After an append that was never
  # answered, because the machine or the launcher was stopped in the middle of it, the file may
  # end in a part of its data.
  readOnly @5 () -> (value :File);
  # The same file without the right to append.
}
