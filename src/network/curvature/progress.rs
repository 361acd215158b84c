//! The progress of long work, which can be stopped.

use std::sync::atomic::{AtomicU64, Ordering};

/// Long work was asked to stop before its end, and left nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Called from several threads with the name of a phase, how much of it is done, and how much there is; returns whether to go on.
pub type Watch<'a> = dyn Fn(&'static str, u64, u64) -> bool + Sync + 'a;

/// How much of a phase is done.
pub(super) struct Done<'a> {
    name: &'static str,
    so_far: AtomicU64,
    all: u64,
    watch: &'a Watch<'a>,
}

impl<'a> Done<'a> {
    pub(super) fn of(name: &'static str, all: u64, watch: &'a Watch<'a>) -> Self {
        Self { name, so_far: AtomicU64::new(0), all, watch }
    }

    /// Adds what was done.
    pub(super) fn add(&self, work: u64) -> Result<(), Stopped> {
        let done = self.so_far.fetch_add(work, Ordering::Relaxed) + work;
        if (self.watch)(self.name, done, self.all) { Ok(()) } else { Err(Stopped) }
    }
}
