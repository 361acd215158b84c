//! To tell classes apart.

use std::cell::Cell;
use std::sync::Arc;

use regulus_model::graph::{Features, Graph, Shape};

use super::{ACTIVATION, BatchLoss, OnProgress, OnScore, Score, Task};
use crate::backend::keep_awake;
use crate::config::{Augment, ConfigError, Experiment, Implementation, Sampling};
use crate::data::{Assemble, Batcher, Data, Draw, Subset, Targets, Transform, balanced_draws};
use crate::metrics::{Measures, Tally};
use crate::network::{Output, Predictor};
use crate::objective::data_loss;
use crate::seed::Seed;

/// The largest batch size of a measurement.
const BATCH: usize = 500;

/// Classification: a target is a label, the data loss the cross-entropy in nats.
#[derive(Clone, Debug, Default)]
pub struct Classify {
    augment: Augment,
    label_smoothing: f64,
    /// The weight of each class in the data loss of training. `None`: every sample counts the same.
    class_weights: Option<Vec<f32>>,
    sampling: Sampling,
    /// The number of classes.
    classes: usize,
    seed: Seed,
}

impl Classify {
    /// The task with the options of `experiment`, for its training data.
    ///
    /// # Errors
    ///
    /// When `train.class_weights` do not fit the classes, or a class has no samples to draw.
    pub fn new(experiment: &Experiment, data: &Data) -> Result<Self, ConfigError> {
        let Experiment { train, augment, seed, .. } = experiment;
        let (sampling, classes) = (train.sampling, data.classes.len());
        let counts = data.train.class_counts(classes);
        sampling.check(&data.classes, &counts)?;
        let weights = train.class_weights.of_classes(&data.classes, &counts)?;
        #[expect(clippy::cast_possible_truncation, reason = "factors of a float32 loss")]
        let class_weights = weights.map(|weights| weights.into_iter().map(|weight| weight as f32).collect());
        Ok(Self { augment: *augment, label_smoothing: train.label_smoothing.get(), class_weights, sampling, classes, seed: *seed })
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
        let (augment, seed, subset, batcher) = (self.augment, self.seed, subset.clone(), batcher.clone());
        let shape = subset.shape();
        if self.sampling == Sampling::Balanced {
            let draws = balanced_draws(&subset, self.classes, seed, epoch);
            return Arc::new(move |places| {
                let drawn: Vec<Draw> = places.iter().map(|place| draws[*place as usize]).collect();
                let indices: Vec<u32> = drawn.iter().map(|draw| draw.index).collect();
                // The same sample can be drawn several times in an epoch, each time with a transform of its own.
                let next = Cell::new(0);
                let transform = |index| Transform::random(&augment, shape, seed, drawn[next.replace(next.get() + 1)].pass, index);
                batcher.assemble_transformed(&subset, &indices, transform)
            });
        }
        Arc::new(move |indices| {
            batcher.assemble_transformed(&subset, indices, |index| Transform::random(&augment, shape, seed, epoch, index))
        })
    }

    fn loss(&self, implementation: Implementation, output: Output, targets: Targets) -> BatchLoss {
        let weights = self.class_weights.as_deref();
        let (loss, correct) = data_loss(implementation, output.vector(), targets.labels(), self.label_smoothing, weights);
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
                let logits = predictor.logits_of(subset, chunk, &mut || on_progress(done))?;
                for (index, logits) in chunk.iter().zip(logits.chunks_exact(classes)) {
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
