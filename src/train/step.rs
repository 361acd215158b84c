//! The training step: the clipped gradient of data loss plus penalty, and the optimizer step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use burn::tensor::TensorData;

use super::ParameterOptimizer;
use super::gradients::{gradient_norm, perturbed, scaled};
use super::mixup::Mix;
use crate::config::Experiment;
use crate::data::{Batch, LoadedBatch, MicroBatch};
use crate::network::{BatchStatistics, Network, TrainingPass};
use crate::objective::{Observed, Penalties};
use crate::task::{BatchLoss, Task};

/// Added to the norm in clipping, as PyTorch's `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;
/// Added to the norm in sharpness-aware minimization, against a gradient of 0.
const SAM_EPSILON: f64 = 1e-12;

/// Executes training steps.
pub struct Stepper<'a> {
    experiment: &'a Experiment,
    task: Arc<dyn Task>,
    device: &'a Device,
    stop: Option<&'a AtomicBool>,
    from: Option<usize>,
}

/// The context of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// The number of samples of the batch.
    pub samples: usize,
    /// The learning rate.
    pub rate: f64,
    /// The step, from 0.
    pub step: u64,
}

/// The sums of one step on the device, `[2 + metrics]`: data loss, penalty, and the sum of each metric over the samples.
pub type StepSums = Tensor<1>;

/// The index of the penalty in the sums.
const PENALTY: usize = 1;

/// The gradients and sums of one step.
pub struct StepGradients {
    /// The gradient of the objective for every parameter.
    pub gradients: GradientsParams,
    /// The sums over the batch.
    pub sums: StepSums,
    /// The statistics of the batch, for the running statistics.
    pub statistics: Vec<BatchStatistics>,
}

impl StepGradients {
    /// The optimizer step with these gradients, and the update of the running statistics.
    fn apply(
        self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        context: StepContext,
    ) -> (Network, StepSums) {
        let network = optimizer.step(network, self.gradients, penalties, context);
        (network.with_batch_statistics(&self.statistics), self.sums)
    }
}

impl<'a> Stepper<'a> {
    /// A stepper with the options of `experiment`, whose task is `task`. `device` has autodiff.
    #[must_use]
    pub fn new(experiment: &'a Experiment, task: Arc<dyn Task>, device: &'a Device) -> Self {
        Self { experiment, task, device, stop: None, from: None }
    }

    /// Sets the node whose vectors batches have in place of images.
    #[must_use]
    pub fn from_node(self, from: Option<usize>) -> Self {
        Self { from, ..self }
    }

