//! Enums that have no form on the wire.

#[derive(Clone, vat::Data)]
enum Never {}

#[derive(Clone, vat::Data)]
enum Single {
    Only(u8),
}

#[derive(Clone, vat::Data)]
enum Numbered {
    One = 1,
    Two = 2,
}

#[derive(Clone, vat::Data)]
enum Grouped {
    Empty,
    Pair { left: u8, right: u8 },
}

#[derive(Clone, vat::Data)]
enum Brackets {
    Empty(),
    Other(u8),
}

#[derive(Clone, vat::Data)]
enum Placed {
    #[data(n = 3)]
    Pair {
        #[data(n = 0)]
        left: u8,
        #[data(n = 1)]
        right: u8,
    },
    #[data(n = 2)]
    Other,
}

fn main() {}
