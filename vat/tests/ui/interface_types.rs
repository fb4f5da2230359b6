use vat::prelude::*;

struct NotData;

#[vat::interface]
trait Types {
    fn take(&self, turn: &Turn, value: NotData) -> Result<()>;
}

#[vat::interface]
trait Gives {
    fn give(&self, turn: &Turn) -> Result<NotData>;
}

fn main() {}
