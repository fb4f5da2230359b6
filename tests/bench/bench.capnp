@0xd0a3f1b2c4e5968a;
# What every Cap'n Proto peer of the benchmark serves. The vat program derives the same layout from
# its Rust trait, so that either side can be exchanged.

interface Bench @0xe1c7a2905b3d4f68 {
  number @0 (value :UInt64) -> (value :UInt64);
  bytes @1 (value :Data) -> (value :Data);
  next @2 () -> (value :Bench);
  many @3 (count :UInt32) -> (value :List(Bench));
}