    /// Sets a flag that stops [`Stepper::step_unless_stopped`] between two micro-batches.
    #[must_use]
    pub fn until(self, stop: &'a AtomicBool) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// One step. Returns the network after the step, and the sums with the weights before it.
    #[must_use]
    pub fn step(
        &self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        batch: &mut LoadedBatch,
        context: StepContext,
    ) -> (Network, StepSums) {
        self.gradients(&network, penalties, batch, context).apply(network, optimizer, penalties, context)
    }

    /// One step. Returns the network unchanged and `None` if it was stopped.
    #[must_use]
    pub fn step_unless_stopped(
        &self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        batch: &mut LoadedBatch,
        context: StepContext,
    ) -> (Network, Option<StepSums>) {
        match self.gradients_unless_stopped(&network, penalties, batch, context) {
            Some(found) => {
                let (network, sums) = found.apply(network, optimizer, penalties, context);
                (network, Some(sums))
            }
            None => (network, None),
        }
    }

    /// The clipped gradient of the objective for every parameter, and the sums. With `sam_rho` the gradient of the data loss is computed at the perturbed
    /// weights, and the gradient of the penalty at the weights. Every λ advances to this step first.
    ///
    /// # Panics
    ///
    /// When the stop flag is set. With a stop flag use [`Stepper::step_unless_stopped`].
    #[must_use]
    pub fn gradients(&self, network: &Network, penalties: &mut Penalties, batch: &mut LoadedBatch, context: StepContext) -> StepGradients {
        self.gradients_unless_stopped(network, penalties, batch, context)
            .unwrap_or_else(|| unreachable!("the stop flag is set; use `step_unless_stopped`"))
    }

    fn gradients_unless_stopped(
        &self,
        network: &Network,
        penalties: &mut Penalties,
        batch: &mut LoadedBatch,
        context: StepContext,
    ) -> Option<StepGradients> {
        penalties.advance(Observed::Step(context.step));
        let (samples, sam_rho) = (context.samples, self.experiment.optimizer.sam_rho);
        if sam_rho.is_none() && !penalties.need_data_gradient() {
            let found = self.passes(network, penalties.on(network, samples), batch, context)?;
            return Some(self.clipped(network, found));
        }
        let mut found = self.passes(network, None, batch, context)?;
        if let Some(rho) = sam_rho
            && let Some(norm) = gradient_norm(network, &found.gradients)
        {
            let factor = norm.add_scalar(SAM_EPSILON).recip().mul_scalar(rho.get());
            let perturbed = perturbed(network.clone(), found.gradients, factor);
            // The running statistics are those of the unperturbed weights.
            found.gradients = self.passes(&perturbed, None, batch, context)?.gradients;
        }
        penalties.advance(Observed::DataGradient { network, gradients: &found.gradients });
        let Some(penalty) = penalties.on(network, samples) else {
            return Some(self.clipped(network, found));
        };
        let with_penalty = found.sums.clone().narrow(0, PENALTY, 1) + penalty.clone().inner();
        found.sums = found.sums.slice_assign([PENALTY..=PENALTY], with_penalty);
        let mut accumulator = GradientsAccumulator::new();
        accumulator.accumulate(network, found.gradients);
        if penalties.have_gradient() {
            accumulator.accumulate(network, GradientsParams::from_grads(penalty.backward(), network));
        }
        found.gradients = accumulator.grads();
        Some(self.clipped(network, found))
    }

    /// The gradient of the data loss and of `penalty`, and the sums. Returns `None` if it was stopped between two micro-batches.
    ///
    /// The mean loss of each micro-batch is weighted by its share of the batch, and the penalty is added once: the gradient is that of the whole batch. With
    /// mixup, partners are from the same micro-batch.
    fn passes(
        &self,
        network: &Network,
        mut penalty: Option<Tensor<1>>,
        batch: &mut LoadedBatch,
        context: StepContext,
    ) -> Option<StepGradients> {
        let Experiment { seed, augment, .. } = self.experiment;
        let mut accumulator = GradientsAccumulator::new();
        let mut sums: Option<StepSums> = None;
        let mut pass = network.training_pass(*seed, context.step).from_node(self.from);
        let mut mixup_rng = seed.stream("mixup", context.step);
        let mixed_share = Mix::share(augment.mixup.get(), &mut mixup_rng);
        for MicroBatch { batch, count } in batch.micro_batches() {
            if sums.is_some() && self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return None;
            }
            let mix = mixed_share.map(|share| Mix::random(share, count, &mut mixup_rng));
            let batch = batch.to_device(self.device);
            let (BatchLoss { mut loss, metrics }, statistics) = batch_loss(&*self.task, &mut pass, batch, mix.as_ref());
            let is_whole = count == context.samples;
            if !is_whole {
                loss = loss.mul_scalar(count as f64 / context.samples as f64);
            }
            let loss_sum = loss.clone().inner();
            let penalty_sum = penalty.clone().map_or_else(|| loss_sum.zeros_like(), Tensor::inner);
            if let Some(penalty) = penalty.take() {
                loss = loss + penalty;
            }
            let gradients = GradientsParams::from_grads(loss.backward(), network);
            let sums_of_pass = Tensor::cat([vec![loss_sum, penalty_sum], metrics].concat(), 0);
            let found = StepGradients { gradients, sums: sums_of_pass, statistics };
            // With one micro-batch there is nothing to accumulate.
            if is_whole {
                return Some(found);
            }
            sums = Some(match sums.take() {
                None => found.sums,
                Some(sum) => sum + found.sums,
            });
            accumulator.accumulate(network, found.gradients);
        }
        let sums = sums.unwrap_or_else(|| Tensor::zeros([2 + self.task.step_metrics().len()], &self.device.clone().inner()));
        // A network with batch normalization has one micro-batch per batch.
        Some(StepGradients { gradients: accumulator.grads(), sums, statistics: Vec::new() })
    }

