//! Types that Cap'n Proto does not have, each with what to write instead; all in one go.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

#[derive(Clone, vat::Data)]
struct Unsupported {
    size: usize,
    offset: isize,
    big: u128,
    letter: char,
    pair: (u8, String),
    ages: HashMap<String, u8>,
    set: BTreeSet<u8>,
    shared: Rc<String>,
    numbers: [u32; 4],
    borrowed: &'static str,
    slice: &'static [u8],
    callback: fn(u8) -> u8,
    object: Box<dyn Fn()>,
    inner: Vec<Option<usize>>,
    counts: Vec<Option<u32>>,
    twice: Option<Option<String>>,
    when: std::time::SystemTime,
    outcome: Result<u8, String>,
    path: std::path::PathBuf,
}

fn main() {}
