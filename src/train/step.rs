//! The training step: gradient of data loss plus penalty, clipped, and one step of the optimizer.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use burn::tensor::TensorData;
use rand_chacha::ChaCha8Rng;

use super::ParameterOptimizer;
use super::gradients::{climbed, length, scaled};
use super::mixup::Mix;
use crate::config::Experiment;
use crate::data::{Batch, Batcher, HostBatch, Prefetch, Subset, Transform};
use crate::network::{BatchStatistics, Network};
use crate::objective::{Penalties, data_loss};

/// Added to the norm in clipping, as PyTorch's `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;
/// Added to the norm in sharpness-aware minimization, against a gradient of 0.
const SAM_EPSILON: f64 = 1e-12;

/// Takes training steps.
pub struct Stepper<'a> {
    experiment: &'a Experiment,
    subset: &'a Subset,
    batcher: &'a Batcher,
    stop: Option<&'a AtomicBool>,
    prefetch: Prefetch,
}

/// What is particular to one step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    /// The samples of its batch.
    pub indices: &'a [u32],
    /// Those of the step after it; none if they are not known.
    pub upcoming: &'a [u32],
    /// The learning rate.
    pub rate: f64,
    /// The epochs before it.
    pub epoch: u64,
    /// The steps before it.
    pub step: u64,
}

/// The sums of one step, still on the device: `[3]` of data loss, penalty and samples classified rightly.
pub type StepSums = Tensor<1>;

/// What a step needs to be taken.
pub struct StepGradients {
    /// The gradient of the objective for every parameter.
    pub gradients: GradientsParams,
    /// The sums over the batch.
    pub sums: StepSums,
    /// The batch's own statistics, for running ones.
    pub statistics: Vec<BatchStatistics>,
}

impl<'a> Stepper<'a> {
    /// Takes steps on the samples of `subset`, as `experiment` says.
    #[must_use]
    pub fn new(experiment: &'a Experiment, subset: &'a Subset, batcher: &'a Batcher) -> Self {
        Self { experiment, subset, batcher, stop: None, prefetch: Prefetch::default() }
    }

