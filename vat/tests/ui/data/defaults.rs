//! Defaults are for numbers, `bool` and plain enums, and of their type.

#[derive(Clone, vat::Data)]
struct Defaults {
    #[data(default = "x".to_owned())]
    text: String,
    #[data(default = 300)]
    small: u8,
    #[data(default = true)]
    number: u32,
}

fn main() {}
