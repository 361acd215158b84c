//! The training step: gradient of data loss plus penalty, clipped, and one step of the optimizer.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::ParamId;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use burn::tensor::TensorData;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::ParameterOptimizer;
use crate::backend::fused::Norm;
use crate::config::{Experiment, Implementation};
use crate::data::{Prefetch, Batch, Batcher, Subset, Placement};
use crate::model::{ParamMapper, ParamVisitor, Network};
use crate::objective::{Penalties, data_loss, norm_of};

/// Added to the norm in clipping, as PyTorch's `clip_grad_norm_` does.
const CLIP_EPSILON: f64 = 1e-6;
/// Added to the norm in sharpness-aware minimization, against a gradient of 0.
const SAM_EPSILON: f64 = 1e-12;

/// Takes training steps.
pub struct Stepper<'a> {
    experiment: &'a Experiment,
    part: &'a Subset,
    batcher: &'a Batcher,
    stop: Option<&'a AtomicBool>,
    ahead: Prefetch,
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

impl<'a> Stepper<'a> {
    /// Takes steps on the samples of `part`, as `experiment` says.
    #[must_use]
    pub fn new(experiment: &'a Experiment, part: &'a Subset, batcher: &'a Batcher) -> Self {
        Self { experiment, part, batcher, stop: None, ahead: Prefetch::default() }
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
        turn: StepContext,
    ) -> (Network, StepSums) {
        let (gradients, sums) = self.gradients(&network, penalties, turn);
        (optimizer.step(network, gradients, penalties, turn), sums)
    }

    /// One step, or none: then the network is as it was.
    #[must_use]
    pub fn step_unless_stopped(
        &mut self,
        network: Network,
        optimizer: &mut ParameterOptimizer,
        penalties: &mut Penalties,
        turn: StepContext,
    ) -> (Network, Option<StepSums>) {
        match self.gradients_unless_stopped(&network, penalties, turn) {
            Some((gradients, sums)) => (optimizer.step(network, gradients, penalties, turn), Some(sums)),
            None => (network, None),
        }
    }

    /// The gradient of the objective for every parameter, clipped, and the sums. With `sam_rho` that of the data loss is taken where the
    /// loss is higher, the penalty's where the weights are. Adaptive λ are set by the data loss's gradient.
    ///
    /// # Panics
    ///
    /// Where it is told to stop: then use [`Stepper::step_unless_stopped`].
    #[must_use]
    pub fn gradients(&mut self, network: &Network, penalties: &mut Penalties, turn: StepContext) -> (GradientsParams, StepSums) {
        self.gradients_unless_stopped(network, penalties, turn).unwrap_or_else(|| unreachable!("nobody stops it"))
    }

    fn gradients_unless_stopped(
        &mut self,
        network: &Network,
        penalties: &mut Penalties,
        turn: StepContext,
    ) -> Option<(GradientsParams, StepSums)> {
        let batch = turn.indices.len();
        let sam_rho = self.experiment.optimizer.sam_rho;
        if sam_rho.is_none() && !penalties.follow_gradient() {
            let (gradients, sums) = self.passes(network, penalties.on(network, batch), turn)?;
            return Some((self.clipped(network, gradients), sums));
        }
        let (mut gradients, sums) = self.passes(network, None, turn)?;
        if let Some(rho) = sam_rho
            && let Some(length) = length(network, &gradients)
        {
            let factor = length.add_scalar(SAM_EPSILON).recip().mul_scalar(rho.get());
            let above = network.clone().changed(&mut Climb { gradients, factor });
            gradients = self.passes(&above, None, StepContext { upcoming: &[], ..turn })?.0;
        }
        penalties.adapt(network, &gradients);
        let Some(penalty) = penalties.on(network, batch) else {
            return Some((self.clipped(network, gradients), sums));
        };
        let zero = sums.zeros_like().narrow(0, 0, 1);
        let sums = sums + Tensor::cat(vec![zero.clone(), penalty.clone().inner(), zero], 0);
        let mut accumulator = GradientsAccumulator::new();
        accumulator.accumulate(network, gradients);
        if penalties.have_gradient() {
            accumulator.accumulate(network, GradientsParams::from_grads(penalty.backward(), network));
        }
        Some((self.clipped(network, accumulator.grads()), sums))
    }

