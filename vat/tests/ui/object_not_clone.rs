#[derive(vat::Object)]
struct NotClone(Vec<u64>);

fn main() {}
