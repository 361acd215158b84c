//! An observer that writes metrics and checkpoints to the run folder.

use std::ops::ControlFlow;

use super::{CheckpointKind, RunFolder};
use crate::error::Error;
use crate::train::{Event, Observer};

/// Writes metrics and checkpoints to a run folder.
#[derive(Debug)]
pub struct Recorder<'a>(pub &'a RunFolder);

impl Observer for Recorder<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Progress(_) | Event::UpdatingLambda | Event::Measuring | Event::Phase(_) => {}
            Event::Epoch(rows) => self.0.append_metrics(rows)?,
            Event::Checkpoint { snapshot, best } => {
                if *best {
                    self.0.save(CheckpointKind::Best, snapshot)?;
                }
                self.0.save(CheckpointKind::Last, snapshot)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
