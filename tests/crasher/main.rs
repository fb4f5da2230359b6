//! A program that ends at once, with an error.

fn main() {
    std::process::exit(3);
}
