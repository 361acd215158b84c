//! Progress of long phases between training steps. A phase can be stopped.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Observer, Phase};
use crate::error::Error;

/// Reports progress of a phase to an observer, from any thread. Stops the phase when `stop` is set or the observer fails.
pub(crate) struct PhaseReporter<'a> {
    stop: &'a AtomicBool,
    target: Mutex<Target<'a>>,
}

struct Target<'a> {
    observer: &'a mut dyn Observer,
    /// The first error of the observer.
    result: Result<(), Error>,
}

impl<'a> PhaseReporter<'a> {
    pub(crate) fn new(stop: &'a AtomicBool, observer: &'a mut dyn Observer) -> Self {
        Self { stop, target: Mutex::new(Target { observer, result: Ok(()) }) }
    }

    /// Reports that `done` of `total` units are done. Returns whether to continue.
    pub(crate) fn report(&self, phase: &'static str, done: u64, total: u64) -> bool {
        // While another thread reports, this report is skipped.
        if let Ok(mut target) = self.target.try_lock()
            && target.result.is_ok()
        {
            target.result = target.observer.on(&Event::Phase(Phase { phase, done, total }));
            if target.result.is_err() {
                return false;
            }
        }
        !self.stop.load(Ordering::Relaxed)
    }

    /// Ends the reports; returns the error of the observer, if there was one.
    pub(crate) fn finish(self) -> Result<(), Error> {
        self.target.into_inner().map_or(Ok(()), |target| target.result)
    }
}
