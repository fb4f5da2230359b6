@0xe7ad6d4a24009c3b;
# Printed from the Rust types of the same names.

interface Describe @0x85f41ffdf8511092 {
  # Every object has this interface besides its own.
  describe @0 () -> (value :Description);
  # The object's own interface with all it reaches.
}

struct Description @0xc21c95186ab26afe {
  # An interface with everything it reaches.
  root @0 :UInt64;
  # Id of the interface (or, when a type alone was asked for, of the struct or enum) that was
  # described. The others are here because it reaches them.
  interfaces @1 :List(Interface);
  # All interfaces, by ascending id.
  structs @2 :List(Struct);
  # All structs, groups and implicit parameter and result structs, by ascending id.
  enums @3 :List(Enum);
  # All enums, by ascending id.
}

struct Enum @0xc77c27c974437f48 {
  # An enum without payloads.
  id @0 :UInt64;
  # Its id.
  name @1 :Text;
  # `package::Type`.
  doc @2 :Text;
  # The doc comment.
  enumerants @3 :List(Enumerant);
  # The position is the value on the wire.
}

struct Enumerant @0x8d572b75906e4a69 {
  # A value of an enum.
  name @0 :Text;
  # lowerCamelCase, unique in its enum.
  doc @1 :Text;
  # The doc comment.
}

struct Field @0xad9d04eafa502021 {
  # A field of a struct.
  name @0 :Text;
  # lowerCamelCase, unique in its struct.
  doc @1 :Text;
  # The doc comment.
  ordinal @2 :UInt16;
  # The number after `@`. For a group: the lowest one inside it.
  ty @3 :Type;
  # What it holds.
  offset @4 :UInt32;
  # Where it is, in units of its own size: bits for `Bool`, bytes for `UInt8`, …; index in the
  # pointer section for pointers; 0 for `Void` and groups.
  variant @5 :OptionalUInt16;
  # Its discriminant value if it is a branch of the unnamed union.
  default @6 :Value;
  # The value that the source declares for an absent field, zero included. Only scalars have
  # one. A field without it that is not optional has to be given by a caller; on the wire an
  # absent one reads as zero all the same.
  optional @7 :Bool;
  # Whether absence is a value of its own: an `Option` in Rust. Such a field is a pointer, and
  # null means absent; an optional scalar is a pointer to a struct with the one field `value`.
}

struct Interface @0xa2026c48594e0e5c {
  # An interface: a Rust trait as it is on the wire.
  id @0 :UInt64;
  # What a call names it by.
  name @1 :Text;
  # `package::Trait`.
  doc @2 :Text;
  # The doc comment, lines separated by `\n`; empty if there is none.
  extends @3 :List(UInt64);
  # Ids of the interfaces it extends, in source order.
  methods @4 :List(Method);
  # Own methods (not the inherited ones); the position is the ordinal.
}

struct Method @0xeaf83735af6335f5 {
  # A method of an interface.
  name @0 :Text;
  # lowerCamelCase, unique in its interface.
  doc @1 :Text;
  # The doc comment.
  params @2 :UInt64;
  # Id of the struct that holds the parameters.
  results @3 :UInt64;
  # Id of the struct that holds the results.
  reads @4 :Bool;
  # Whether it only reads, as its interface declares: a `&self` method in Rust. A `.capnp` text
  # does not say it.
  cancellable @5 :Bool;
  # Whether it stops when its caller gives the call up, as its interface declares. A `.capnp` text
  # does not say it.
}

struct OptionalUInt16 @0xe0ef742bf7f2cd5e {
  value @0 :UInt16;
}

struct OptionalUInt32 @0x96d1c6d11c2d35e1 {
  value @0 :UInt32;
}

struct Struct @0xabcbe805e9cda15d {
  # A struct, a group of one, or the implicit struct of a parameter or result list.
  id @0 :UInt64;
  # Its id; for a group and an implicit struct the one that the `capnp` compiler computes.
  name @1 :Text;
  # `package::Type`; for an implicit struct `package::Trait.method$Params` or `$Results`, for a
  # group `package::Type.group`.
  doc @2 :Text;
  # The doc comment.
  dataWords @3 :UInt16;
  # Size of the data section in words of 8 bytes. A group repeats the size of its struct.
  pointers @4 :UInt16;
  # Number of pointers. A group repeats the number of its struct.
  discriminant @5 :OptionalUInt32;
  # Where the discriminant of the unnamed union is, in units of 16 bits, if there is one.
  fields @6 :List(Field);
  # All fields, those of the unnamed union included, in the order of their source; their
  # position in the node's own list (which group ids depend on) is the one by ordinal.
}

struct Type @0x953ad58581d83255 {
  # What a field, a list element, a parameter or a result holds.
  union {
    void @0 :Void;
    # Nothing.
    bool @1 :Void;
    # One bit.
    int8 @2 :Void;
    # A signed number of 8 bits.
    int16 @3 :Void;
    # A signed number of 16 bits.
    int32 @4 :Void;
    # A signed number of 32 bits.
    int64 @5 :Void;
    # A signed number of 64 bits.
    uInt8 @6 :Void;
    # An unsigned number of 8 bits.
    uInt16 @7 :Void;
    # An unsigned number of 16 bits.
    uInt32 @8 :Void;
    # An unsigned number of 32 bits.
    uInt64 @9 :Void;
    # An unsigned number of 64 bits.
    float32 @10 :Void;
    # An IEEE 754 number of 32 bits.
    float64 @11 :Void;
    # An IEEE 754 number of 64 bits.
    text @12 :Void;
    # UTF-8 text.
    data @13 :Void;
    # Bytes.
    list @14 :Type;
    # A list.
    enum @15 :UInt64;
    # An enum, by id.
    struct @16 :UInt64;
    # A struct, by id.
    group @17 :UInt64;
    # A group of the same struct, by id: not a pointer, its fields lie in the struct itself.
    interface @18 :UInt64;
    # A reference that has this interface.
    capability @19 :Void;
    # A reference of any interface.
  }
}

struct Value @0xc330bce482b7c521 {
  # A default value.
  union {
    bool @0 :Bool;
    # Of a `Bool`.
    int @1 :Int64;
    # Of a signed number.
    uInt @2 :UInt64;
    # Of an unsigned number.
    float32 @3 :Float32;
    # Of a `Float32`.
    float64 @4 :Float64;
    # Of a `Float64`.
    enum @5 :UInt16;
    # Of an enum: the number of the enumerant.
  }
}
