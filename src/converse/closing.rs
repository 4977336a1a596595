//! Calls under way, counted from before their permit until their end is recorded, so that a server
//! that stops can let them end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls under way, and whether more may begin.
#[derive(Debug, Default)]
pub(super) struct Calls {
    count: AtomicUsize,
    is_closed: AtomicBool,
}

/// A call under way, until it is dropped.
pub(super) struct UnderWay<'a>(&'a Calls);

impl Calls {
    /// Counts a call, unless no more may begin.
    pub fn begin(&self) -> Option<UnderWay<'_>> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(self);
        (!self.is_closed.load(Ordering::SeqCst)).then_some(under_way)
    }

    /// Lets no more begin.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
    }
}
