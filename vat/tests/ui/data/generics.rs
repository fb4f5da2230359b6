//! Generic types and unions are refused.

#[derive(Clone, vat::Data)]
struct Pair<T> {
    first: T,
    second: T,
}

#[derive(Clone, vat::Data)]
struct Borrowing<'a> {
    name: &'a str,
}

#[derive(Clone, Copy, vat::Data)]
union Either {
    number: u32,
    float: f32,
}

#[derive(Clone, vat::Data)]
struct Unnamed(u8, u8);

fn main() {}