    /// Gives up a step of several parts, and leaves all as it was, where `stop` is raised between two of them.
    #[must_use]
    pub fn until(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// One step: the network after it, and the sums before it.
    #[must_use]
    pub fn step(
        &mut self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        context: StepContext,
    ) -> (Network, StepSums) {
        let found = self.gradients(&network, penalties, context);
        self.stepped(network, optimizer, penalties, context, found)
    }

    /// One step, or none: then the network is as it was.
    #[must_use]
    pub fn step_unless_stopped(
        &mut self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        context: StepContext,
    ) -> (Network, Option<StepSums>) {
        match self.gradients_unless_stopped(&network, penalties, context) {
            Some(found) => {
                let (network, sums) = self.stepped(network, optimizer, penalties, context, found);
                (network, Some(sums))
            }
            None => (network, None),
        }
    }

    fn stepped(
        &self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        context: StepContext,
        found: StepGradients,
    ) -> (Network, StepSums) {
        let StepGradients { gradients, sums, statistics } = found;
        let network = optimizer.step(network, gradients, penalties, context);
        (network.with_batch_statistics(&statistics), sums)
    }

    /// The gradient of the objective for every parameter, clipped, and the sums. With `sam_rho` that of the data loss is taken where the
    /// loss is higher, the penalty's where the weights are. Adaptive λ are set by the data loss's gradient.
    ///
    /// # Panics
    ///
    /// Where it is told to stop: then use [`Stepper::step_unless_stopped`].
    #[must_use]
    pub fn gradients(&mut self, network: &Network, penalties: &mut Penalties, context: StepContext) -> StepGradients {
        self.gradients_unless_stopped(network, penalties, context).unwrap_or_else(|| unreachable!("nobody stops it"))
    }

    fn gradients_unless_stopped(&mut self, network: &Network, penalties: &mut Penalties, context: StepContext) -> Option<StepGradients> {
        let batch = context.indices.len();
        let sam_rho = self.experiment.optimizer.sam_rho;
        if sam_rho.is_none() && !penalties.follow_gradient() {
            let found = self.passes(network, penalties.on(network, batch), context)?;
            return Some(self.clipped(network, found));
        }
        let mut found = self.passes(network, None, context)?;
        if let Some(rho) = sam_rho
            && let Some(length) = length(network, &found.gradients)
        {
            let factor = length.add_scalar(SAM_EPSILON).recip().mul_scalar(rho.get());
            let above = climbed(network.clone(), found.gradients, factor);
            // The running statistics are those of the weights as they are.
            found.gradients = self.passes(&above, None, StepContext { upcoming: &[], ..context })?.gradients;
        }
        penalties.adapt(network, &found.gradients);
        let Some(penalty) = penalties.on(network, batch) else {
            return Some(self.clipped(network, found));
        };
        let zero = found.sums.zeros_like().narrow(0, 0, 1);
        found.sums = found.sums + Tensor::cat(vec![zero.clone(), penalty.clone().inner(), zero], 0);
        let mut accumulator = GradientsAccumulator::new();
        accumulator.accumulate(network, found.gradients);
        if penalties.have_gradient() {
            accumulator.accumulate(network, GradientsParams::from_grads(penalty.backward(), network));
        }
        found.gradients = accumulator.grads();
        Some(self.clipped(network, found))
    }

    /// The gradient of the data loss, and of `penalty` where there is one, and the sums.
    ///
    /// A batch larger than `micro_batch` is computed in parts; each part's mean loss counts by its share of the batch, and the penalty
    /// is added once, so that the gradient is that of the whole batch; with mixup, partners are of the same part. None if it was stopped between
    /// two parts.
    fn passes(&mut self, network: &Network, mut penalty: Option<Tensor<1>>, context: StepContext) -> Option<StepGradients> {
        let StepContext { indices, upcoming, epoch, step, .. } = context;
        let Experiment { seed, augment, train, .. } = self.experiment;
        let smoothing = train.label_smoothing.get();
        let (subset, batcher) = (self.subset, self.batcher);
        let micro_batch = train.micro_batch.get();
        let mut accumulator = GradientsAccumulator::new();
        let mut sums: Option<StepSums> = None;
        let [mut dropping, mut mixing] = ["dropout", "mixup"].map(|purpose| seed.stream(purpose, step));
        let mixed_share = Mix::share(augment.mixup.get(), &mut mixing);
        let assemble =
            |indices: &[u32]| batcher.assemble_transformed(subset, indices, |index| Transform::random(augment, *seed, epoch, index));
        let mut chunks = indices.chunks(micro_batch).chain(upcoming.chunks(micro_batch).take(1)).peekable();
        for number in 0..indices.len().div_ceil(micro_batch) {
            if number > 0 && self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return None;
            }
            let Some(chunk) = chunks.next() else { break };
            let mix = mixed_share.map(|share| Mix::drawn(share, chunk.len(), &mut mixing));
            let penalty = penalty.take();
            let share = chunk.len() as f64 / indices.len() as f64;
            let dropping = &mut dropping;
            let work = |batch: HostBatch| {
                let batch = batcher.to_device(batch);
                let BatchLoss { mut loss, correct, statistics } = BatchLoss::of(network, batch, dropping, mix.as_ref(), smoothing);
                if chunk.len() < indices.len() {
                    loss = loss.mul_scalar(share);
                }
                let loss_sum = loss.clone().inner();
                let penalty_sum = penalty.clone().map_or_else(|| loss_sum.zeros_like(), Tensor::inner);
                if let Some(penalty) = penalty {
                    loss = loss + penalty;
                }
                let gradients = GradientsParams::from_grads(loss.backward(), network);
                StepGradients { gradients, sums: Tensor::cat(vec![loss_sum, penalty_sum, correct], 0), statistics }
            };
            let found = self.prefetch.during(assemble, chunk, chunks.peek().copied(), work);
            // The common step is one chunk: its gradients are passed on as they are.
            if chunk.len() == indices.len() {
                return Some(found);
            }
            sums = Some(match sums.take() {
                None => found.sums,
                Some(sum) => sum + found.sums,
            });
            accumulator.accumulate(network, found.gradients);
        }
        let sums = sums.unwrap_or_else(|| Tensor::zeros([3], &self.batcher.device().clone().inner()));
        // A network with batch normalization takes whole batches.
        Some(StepGradients { gradients: accumulator.grads(), sums, statistics: Vec::new() })
    }

