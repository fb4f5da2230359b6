//! Rust without any system: what a call costs at least.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use ::vat::Result;

use super::{BATCH, Case, timed};

trait Counter {
    fn add(&mut self, amount: u64) -> Result<u64>;
}

struct Count {
    value: u64,
}

impl Counter for Count {
    fn add(&mut self, amount: u64) -> Result<u64> {
        self.value += amount;
        Ok(self.value)
    }
}

pub fn cases() -> Vec<Case> {
    vec![Case::new("near", "Rc<RefCell<dyn Trait>>", || {
        let counter: Rc<RefCell<dyn Counter>> =
            black_box(Rc::new(RefCell::new(Count { value: 0 })));
        timed(BATCH, || {
            for _ in 0..BATCH {
                let _ = black_box(counter.borrow_mut().add(black_box(1)));
            }
        })
    })]
}
