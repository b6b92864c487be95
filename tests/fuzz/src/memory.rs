//! An allocator that gives out so much and no more. Beyond it the process aborts, which the
//! fuzzer takes for the finding it is. (Without a sanitizer libFuzzer sees no allocation itself.)

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be in use at a time, all of them together; an input has at most 64 KiB.
const LIVE_MAX: usize = 32 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Bounded;

#[global_allocator]
static ALLOCATOR: Bounded = Bounded;

impl Bounded {
    fn take(size: usize) -> bool {
        let before = LIVE.fetch_add(size, Ordering::Relaxed);
        // A panic is a finding already, and its stack trace takes what it takes.
        if before.saturating_add(size) <= LIVE_MAX || std::thread::panicking() {
            return true;
        }
        LIVE.fetch_sub(size, Ordering::Relaxed);
        false
    }
}

// SAFETY: every call goes to the system's allocator with the same layout, or is refused with null.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Self::take(layout.size()) {
            // SAFETY: the caller's contract.
            true => unsafe { System.alloc(layout) },
            false => ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Self::take(layout.size()) {
            // SAFETY: the caller's contract.
            true => unsafe { System.alloc_zeroed(layout) },
            false => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) };
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !Self::take(size) {
            return ptr::null_mut();
        }
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}
