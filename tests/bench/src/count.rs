//! Counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system's allocator, counted. The count is a load and a store, not a locked addition: the
/// benchmarks have one thread that matters, and every peer pays the same.
pub struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// How often memory was allocated so far; growing a block in place counts as well.
pub fn allocations() -> u64 {
    COUNT.load(Relaxed)
}

fn count() {
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}
