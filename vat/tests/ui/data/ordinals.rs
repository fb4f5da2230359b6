//! Ordinals count without holes, and each is there once.

#[derive(Clone, vat::Data)]
struct Hole {
    #[data(n = 0)]
    first: u8,
    #[data(n = 2)]
    second: u8,
}

#[derive(Clone, vat::Data)]
struct Twice {
    #[data(n = 0)]
    first: u8,
    #[data(n = 0)]
    second: u8,
}

#[derive(Clone, vat::Data)]
struct Partial {
    #[data(n = 1)]
    first: u8,
    second: u8,
}

#[derive(Clone, vat::Data)]
#[data(reserved(1: u8))]
struct Taken {
    #[data(n = 0)]
    first: u8,
    #[data(n = 1)]
    second: u8,
}

#[derive(Clone, vat::Data)]
#[data(reserved(7: u8))]
struct Beyond {
    first: u8,
}

fn main() {}