    /// Gradients scaled down together to `clip_norm`, if they are longer (Pascanu et al. 2013, arXiv 1211.5063).
    fn clipped(&self, network: &Network, found: StepGradients) -> StepGradients {
        let Some(largest) = self.experiment.optimizer.clip_norm else { return found };
        let Some(length) = length(network, &found.gradients) else { return found };
        // An infinite norm must not pass as a gradient of 0: infinity · 0 is not a number, and is reported as divergence.
        let not_a_number = length.clone().mul_scalar(0.0);
        let scale = not_a_number + length.add_scalar(CLIP_EPSILON).recip().mul_scalar(largest.get()).clamp_max(1.0);
        StepGradients { gradients: scaled(network, found.gradients, scale), ..found }
    }
}

/// The loss of a batch, `[1]`, how many samples are classified rightly, `[1]`, and the batch's statistics.
struct BatchLoss {
    loss: Tensor<1>,
    correct: Tensor<1>,
    statistics: Vec<BatchStatistics>,
}

impl BatchLoss {
    /// The loss in a training step, in which dropout draws from `dropping`. With `mix` each sample is one share of its own image and the rest of another's,
    /// and so is its loss (Zhang et al. 2018, arXiv 1710.09412).
    fn of(network: &Network, batch: Batch, dropping: &mut ChaCha8Rng, mix: Option<&Mix>, smoothing: f64) -> Self {
        let Batch { images, labels } = batch;
        let implementation = network.implementation();
        let Some(Mix { share, partners }) = mix else {
            let (logits, statistics) = network.forward_training(images, dropping);
            let (loss, correct) = data_loss(implementation, logits, labels, smoothing);
            return Self { loss, correct: correct.float(), statistics };
        };
        let partners = Tensor::<1, Int>::from_data(TensorData::new(partners.clone(), [partners.len()]), &labels.device());
        let images = images.clone().mul_scalar(*share) + images.select(0, partners.clone()).mul_scalar(1.0 - share);
        let (logits, statistics) = network.forward_training(images, dropping);
        let (own, own_correct) = data_loss(implementation, logits.clone(), labels.clone(), smoothing);
        let (other, other_correct) = data_loss(implementation, logits, labels.select(0, partners), smoothing);
        Self {
            loss: own.mul_scalar(*share) + other.mul_scalar(1.0 - share),
            correct: own_correct.float().mul_scalar(*share) + other_correct.float().mul_scalar(1.0 - share),
            statistics,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use regulus_model::Weights;

    use super::*;
    use crate::backend::any_cpu;
    use crate::data;

    #[test]
    fn the_loss_of_mixed_images_is_pytorchs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/objective");
        let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \"images.idx\"\ntrain_labels = \"labels.idx\"\n\
             [model]\nchannels = [3, 4]\nhidden = 5\n",
            folder.display()
        );
        std::fs::write(file.path(), config).unwrap();
        let experiment = Experiment::load(file.path(), &[]).unwrap();
        let (device, data) = (any_cpu(), data::load(&experiment.data, experiment.seed).unwrap());
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let path = folder.join("weights.safetensors");
        let network = Network::blank(&graph, &device).with_weights(&Weights::from_file(&path).unwrap(), &path).unwrap();
        let indices: Vec<u32> = serde_json::from_value(expected["batches"][0].clone()).unwrap();
        let batch = Batcher::new(&data.normalizer, &device.device).batch(&data.train, &indices);
        let mix = Mix { share: expected["mixed"]["share"].as_f64().unwrap(), partners: vec![5, 4, 3, 2, 1, 0] };
        let mut dropping = experiment.seed.stream("dropout", 0);
        let loss: f32 = BatchLoss::of(&network, batch, &mut dropping, Some(&mix), 0.0).loss.into_scalar();
        let expected = expected["mixed"]["data_loss"].as_f64().unwrap();
        assert!((f64::from(loss) / expected - 1.0).abs() < 1e-6, "{loss} against {expected}");
    }
}
