//! A network with its weights, ready to compute.

use std::borrow::Cow;

use rayon::prelude::*;
use regulus_kernels::simd::Path;

use super::InferError;
use super::layer::{Input, Layer};
use crate::Weights;
use crate::fusion::{Stage, fused};
use crate::graph::{Features, Graph, Shape, Source};

/// Images that are computed together: their activations stay in the caches. The bits of logits depend on it, because dense layers sum in another order for
/// another number of rows.
const PART: usize = 64;

/// Nanoseconds of one thread from which on a step is computed by all threads.
///
/// Measured with two threads on two cores, one image: another thread that is awake takes up work after 3 to 5 µs, one that sleeps after 10 to 30 µs, and the
/// rows of an image apart take up to a fifth longer than together. A convolution of 14 µs took 12 to 17 µs on two threads that were awake and 24 to 40 µs
/// where one slept; one of 42 µs 45 and 54 to 67 µs; one of 210 µs 135 to 155 and 167 to 180 µs.
const WORTHWHILE: u64 = 50_000;

/// A network with its weights as the CPU kernels read them.
///
/// It computes logits with the bits that training's evaluation on the CPU has, whatever the number of threads.
pub struct Model {
    path: Path,
    input: Shape,
    output: Features,
    steps: Vec<Step>,
    /// What steps give; the first is the image.
    values: Vec<Value>,
    /// The value that is the network's output.
    last: usize,
}

/// What a step gives, for one image.
struct Value {
    features: Features,
    is_channels_last: bool,
}

/// A stage that computes.
struct Step {
    layer: Layer,
    /// The values it takes.
    inputs: Vec<usize>,
    /// The value it gives.
    output: usize,
    /// Whether the first input may be written over: nothing else takes it.
    takes_first: bool,
    /// Inputs that nothing after it takes.
    frees: Vec<usize>,
    /// The time of one thread for one image, about.
    nanoseconds: u64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { path, input, output, steps, .. } = self;
        write!(formatter, "Model from {input} to {output} in {} steps on {}", steps.len(), path.name)
    }
}

impl Model {
    /// A model of a graph and its weights.
    ///
    /// # Errors
    ///
    /// When names or shapes of the weights are not those of the graph, or the environment variable `REGULUS_SIMD` names vector instructions that this
    /// processor does not have.
    pub fn new(graph: &Graph, weights: &Weights) -> Result<Self, InferError> {
        match weights.misfit(graph) {
            Some(problem) => Err(InferError::Fit { problem }),
            None => Ok(Self::checked(Path::chosen()?, graph, weights)),
        }
    }

    fn checked(path: Path, graph: &Graph, weights: &Weights) -> Self {
        let mut values = vec![Value { features: Features::Map(graph.input()), is_channels_last: false }];
        // The value of each node: a flattened map is the map's.
        let mut value_of = vec![0; graph.nodes().len()];
        let mut steps = Vec::new();
        for stage in fused(graph) {
            let value = |source: &Source| match source {
                Source::Image => 0,
                Source::Node(place) => value_of[*place],
            };
            let inputs: Vec<usize> = graph.sources(stage.first()).iter().map(value).collect();
            let Some(layer) = Layer::of(graph, &stage, weights, path) else {
                value_of[stage.last()] = inputs[0];
                continue;
            };
            let nanoseconds = work(graph, &stage) * 1000 / layer.multiplications_per_microsecond();
            let output = values.len();
            value_of[stage.last()] = output;
            values.push(Value { features: graph.features_of(Source::Node(stage.last())), is_channels_last: layer.gives_channels_last() });
            steps.push(Step { layer, inputs, output, takes_first: false, frees: Vec::new(), nanoseconds });
        }
        let last = value_of[graph.output()];
        // From the end on, the first step that takes a value is the last to need it.
        let mut is_needed = vec![false; values.len()];
        is_needed[last] = true;
        for step in steps.iter_mut().rev() {
            step.frees = step.inputs.iter().copied().filter(|input| *input != 0 && !is_needed[*input]).collect();
            step.takes_first = step.frees.contains(&step.inputs[0]) && !step.inputs[1..].contains(&step.inputs[0]);
            step.inputs.iter().for_each(|input| is_needed[*input] = true);
        }
        Self { path, input: graph.input(), output: graph.output_features(), steps, values, last }
    }

