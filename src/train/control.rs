//! The observer of a training run and its stop flag.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Observer, Phase};
use crate::error::Error;

/// Sends events to an observer. Training is to stop when the flag is set or the observer has returned `Break`.
pub(crate) struct Control<'a> {
    stop: &'a AtomicBool,
    observer: &'a mut dyn Observer,
    /// Whether the observer has returned `Break`.
    has_broken: bool,
}

impl<'a> Control<'a> {
    pub(crate) fn new(stop: &'a AtomicBool, observer: &'a mut dyn Observer) -> Self {
        Self { stop, observer, has_broken: false }
    }

    /// Sends an event to the observer.
    pub(crate) fn send(&mut self, event: &Event) -> Result<(), Error> {
        self.has_broken |= self.observer.on(event)?.is_break();
        Ok(())
    }

    /// Whether training is to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.has_broken || self.stop.load(Ordering::Relaxed)
    }

    /// The stop flag.
    pub(super) fn flag(&self) -> &'a AtomicBool {
        self.stop
    }
}

/// Reports progress of a long phase between training steps, from any thread. The phase ends when training is to stop, or the observer fails.
pub(crate) struct PhaseReporter<'a, 'b> {
    stop: &'b AtomicBool,
    target: Mutex<Target<'a, 'b>>,
}

struct Target<'a, 'b> {
    control: &'a mut Control<'b>,
    /// The first error of the observer.
    result: Result<(), Error>,
}

impl<'a, 'b> PhaseReporter<'a, 'b> {
    pub(crate) fn new(control: &'a mut Control<'b>) -> Self {
        Self { stop: control.stop, target: Mutex::new(Target { control, result: Ok(()) }) }
    }

    /// Reports that `done` of `total` units are done. Returns whether to continue.
    pub(crate) fn report(&self, phase: &'static str, done: u64, total: u64) -> bool {
        // While another thread reports, this report is skipped.
        if let Ok(mut target) = self.target.try_lock() {
            let Target { control, result } = &mut *target;
            if result.is_ok() {
                *result = control.send(&Event::Phase(Phase { phase, done, total }));
            }
            if result.is_err() || control.has_broken {
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

/// An observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _event: &Event) -> Result<ControlFlow<()>, Error> {
        Ok(ControlFlow::Continue(()))
    }
}
