//! Long work besides the steps, which tells how far it is and ends on request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Observer, Phase};
use crate::error::Error;

/// Passes on how far long work is, from any of its threads, and ends it where `stop` is raised or the observer fails.
pub(crate) struct Watched<'a> {
    stop: &'a AtomicBool,
    observer: Mutex<Watching<'a>>,
}

struct Watching<'a> {
    observer: &'a mut dyn Observer,
    result: Result<(), Error>,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(stop: &'a AtomicBool, observer: &'a mut dyn Observer) -> Self {
        Self { stop, observer: Mutex::new(Watching { observer, result: Ok(()) }) }
    }

    /// Tells that `done` of `total` is done; whether to go on.
    pub(crate) fn goes_on(&self, phase: &'static str, done: u64, total: u64) -> bool {
        // A thread that finds another one telling has no more to say.
        if let Ok(mut watching) = self.observer.try_lock()
            && watching.result.is_ok()
        {
            watching.result = watching.observer.on(&Event::Phase(Phase { phase, done, total }));
            if watching.result.is_err() {
                return false;
            }
        }
        !self.stop.load(Ordering::Relaxed)
    }

    /// What the observer said.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.observer.into_inner().map_or(Ok(()), |watching| watching.result)
    }
}
