//! Whether a list of options exists depends on the type inside.

#[derive(Clone, vat::Data)]
struct Point {
    x: i32,
}

#[derive(Clone, vat::Data)]
enum Colour {
    Red,
}

#[derive(Clone, vat::Data)]
struct Path {
    names: Vec<Option<String>>,
    points: Vec<Option<Point>>,
    colours: Vec<Option<Colour>>,
}

fn main() {}
