# What vats say to each other beside Cap'n Proto RPC: a hello, and what three-party handoff leaves
# to the network.
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

  addresses @6 :List(Text);
  # Where the sender can be reached by vats to which it is introduced; hints, most useful first.
}

struct Limits {
  # What the sender of the hello accepts. 0 means that it does not say. Who has not read the hello yet
  # sends at most 64 calls, and 64 KiB in all: lower limits do not suit.

  messageBytes @0 :UInt64;
  # Largest message.

  capsPerMessage @1 :UInt32;
  # Most references in one message.

  fdsPerMessage @2 :UInt32;
  # Most file descriptors with one message.

  callsSoft @3 :UInt32;
  # Most unanswered calls before further ones wait.

  calls @4 :UInt32;
  # Most unanswered calls, those that wait included. One more ends the connection, and so does a call
  # beyond as many answers again that are not finished.

  callBytesSoft @5 :UInt64;
  # Most bytes of unanswered calls before further ones wait.

  callBytes @6 :UInt64;
  # Most bytes of unanswered calls, those that wait included. More end the connection.
}

# Three-party handoff
#
# A gifter has a reference to something that an exporter hosts, and gives it to a recipient. It
# sends the exporter a Provide that says for whom, and the recipient a descriptor with a Contact. The
# recipient connects to the exporter and sends an Accept with a Completion.
#
# Vats are named by their keys (ed25519, 32 bytes), and connections prove whose they are; so nothing
# here is a secret. What is signed says who may accept: a contact that is stolen or replayed is of
# no use to anybody but its recipient, at the exporter that it names.
#
# A gift is named by its gifter and a nonce of 16 bytes that the gifter never uses again. Signed
# are, without any padding:
#
#   by the gifter     "vat handoff 1\0", exporter, recipient, nonce
#   by a forwarder    "vat forward 1\0", exporter, gifter, nonce, who forwards, to whom

struct Contact {
  # ThirdPartyToContact: from the gifter, or a forwarder, to the recipient.

  exporter @0 :Data;
  # Whose object it is.

  addresses @1 :List(Text);
  # Where the exporter may be reached; hints. They give no right to connect.

  claim @2 :Claim;
}

struct ThirdPartyAwait {
  # ThirdPartyToAwait: from the gifter to the exporter. The gifter is the peer that sends it.

  recipient @0 :Data;
  # Who may accept, or forward.

  nonce @1 :Data;
}

struct Completion {
  # ThirdPartyCompletion: from the recipient to the exporter.

  claim @0 :Claim;
}

struct Claim {
  # That the last in the chain may accept the gift.

  gifter @0 :Data;
  nonce @1 :Data;
  recipient @2 :Data;
  # To whom the gifter gave it.

  signature @3 :Data;
  # By the gifter, 64 bytes.

  forwards @4 :List(Forward);
  # To whom it was passed on before anybody accepted it: each by the one before, at most 8.
}

struct Forward {
  to @0 :Data;
  signature @1 :Data;
  # By the one who had it before.
}
