@0x8de055d820d2c7b7;
# Printed from the Rust types of the same names.

struct Exposed @0xf8604cf59b1c43ed {
  # One reference the program gives back to whoever launched it.
  name @0 :Text;
  # Its name: the expose name of the manifest.
  interfaceName @1 :Text;
  # The full name of its interface, `package::Trait`.
  interface @2 :UInt64;
  # The interface id.
  reference @3 :Capability;
  # The reference.
}

struct Grant @0x8aecf5916668e193 {
  # One power: what goes into which slot of the program's `Powers`.
  slot @0 :Text;
  # The slot's name in the manifest's `[use]`.
  interface @1 :UInt64;
  # The interface id the manifest's type stands for, if the launcher knows it; else 0.
  power @2 :Capability;
  # The power itself.
}

interface Program @0x94ca5fdf2f361da4 {
  # A launched vat, as its launcher sees it: the bootstrap on the inherited socket.
  #
  # What the launcher sends there begins with 80 bytes that belong to no message: the text `vat-pre1`;
  # the secret of the vat's identity (a seed of 32 bytes, to be kept in memory only); the launcher's
  # vat id (32 bytes); and a number (8 bytes, the lowest first), with which the nonce of everything
  # begins that the vat hands over in this life. Then both say their hello, and are vats that know each
  # other: what they give each other is handed over. `start` comes when the vat's hello has come.
  #
  # # Authority
  # Whoever holds this decides what the vat is: its identity, its powers, and when it ends. Only the
  # launcher ever does.
  start @0 (powers :List(Grant), args :List(Text), exposes :List(Text), addresses :List(Text)) -> (value :List(Exposed));
  # Starts the program with exactly these powers. Its answer means that the vat is ready.
  #
  # `exposes` are the manifest's expose names: a `main` that gives back one reference means the
  # only one. `addresses` say where other vats reach this one, as in its sturdy refs; whoever
  # gives a reference to it away tells them.
  accept @1 (stream :Stream, head :Data, plain :Text) -> ();
  # Takes a connected stream for this vat. Its descriptor is attached to `stream`.
  #
  # `head` is what the launcher has read of it (the TLS `ClientHello`). With `plain`, the stream is
  # an unencrypted local one whose bootstrap is the exposed reference of that name.
  meet @2 (stream :Stream, vat :Text) -> ();
  # Takes one end of a socket pair; at the other end is `vat`, another vat of the same launcher
  # that was introduced to this one. The descriptor is attached to `stream`. Both say their hello
  # and speak as over any other connection, without encryption: who is there, the launcher knows.
  # No descriptors pass. At most 3 such streams of one vat are taken at a time.
  stop @3 () -> ();
  # Asks the vat to end. It answers, then finishes what it is doing and exits with code 0.
  keep @4 (store :StoreFile) -> ();
  # Gives the vat its durable store, before `start`: an empty file or one that the vat has written
  # in an earlier life, opened for reading and writing and used by nobody else. Its descriptor is
  # attached to `store`. It fails if the vat cannot use it.
}

interface Siblings @0xcf3b30610c4bf0c0 {
  # What a launcher offers to a vat that it launched: the way to the others, its siblings.
  #
  # # Authority
  # To be connected with vats that the same launcher has launched, and only those of which the launcher
  # gave a reference to this vat, or another vat did that it launched and that is connected there
  # itself, both in their present lives. A connection alone gives nothing but what its host gives to
  # everybody who calls it.
  reach @0 (introduction :Data) -> (value :Stream);
  # Makes a connection to the vat that `introduction` names, and gives this vat's end of it: the
  # descriptor is attached to the reference. That vat has the other end then.
  #
  # `introduction` is the `Contact` (`schema/network.capnp`) of a reference that was given to
  # this vat, without its addresses, as one segment. It fails if the vat is none of this
  # launcher's, does not run or does not take the connection within 4 seconds, or if who
  # introduced this one does not count: then the reference goes through who gave it. At most 2
  # streams to one vat are being made or kept at a time, others wait; in the long run 64
  # introductions are looked at per second.
}

interface StoreFile @0xaa78f5ea14517c6b {
  # The file of a durable store on its way to the vat: the descriptor is attached to the reference.
}

interface Stream @0xcff15358d3325dd2 {
  # A connected stream on its way to another vat: the descriptor is attached to the reference.
}
