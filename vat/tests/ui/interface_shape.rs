use vat::prelude::*;

#[vat::interface]
trait Generic<T> {
    fn value(&self, turn: &Turn) -> Result<T>;
}

#[vat::interface]
trait Two: First + Second {}

#[vat::interface]
trait WithLifetime: 'static {}

#[vat::interface]
trait WithConst {
    const LIMIT: u64;
}

#[vat::interface(nmae = "a::B")]
trait Misspelt {}

#[vat::interface(name = "NoPackage")]
trait NoPackage {}

#[vat::interface(id = 0x1234)]
trait SmallId {}

fn main() {}
