//! An observer that writes metrics, checkpoints and statistics of the weights to the run folder.

use std::ops::ControlFlow;

use regulus_model::Weights;
use regulus_model::graph::Graph;

use super::{CheckpointKind, RunFolder, WeightsRow};
use crate::error::{Error, WriteError};
use crate::train::{Event, Observer};

/// Writes metrics, checkpoints and statistics of the weights to a run folder.
#[derive(Debug)]
pub struct Recorder<'a> {
    folder: &'a RunFolder,
    graph: Graph,
    /// The epoch of the last line of `weights.jsonl`.
    last_weights: Option<u64>,
    /// The line that was written last by this recorder.
    row: Option<WeightsRow>,
}

impl<'a> Recorder<'a> {
    /// A recorder for a network of `graph`.
    ///
    /// # Errors
    ///
    /// When `weights.jsonl` can't be read.
    pub fn new(folder: &'a RunFolder, graph: Graph) -> Result<Self, Error> {
        let last_weights = folder.weights()?.last().map(|row| row.epoch);
        Ok(Self { folder, graph, last_weights, row: None })
    }

    /// Adds the weights after `epoch` epochs to `weights.jsonl`, unless it has them.
    ///
    /// # Errors
    ///
    /// When they can't be written.
    pub fn record_weights(&mut self, epoch: u64, weights: &Weights) -> Result<(), WriteError> {
        if self.last_weights.is_some_and(|last| last >= epoch) {
            return Ok(());
        }
        let row = WeightsRow::new(epoch, weights, &self.graph);
        self.folder.append_weights(&row)?;
        (self.last_weights, self.row) = (Some(epoch), Some(row));
        Ok(())
    }

    /// The line of `weights.jsonl` that this recorder wrote last. Returns `None` before the first.
    #[must_use]
    pub fn weights(&self) -> Option<&WeightsRow> {
        self.row.as_ref()
    }
}

impl Observer for Recorder<'_> {
    fn on(&mut self, event: &Event) -> Result<ControlFlow<()>, Error> {
        match event {
            Event::Progress(_) | Event::UpdatingLambda | Event::Measuring | Event::Phase(_) => {}
            Event::Epoch(rows) => self.folder.append_metrics(rows)?,
            Event::Checkpoint { snapshot, best } => {
                if snapshot.state.batch == 0 {
                    self.record_weights(snapshot.state.epoch, snapshot.measured())?;
                }
                if *best {
                    self.folder.save(CheckpointKind::Best, snapshot)?;
                }
                self.folder.save(CheckpointKind::Last, snapshot)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