    /// The shape of the images it takes.
    #[must_use]
    pub const fn input(&self) -> Shape {
        self.input
    }

    /// What it gives for one image.
    #[must_use]
    pub const fn output(&self) -> Features {
        self.output
    }

    /// The logits of `count` images, on the threads of rayon's current pool. Small work stays on the caller's thread.
    ///
    /// # Shapes
    ///
    /// - images: `[image, channel, row, column]`
    /// - output: `[image, logit]`
    ///
    /// # Panics
    ///
    /// When `images` are not `count` images of the shape that [`Model::input`] says.
    #[must_use]
    pub fn forward(&self, images: &[f32], count: usize) -> Vec<f32> {
        self.forward_on(images, count, rayon::current_num_threads())
    }

    /// The same, on the caller's thread alone if `threads` is 1.
    ///
    /// # Panics
    ///
    /// As [`Model::forward`].
    #[must_use]
    pub fn forward_on(&self, images: &[f32], count: usize, threads: usize) -> Vec<f32> {
        let size = self.input.size();
        assert_eq!(images.len(), count * size, "the numbers of {count} images of {}", self.input);
        let parts = images.chunks(PART * size);
        let part = |images: &[f32]| self.part(images, images.len() / size, threads);
        if count <= PART {
            // From outside the pool each parallel step would have to be handed over.
            let has_parallel = threads > 1 && self.steps.iter().any(|step| step.threads(count, threads) > 1);
            return if has_parallel { rayon::scope(|_| part(images)) } else { part(images) };
        }
        if threads == 1 {
            return parts.flat_map(part).collect();
        }
        images.par_chunks(PART * size).map(part).collect::<Vec<_>>().concat()
    }

    /// The logits of at most [`PART`] images.
    fn part(&self, images: &[f32], count: usize, threads: usize) -> Vec<f32> {
        let mut numbers: Vec<Option<Cow<[f32]>>> = vec![None; self.values.len()];
        numbers[0] = Some(Cow::Borrowed(images));
        for step in &self.steps {
            let threads = step.threads(count, threads);
            let first = step.inputs[0];
            let taken = if step.takes_first { numbers[first].take() } else { None };
            let first = self.input_of(first, taken.unwrap_or_else(|| borrowed(&numbers, first)));
            let other = step.inputs.get(1).map(|other| self.input_of(*other, borrowed(&numbers, *other)));
            let out = step.layer.forward(self.path, count, first, other, threads);
            step.frees.iter().for_each(|input| numbers[*input] = None);
            numbers[step.output] = Some(Cow::Owned(out));
        }
        let last = numbers[self.last].take().unwrap_or_else(|| unreachable!("every step has been computed"));
        self.input_of(self.last, last).channels_first(threads)
    }

    fn input_of<'a>(&self, value: usize, numbers: Cow<'a, [f32]>) -> Input<'a> {
        let Value { features, is_channels_last } = self.values[value];
        Input { numbers, features, is_channels_last }
    }
}

fn borrowed<'a>(numbers: &'a [Option<Cow<'a, [f32]>>], value: usize) -> Cow<'a, [f32]> {
    numbers[value].as_deref().map_or_else(|| unreachable!("a step comes after what it takes"), Cow::Borrowed)
}

impl Step {
    /// The threads that compute it.
    fn threads(&self, count: usize, threads: usize) -> usize {
        if self.nanoseconds * count as u64 >= WORTHWHILE { threads } else { 1 }
    }
}

/// The multiplications of a stage for one image; the numbers it reads, where it has none.
fn work(graph: &Graph, stage: &Stage) -> u64 {
    graph.multiplications(stage.first()).max(graph.input_of(stage.first()).size() as u64)
}
