#[derive(Clone, vat::Object)]
struct WithDrop(u64);

impl Drop for WithDrop {
    fn drop(&mut self) {}
}

fn main() {}