    /// The gradient of the data loss, and of `penalty` where there is one, and the sums.
    ///
    /// A batch larger than `micro_batch` is computed in parts; each part's mean loss counts by its share of the batch, and the penalty
    /// is added once, so that the gradient is that of the whole batch; with mixup, partners are of the same part. None if it was stopped between
    /// two parts.
    fn passes(&mut self, network: &Network, mut penalty: Option<Tensor<1>>, turn: StepContext) -> Option<(GradientsParams, StepSums)> {
        let StepContext { indices, upcoming, epoch, step, .. } = turn;
        let Experiment { seed, augment, train, .. } = self.experiment;
        let (part, batcher) = (self.part, self.batcher);
        let micro_batch = train.micro_batch.get();
        let mut accumulator = GradientsAccumulator::new();
        let mut sums: Option<StepSums> = None;
        let [mut dropping, mut mixing] = ["dropout", "mixup"].map(|purpose| seed.stream(purpose, step));
        let mixed_share = Mix::share(augment.mixup.get(), &mut mixing);
        let assemble = |indices: &[u32]| batcher.assemble_placed(part, indices, |index| Placement::drawn(augment, *seed, epoch, index));
        let mut chunks = indices.chunks(micro_batch).chain(upcoming.chunks(micro_batch).take(1)).peekable();
        for number in 0..indices.len().div_ceil(micro_batch) {
            if number > 0 && self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return None;
            }
            let Some(chunk) = chunks.next() else { break };
            let kept = self.kept(network, chunk.len(), &mut dropping);
            let mix = mixed_share.map(|share| Mix::drawn(share, chunk.len(), &mut mixing));
            let penalty = penalty.take();
            let share = chunk.len() as f64 / indices.len() as f64;
            let work = |batch: Batch| {
                let (mut loss, correct) = mixed_loss(network, batch, kept, mix.as_ref(), train.label_smoothing.get());
                if chunk.len() < indices.len() {
                    loss = loss.mul_scalar(share);
                }
                let told_loss = loss.clone().inner();
                let told_penalty = penalty.clone().map_or_else(|| told_loss.zeros_like(), Tensor::inner);
                if let Some(penalty) = penalty {
                    loss = loss + penalty;
                }
                let gradients = GradientsParams::from_grads(loss.backward(), network);
                (gradients, Tensor::cat(vec![told_loss, told_penalty, correct], 0))
            };
            let (gradients, told) = self.ahead.during(batcher, assemble, chunk, chunks.peek().copied(), work);
            match sums.take() {
                // The common step is one chunk: its gradients are passed on as they are.
                None if chunk.len() == indices.len() => return Some((gradients, told)),
                None => sums = Some(told),
                Some(sum) => sums = Some(sum + told),
            }
            accumulator.accumulate(network, gradients);
        }
        let sums = sums.unwrap_or_else(|| Tensor::zeros([3], &self.batcher.device().clone().inner()));
        Some((accumulator.grads(), sums))
    }

    /// What hidden units are multiplied by: 0 with the probability of dropout, else 1/(1 − probability).
    fn kept(&self, network: &Network, batch: usize, chance: &mut ChaCha8Rng) -> Option<Tensor<2>> {
        let dropout = self.experiment.model.dropout.get();
        if dropout == 0.0 {
            return None;
        }
        let hidden = network.architecture().hidden;
        #[expect(clippy::cast_possible_truncation, reason = "a factor of float32 activations")]
        let scale = (1.0 / (1.0 - dropout)) as f32;
        let values: Vec<f32> = (0..batch * hidden).map(|_| if chance.random_bool(dropout) { 0.0 } else { scale }).collect();
        Some(Tensor::from_data(TensorData::new(values, [batch, hidden]), self.batcher.device()))
    }

    /// Gradients scaled down together to `clip_norm`, if they are longer (Pascanu et al. 2013, arXiv 1211.5063).
    fn clipped(&self, network: &Network, gradients: GradientsParams) -> GradientsParams {
        let Some(largest) = self.experiment.optimizer.clip_norm else { return gradients };
        let Some(length) = length(network, &gradients) else { return gradients };
        // An infinite norm must not pass as a gradient of 0: infinity · 0 is not a number, and is told as divergence.
        let not_a_number = length.clone().mul_scalar(0.0);
        let scale = not_a_number + length.add_scalar(CLIP_EPSILON).recip().mul_scalar(largest.get()).clamp_max(1.0);
        let mut scaling = Scaling { gradients, scaled: GradientsParams::new(), factor: scale };
        network.each(&mut scaling);
        scaling.scaled
    }
}

/// The loss of a batch and how many samples are classified rightly. With `mix` each sample is one share of its own image and the rest of
/// another's, and so is its loss (Zhang et al. 2018, arXiv 1710.09412).
fn mixed_loss(network: &Network, batch: Batch, kept: Option<Tensor<2>>, mix: Option<&Mix>, smoothing: f64) -> (Tensor<1>, Tensor<1>) {
    let Batch { images, labels } = batch;
    let Some(Mix { share, partners }) = mix else {
        let (loss, correct) = data_loss(network.kernels(), network.forward(images, kept), labels, smoothing);
        return (loss, correct.float());
    };
    let partners = Tensor::<1, Int>::from_data(TensorData::new(partners.clone(), [partners.len()]), &labels.device());
    let images = images.clone().mul_scalar(*share) + images.select(0, partners.clone()).mul_scalar(1.0 - share);
    let logits = network.forward(images, kept);
    let (own, own_correct) = data_loss(network.kernels(), logits.clone(), labels.clone(), smoothing);
    let (other, other_correct) = data_loss(network.kernels(), logits, labels.select(0, partners), smoothing);
    let loss = own.mul_scalar(*share) + other.mul_scalar(1.0 - share);
    (loss, own_correct.float().mul_scalar(*share) + other_correct.float().mul_scalar(1.0 - share))
}

