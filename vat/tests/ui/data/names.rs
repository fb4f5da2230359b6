//! Names that Cap'n Proto has not, and names that meet.

#[derive(Clone, vat::Data)]
struct Meeting {
    foo_bar: u8,
    fooBar: u8,
}

#[derive(Clone, vat::Data)]
struct Under_Score {
    number: u8,
}

#[derive(Clone, vat::Data)]
struct Umlaut {
    größe: u8,
}

#[derive(Clone, vat::Data)]
#[data(name = "NoPackage", id = 0x1234)]
struct Named {
    #[data(name = "Capital")]
    number: u8,
    #[data(nmae = "typo")]
    other: u8,
}

#[derive(Clone, vat::Data)]
#[data(unknown)]
struct Unknown {
    number: u8,
}

fn main() {}
