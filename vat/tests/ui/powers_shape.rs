#[derive(vat::Powers)]
struct Unnamed(vat::Ref);

#[derive(vat::Powers)]
struct WithData {
    port: u16,
}

#[derive(vat::Exposed)]
enum Either {
    One,
}

fn main() {}
