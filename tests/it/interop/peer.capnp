@0xaaab45bb3fffd4aa;
# Printed from the Rust types of the same names.

interface Peer @0xe4a1d3c25b6f7089 {
  # What both sides of every test offer.
  echo @0 (number :UInt64) -> (value :UInt64);
  # The number after this one.
  bytes @1 (data :Data) -> (value :Data);
  # The same bytes.
  callBack @2 (peer :Peer, number :UInt64) -> (value :UInt64);
  # What `peer` echoes.
  reflect @3 (peer :Peer) -> (value :Peer);
  # The same reference.
  make @4 (count :UInt32) -> (value :List(Peer));
  # New objects.
  live @5 () -> (value :UInt64);
  # How many of the objects that it made are still there.
  record @6 (number :UInt64) -> ();
  # Adds a number to the list.
  recorded @7 () -> (value :List(UInt64));
  # The list.
  fail @8 (kind :UInt16, text :Text) -> ();
  # Fails: 0 failed, 1 overloaded, 2 disconnected, 3 unimplemented.
  later @9 () -> (value :Peer);
  # What `settle` says.
  settle @10 (peer :Peer) -> ();
  # Answers all that wait in `later` and `hang`.
  hang @11 () -> (value :UInt64);
  # An answer once `settle` is called.
  finished @12 () -> (value :UInt64);
  # How many `hang`s came to their end.
  keep @13 (peers :List(Peer)) -> ();
  # Holds on to these.
  letGo @14 () -> (value :UInt64);
  # Lets go of all that it keeps. How many these were.
}
