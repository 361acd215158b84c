//! To tell classes apart.

use std::borrow::Cow;
use std::sync::Arc;

use regulus_model::graph::{Features, Graph, Shape};

use super::{ACTIVATION, BatchLoss, OnProgress, OnScore, Score, Task};
use crate::backend::keep_awake;
use crate::config::{Augment, Experiment, Implementation};
use crate::data::{Assemble, Batcher, Subset, Targets, Transform};
use crate::metrics::{Measures, Tally};
use crate::network::{Output, Predictor};
use crate::objective::data_loss;
use crate::seed::Seed;

/// The largest batch size of a measurement.
const BATCH: usize = 500;

/// The images that are decoded at once.
const PIECE: usize = 32;

/// Classification: a target is a label, the data loss the cross-entropy in nats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Classify {
    augment: Augment,
    label_smoothing: f64,
    seed: Seed,
}

impl Classify {
    /// The task with the options of `experiment`.
    #[must_use]
    pub fn new(experiment: &Experiment) -> Self {
        Self { augment: experiment.augment, label_smoothing: experiment.train.label_smoothing.get(), seed: experiment.seed }
    }
}

impl Task for Classify {
    fn step_metrics(&self) -> &'static [&'static str] {
        &["accuracy"]
    }

    fn output(&self, _: Shape, classes: usize) -> Features {
        Features::Vector(classes)
    }

    fn check(&self, graph: &Graph, shape: Shape) -> Result<(), String> {
        if shape == graph.input() { Ok(()) } else { Err(format!("it takes images of {}", graph.input())) }
    }

    fn assembler(&self, subset: &Subset, batcher: &Batcher, epoch: u64) -> Arc<Assemble> {
        let (Self { augment, seed, .. }, subset, batcher) = (*self, subset.clone(), batcher.clone());
        let shape = subset.shape();
        Arc::new(move |indices| {
            batcher.assemble_transformed(&subset, indices, |index| Transform::random(&augment, shape, seed, epoch, index))
        })
    }

    fn loss(&self, implementation: Implementation, output: Output, targets: Targets) -> BatchLoss {
        let (loss, correct) = data_loss(implementation, output.vector(), targets.labels(), self.label_smoothing);
        BatchLoss { loss, metrics: vec![correct.float()] }
    }

    fn measure(
        &self,
        predictor: &Predictor,
        subset: &Subset,
        mut each: Option<&mut OnScore>,
        on_progress: &mut OnProgress,
    ) -> Option<Measures> {
        predictor.threads().run(|| {
            let classes = predictor.graph().output_features().size();
            let mut tally = Tally::new(classes);
            let batch = (ACTIVATION / predictor.graph().largest_features()).clamp(1, BATCH);
            let indices: Vec<usize> = (0..subset.count()).collect();
            let mut done = 0;
            for chunk in indices.chunks(batch) {
                keep_awake();
                // In pieces, so that it can be stopped soon where images are decoded.
                let mut images: Vec<Cow<[u8]>> = Vec::with_capacity(chunk.len());
                for piece in chunk.chunks(PIECE) {
                    images.extend(subset.pixels_of_all(piece));
                    if subset.is_streamed() && !on_progress(done) {
                        return None;
                    }
                }
                let images: Vec<&[u8]> = images.iter().map(AsRef::as_ref).collect();
                for (index, logits) in chunk.iter().zip(predictor.logits(&images).chunks_exact(classes)) {
                    let scored = tally.add(logits, subset.label(*index) as usize);
                    if let Some(each) = &mut each {
                        each(*index, Score::Class(scored, logits));
                    }
                }
                done += chunk.len() as u64;
                if !on_progress(done) {
                    return None;
                }
            }
            Some(Measures::Classification(Box::new(tally.measures())))
        })
    }
}
