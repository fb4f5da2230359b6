//! A field whose type is no data is shown at that type.

#[derive(Clone)]
struct Plain;

#[derive(Clone, vat::Data)]
struct Holder {
    plain: Plain,
    list: Vec<Plain>,
}

#[derive(Clone, vat::Data)]
enum Choice {
    One(Plain),
    Two,
}

#[derive(vat::Data)]
struct NotClone {
    number: u8,
}

fn main() {}