/// How the samples of a batch are mixed.
struct Mix {
    /// What is kept of each.
    share: f64,
    /// Which sample the rest of each is of.
    partners: Vec<i32>,
}

impl Mix {
    /// A share from the Beta(α, α) distribution; none where α is 0.
    fn share(alpha: f64, chance: &mut ChaCha8Rng) -> Option<f64> {
        Some(Beta::new(alpha, alpha).ok()?.sample(chance))
    }

    /// This share, and partners in a random order.
    fn drawn(share: f64, batch: usize, chance: &mut ChaCha8Rng) -> Self {
        let mut partners: Vec<i32> = (0..i32::try_from(batch).unwrap_or(i32::MAX)).collect();
        partners.shuffle(chance);
        Self { share, partners }
    }
}

/// ‖g‖ over all parameters; none without any.
///
/// # Shapes
///
/// - output: `[1]`
fn length(network: &Network, gradients: &GradientsParams) -> Option<Tensor<1>> {
    let mut squares = Squares { gradients, kernels: network.kernels(), sum: None };
    network.each(&mut squares);
    squares.sum.map(Tensor::sqrt)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    kernels: Implementation,
    sum: Option<Tensor<1>>,
}

impl ParamVisitor for Squares<'_> {
    fn look<const D: usize>(&mut self, _name: &str, id: ParamId, _tensor: Tensor<D>) {
        if let Some(gradient) = self.gradients.get::<D>(id) {
            let squares = norm_of(self.kernels, gradient, Norm::Squares);
            self.sum = Some(match self.sum.take() {
                None => squares,
                Some(sum) => sum + squares,
            });
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    scaled: GradientsParams,
    factor: Tensor<1>,
}

impl ParamVisitor for Scaling {
    fn look<const D: usize>(&mut self, _name: &str, id: ParamId, _tensor: Tensor<D>) {
        if let Some(gradient) = self.gradients.remove::<D>(id) {
            self.scaled.register(id, gradient * self.factor.clone().reshape([1; D]));
        }
    }
}

/// w + factor·g.
struct Climb {
    gradients: GradientsParams,
    factor: Tensor<1>,
}

impl ParamMapper for Climb {
    fn change<const D: usize>(&mut self, _name: &str, id: ParamId, tensor: Tensor<D>) -> Tensor<D> {
        match self.gradients.remove::<D>(id) {
            Some(gradient) => Tensor::from_inner(tensor.inner() + gradient * self.factor.clone().reshape([1; D])),
            None => tensor,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::backend::any_cpu;
    use crate::data;
    use crate::model::{Architecture, Weights};

    #[test]
    fn the_loss_of_mixed_images_is_pytorchs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/objective");
        let told: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "name = \"a\"\n[data]\nsource = \"idx\"\ndir = '{}'\ntrain_images = \"images.idx\"\ntrain_labels = \"labels.idx\"\n\
             [model]\nchannels = [3, 4]\nhidden = 5\n",
            folder.display()
        );
        std::fs::write(file.path(), config).unwrap();
        let experiment = Experiment::load(file.path(), &[]).unwrap();
        let (place, data) = (any_cpu(), data::load(&experiment.data, experiment.seed).unwrap());
        let architecture = Architecture::new(&experiment.model, data.train.shape(), data.classes.len()).unwrap();
        let path = folder.join("weights.safetensors");
        let network = Network::blank(&architecture, &place).with_weights(&Weights::from_file(&path).unwrap(), &path).unwrap();
        let indices: Vec<u32> = serde_json::from_value(told["batches"][0].clone()).unwrap();
        let batch = Batcher::new(&data.normalizer, &place.device).batch(&data.train, &indices);
        let mix = Mix { share: told["mixed"]["share"].as_f64().unwrap(), partners: vec![5, 4, 3, 2, 1, 0] };
        let loss: f32 = mixed_loss(&network, batch, None, Some(&mix), 0.0).0.into_scalar();
        let expected = told["mixed"]["data_loss"].as_f64().unwrap();
        assert!((f64::from(loss) / expected - 1.0).abs() < 1e-6, "{loss} against {expected}");
    }

    #[test]
    fn shares_are_between_0_and_1_and_there_are_none_without_alpha() {
        let mut chance = crate::seed::Seed(1).stream("mixup", 0);
        assert!(Mix::share(0.0, &mut chance).is_none());
        let mut draw = || Mix::share(0.4, &mut chance).map(|share| Mix::drawn(share, 4, &mut chance));
        let drawn: Vec<Mix> = (0..2000).filter_map(|_| draw()).collect();
        let shares: Vec<f64> = drawn.iter().map(|mix| mix.share).collect();
        let mean = shares.iter().sum::<f64>() / 2000.0;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 2000.0;
        // Beta(α, α) has mean 1/2 and variance 1/(4·(2·α + 1)).
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!((mean - 0.5).abs() < 0.03 && (variance - 1.0 / 7.2).abs() < 0.01, "{mean}, {variance}");
        assert!(drawn.iter().all(|mix| {
            let mut all = mix.partners.clone();
            all.sort_unstable();
            all == [0, 1, 2, 3]
        }));
    }
}
