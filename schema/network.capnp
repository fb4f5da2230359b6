# What vats say to each other beside Cap'n Proto RPC.
#
# A hello is the first message in each direction of a connection on which both sides are known to
# be vats: TLS with the protocol name `vat/1`, the socket between launcher and child, and pairs of
# siblings. Nobody waits for the other's hello before sending more. On any other connection there
# is none: plain Cap'n Proto RPC begins at once.

@0xc1c5a4ec9d1b7f26;

struct Hello {
  # Fields that a receiver does not know are ignored, features that it does not know as well.

  magic @0 :UInt32 = 0x0d746176;
  # Always this value, so that a peer that does not say hello is recognised as such.

  major @1 :UInt16;
  # Version of what follows the hello, now 1. Another one ends the connection.

  minor @2 :UInt16;
  # For people.

  features @3 :UInt64;
  # One bit each:
  #
  #   0  three-party handoff (level 3 messages in their redesigned form)
  #   1  extended calls (deadlines)
  #
  # A side uses a feature only if both have announced it.

  limits @4 :Limits;

  agent @5 :Text;
  # Name and version of the program library, for people.
}

struct Limits {
  # What the sender of the hello accepts. 0 means that it does not say.

  messageBytes @0 :UInt64;
  # Largest message.

  capsPerMessage @1 :UInt32;
  # Most references in one message.

  fdsPerMessage @2 :UInt32;
  # Most file descriptors with one message.

  calls @3 :UInt32;
  # Most unfinished calls.
}
