use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

#[derive(Clone, vat::Object)]
struct Shares {
    cache: Rc<RefCell<Vec<u64>>>,
    fine: Vec<u64>,
}

#[derive(vat::Object)]
enum Locks {
    One(Mutex<u64>),
    Two { count: AtomicU64 },
}

#[derive(vat::Object)]
#[object(external)]
struct External(Rc<RefCell<u64>>);

#[derive(vat::Object)]
#[object(transient)]
struct Misspelt;

fn main() {}