    /// Clips the norm of all gradients together to `clip_norm` (Pascanu et al. 2013, arXiv 1211.5063).
    fn clipped(&self, network: &Network, found: StepGradients) -> StepGradients {
        let Some(clip_norm) = self.experiment.optimizer.clip_norm else { return found };
        let Some(norm) = gradient_norm(network, &found.gradients) else { return found };
        // An infinite norm must not become a gradient of 0: infinity · 0 is NaN, which is reported as divergence.
        let nan_if_infinite = norm.clone().mul_scalar(0.0);
        let scale = nan_if_infinite + norm.add_scalar(CLIP_EPSILON).recip().mul_scalar(clip_norm.get()).clamp_max(1.0);
        StepGradients { gradients: scaled(network, found.gradients, scale), ..found }
    }
}

/// The loss of a micro-batch, and the statistics of the batch. With `mix` images and losses are mixed (mixup, Zhang et al. 2018, arXiv 1710.09412).
fn batch_loss(task: &dyn Task, pass: &mut TrainingPass, batch: Batch, mix: Option<&Mix>) -> (BatchLoss, Vec<BatchStatistics>) {
    let Batch { images, targets } = batch;
    let implementation = pass.implementation();
    let Some(Mix { share, partners }) = mix else {
        let (output, statistics) = pass.output(images);
        return (task.loss(implementation, output, targets), statistics);
    };
    let partners = Tensor::<1, Int>::from_data(TensorData::new(partners.clone(), [partners.len()]), &images.device());
    let images = images.clone().mul_scalar(*share) + images.select(0, partners.clone()).mul_scalar(1.0 - share);
    let (output, statistics) = pass.output(images);
    let own = task.loss(implementation, output.clone(), targets.clone());
    let other = task.loss(implementation, output, targets.select(partners));
    let mixed = |own: Tensor<1>, other: Tensor<1>| own.mul_scalar(*share) + other.mul_scalar(1.0 - share);
    let metrics = own.metrics.into_iter().zip(other.metrics).map(|(own, other)| mixed(own, other)).collect();
    (BatchLoss { loss: mixed(own.loss, other.loss), metrics }, statistics)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use regulus_model::Weights;

    use super::*;
    use crate::backend::any_cpu;
    use crate::data::{self, Batcher};
    use crate::task;

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
        let (device, data) = (any_cpu(), data::load(&experiment).unwrap());
        let graph = experiment.model.graph(data.train.shape(), data.classes.len()).unwrap();
        let path = folder.join("weights.safetensors");
        let network = Network::blank(&graph, &device).with_weights(&Weights::from_file(&path).unwrap(), &path).unwrap();
        let indices: Vec<u32> = serde_json::from_value(expected["batches"][0].clone()).unwrap();
        let batch = Batcher::new(&data.normalizer, &device.device).batch(&data.train, &indices);
        let mix = Mix { share: expected["mixed"]["share"].as_f64().unwrap(), partners: vec![5, 4, 3, 2, 1, 0] };
        let mut pass = network.training_pass(experiment.seed, 0);
        let loss: f32 = batch_loss(&*task::of(&experiment, &data).unwrap(), &mut pass, batch, Some(&mix)).0.loss.into_scalar();
        let expected = expected["mixed"]["data_loss"].as_f64().unwrap();
        assert!((f64::from(loss) / expected - 1.0).abs() < 1e-6, "{loss} against {expected}");
    }
}
