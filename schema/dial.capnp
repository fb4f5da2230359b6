@0xfad2b17d3b2ed3d9;
# Printed from the Rust types of the same names.

using Stream = import "/program.capnp".Stream;

interface Network @0xcccd60a1398d9ddd {
  # The right to reach other vats.
  #
  # A program without it has no way to the network: it makes no socket, and neither an address nor a
  # URI helps. What it is granted may be limited to certain destinations.
  #
  # # Authority
  #
  # To connect to whatever this reference allows, and to say anything there: who is at the other end
  # is made sure of by the TLS handshake, which is the caller's own affair. A stream that was given
  # out cannot be taken back.
  dial @0 (vat :Text, address :Text) -> (value :Stream);
  # Connects to `address`, where `vat` is said to be, and gives the connected stream; nothing is
  # spoken on it yet. Its descriptor is attached to the reference. It takes 10 seconds at most.
  #
  # `vat` is the vat's id as in a URI. `address` is `host:port` or `unix:/path`, as there.
  #
  # At most 64 streams of one such reference are being made or kept at a time. Drop the stream's
  # reference as soon as its descriptor is taken.
}
