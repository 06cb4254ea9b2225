//! Counts what is allocated, so that an input that takes much more memory than it is long is a finding.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in use, and the most that were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed).wrapping_add(layout.size());
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Begins to measure.
pub fn start() -> usize {
    let live = LIVE.load(Relaxed);
    PEAK.store(live, Relaxed);
    live
}

/// The most that was in use since then, beyond what was in use at that time.
pub fn peak_since(before: usize) -> usize {
    PEAK.load(Relaxed).saturating_sub(before)
}

/// What an input of so many bytes may take. Decoders: a part for its copies, a part for tables.
pub fn allowed(name: &str, length: usize) -> usize {
    let fixed = match name {
        // Whole worlds, caches that grow over many inputs.
        "dispute" | "dispute-forged" | "schedule" | "receipt-forged" => 512 << 20,
        // Verifies escrows: their tables.
        "bundle" | "receipt" | "case" | "escrow-altered" | "journal-exchange" => 4 << 20,
        // The buffer that never moves.
        "purses-file" => 2 << 20,
        _ => 512 << 10,
    };
    fixed + 48 * length
}
