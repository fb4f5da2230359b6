@0xdb495e0ca5e2176c;
# Printed from the Rust types of the same names.

interface Restorer @0xa9ceb805df7877be {
  # Turns a swiss number into the reference it names. The bootstrap of every vat on the network.
  restore @0 (swiss :Data) -> (value :Capability);
  # The reference that `swiss` names.
  #
  # # Errors
  #
  # A number that is wrong, revoked, expired or never existed gets one and the same answer. Who
  # asks for too many of these within a minute is told that it is overloaded, whatever it asks for.
}
