//! A network with its weights, ready to compute.

use std::borrow::Cow;

use rayon::prelude::*;
use regulus_kernels::algorithm::Algorithm;
use regulus_kernels::buffers;
use regulus_kernels::simd::Path;

use super::InferError;
use super::layer::{Input, Layer};
use crate::Weights;
use crate::fusion::{Stage, fused};
use crate::graph::{Features, Graph, GraphError, Op, Shape, Source};

/// Images that are computed together, at most: their activations stay in the caches. With dense layers another number gives other bits.
const CHUNK: usize = 64;
/// Numbers that a node gives for the images of a chunk, about, in a network without dense layers: 32 MiB.
const NUMBERS: usize = 1 << 23;
/// Numbers that a node gives for the images of a piece of a chunk, about: 1 MiB, which stays in the second cache.
const NUMBERS_OF_PIECE: usize = 1 << 18;
/// Weights of a step, at most, that are read again for each piece.
const WEIGHTS_OF_PIECE: usize = 1 << 17;
/// Chunks for each thread from which on a chunk is not split among threads.
const CHUNKS_PER_THREAD: usize = 4;

/// Microseconds of one thread from which on a step is computed by all threads.
///
/// Measured for one image on two cores that others used too (p10, one thread against two): a convolution with ReLU and pool of 13 µs took 14 to 16 µs, one
/// of 24 µs 15 to 29, one of 81 µs 47 to 52 with the other thread awake and 82 to 90 where it slept, one of 580 µs 320 to 350. So a step gains nothing
/// below 20 µs, and loses little above.
const WORTHWHILE: u64 = 20;

/// A network with its weights as the CPU kernels read them.
///
/// Logits have the bits of the program's own evaluation on the CPU, whatever the number of threads. They are computed by 64 images at a time. An image's
/// logits may differ in their last bits with the number of images computed with it, because dense layers then sum in another order. Without dense layers an
/// image's output never does, and large images are computed by fewer at a time.
pub struct Model {
    path: Path,
    graph: Graph,
    /// Images that are computed together.
    chunk: usize,
    steps: Vec<Step>,
    /// What steps give; the first is the image.
    values: Vec<Value>,
    /// The value that is the network's output.
    last: usize,
    /// None where it saves nothing.
    prefix: Option<Prefix>,
}

/// The first steps, whose outputs are large and whose weights are not. A chunk goes through them in pieces, each on one thread, which reads from its cache what it has written.
struct Prefix {
    /// How many there are.
    steps: usize,
    /// The value that they give to the rest.
    value: usize,
    /// Images of a piece.
    images: usize,
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
    /// Multiplications for one image; the numbers it reads, where it has none.
    work: u64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { path, graph, steps, .. } = self;
        write!(formatter, "Model from {} to {} in {} steps on {}", graph.input(), graph.output_features(), steps.len(), path.name)
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
        Self::with_algorithm(graph, weights, Algorithm::default())
    }

    /// The same, whose 3×3 convolutions are computed by `algorithm`.
    ///
    /// # Errors
    ///
    /// As [`Model::new`].
    pub fn with_algorithm(graph: &Graph, weights: &Weights, algorithm: Algorithm) -> Result<Self, InferError> {
        if let Some(problem) = weights.misfit(graph) {
            return Err(InferError::Fit { problem });
        }
        let path = Path::chosen()?;
        Ok(Self::assembled(path, graph.clone(), |stage| Layer::of(graph, stage, weights, path, algorithm)))
    }

    /// The same network for images of another size. It shares the weights, except those of convolutions in one kernel with ReLU and pool, which it copies, and of 3×3 convolutions
    /// where maps have two rows or columns at one of the sizes alone, which it transforms anew.
    ///
    /// # Errors
    ///
    /// As [`Graph::with_input`].
    pub fn with_input(&self, input: Shape) -> Result<Self, GraphError> {
        let graph = self.graph.with_input(input)?;
        // The stages follow from the nodes alone.
        let mut layers = self.steps.iter().map(|step| &step.layer);
        let resized = |stage: &Stage| match graph.nodes()[stage.first()].op {
            Op::Flatten(_) | Op::Dropout(_) => None,
            _ => layers.next().map(|layer| layer.resized(&graph, stage)),
        };
        Ok(Self::assembled(self.path, graph.clone(), resized))
    }

    /// The model of a graph whose stages are computed by the layers of `layer`; none leaves its input as it is.
    fn assembled(path: Path, graph: Graph, mut layer: impl FnMut(&Stage) -> Option<Layer>) -> Self {
        let mut values = vec![Value { features: Features::Map(graph.input()), is_channels_last: false }];
        // The value of each node: a flattened map is the map's.
        let mut value_of = vec![0; graph.nodes().len()];
        let mut steps = Vec::new();
        for stage in fused(&graph) {
            let value = |source: &Source| match source {
                Source::Image => 0,
                Source::Node(node) => value_of[*node],
            };
            let inputs: Vec<usize> = stage.inputs.iter().map(value).collect();
            let Some(layer) = layer(&stage) else {
                value_of[stage.last()] = inputs[0];
                continue;
            };
            let output = values.len();
            value_of[stage.last()] = output;
            let features = graph.features_of(Source::Node(stage.last()));
            // A vector has one order.
            let is_channels_last = features.area() > 1 && layer.gives_channels_last(values[inputs[0]].is_channels_last);
            values.push(Value { features, is_channels_last });
            steps.push(Step { layer, inputs, output, takes_first: false, frees: Vec::new(), work: work(&graph, &stage) });
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
        let has_dense = graph.nodes().iter().any(|node| matches!(node.op, Op::Dense(_)));
        let chunk = if has_dense { CHUNK } else { (NUMBERS / graph.largest_features()).clamp(1, CHUNK) };
        let prefix = Prefix::of(&steps, &values, last);
        Self { path, graph, chunk, steps, values, last, prefix }
    }

    /// The shape of the images it takes.
    #[must_use]
    pub const fn input(&self) -> Shape {
        self.graph.input()
    }

    /// What it gives for one image.
    #[must_use]
    pub fn output(&self) -> Features {
        self.graph.output_features()
    }

    /// The outputs for `count` images, such as their logits, on the threads of rayon's current pool. Small work stays on the caller's thread.
    ///
    /// # Shapes
    ///
    /// - images: `[image, channel, row, column]`
    /// - output: `[image, logit]`, or `[image, channel, row, column]` where the network gives a feature map
    ///
    /// # Panics
    ///
    /// When `images` are not `count` images of the shape that [`Model::input`] says.
    #[must_use]
    pub fn forward(&self, images: &[f32], count: usize) -> Vec<f32> {
        // To ask for the number of threads starts them.
        let threads = if self.is_worthwhile(count) { rayon::current_num_threads() } else { 1 };
        self.forward_on(images, count, threads)
    }

    /// The same, on the caller's thread alone if `threads` is 1.
    ///
    /// # Panics
    ///
    /// As [`Model::forward`].
    #[must_use]
    pub fn forward_on(&self, images: &[f32], count: usize, threads: usize) -> Vec<f32> {
        let (size, most) = (self.input().size(), self.chunk);
        assert_eq!(images.len(), count * size, "the numbers of {count} images of {}", self.input());
        // With many chunks each is computed by one thread, which reads again what it has written.
        let threads_per_chunk = if count >= CHUNKS_PER_THREAD * most * threads { 1 } else { threads };
        let chunks = images.chunks(most * size);
        let chunk = |images: &[f32]| self.chunk(images, images.len() / size, threads_per_chunk);
        if count <= most {
            // From outside the pool each parallel step would have to be handed over.
            let has_parallel = threads > 1 && self.is_worthwhile(count);
            return if has_parallel { rayon::scope(|_| chunk(images)) } else { chunk(images) };
        }
        if threads == 1 {
            return chunks.flat_map(chunk).collect();
        }
        images.par_chunks(most * size).map(chunk).collect::<Vec<_>>().concat()
    }

    /// Whether more than one thread pays.
    fn is_worthwhile(&self, count: usize) -> bool {
        count > self.chunk || self.steps.iter().any(|step| step.is_worthwhile(count))
    }

    /// The outputs for the images of one chunk.
    fn chunk(&self, images: &[f32], count: usize, threads: usize) -> Vec<f32> {
        let mut numbers: Vec<Option<Cow<[f32]>>> = vec![None; self.values.len()];
        let steps = match &self.prefix {
            Some(prefix) if prefix.is_worthwhile(count, threads) => {
                numbers[prefix.value] = Some(Cow::Owned(self.in_pieces(prefix, images, threads)));
                &self.steps[prefix.steps..]
            }
            _ => {
                numbers[0] = Some(Cow::Borrowed(images));
                &self.steps[..]
            }
        };
        self.run(steps, &mut numbers, count, threads);
        let last = numbers[self.last].take().unwrap_or_else(|| unreachable!("every step has been computed"));
        self.input_of(self.last, last).channels_first(threads)
    }

    /// What the prefix gives for the images of a chunk.
    fn in_pieces(&self, prefix: &Prefix, images: &[f32], threads: usize) -> Vec<f32> {
        let [from, to] = [self.input().size(), self.values[prefix.value].features.size()];
        let piece = |(images, out): (&[f32], &mut [f32])| {
            let mut numbers: Vec<Option<Cow<[f32]>>> = vec![None; self.values.len()];
            numbers[0] = Some(Cow::Borrowed(images));
            self.run(&self.steps[..prefix.steps], &mut numbers, images.len() / from, 1);
            let given = numbers[prefix.value].take().unwrap_or_else(|| unreachable!("every step has been computed"));
            out.copy_from_slice(&given);
            if let Cow::Owned(given) = given {
                buffers::recycle(given);
            }
        };
        let mut all = buffers::any(images.len() / from * to);
        let [from, to] = [from, to].map(|size| prefix.images * size);
        if threads == 1 {
            images.chunks(from).zip(all.chunks_mut(to)).for_each(piece);
        } else {
            images.par_chunks(from).zip(all.par_chunks_mut(to)).for_each(piece);
        }
        all
    }

    /// Computes some steps for `count` images.
    fn run(&self, steps: &[Step], numbers: &mut [Option<Cow<[f32]>>], count: usize, threads: usize) {
        for step in steps {
            let threads = if step.is_worthwhile(count) { threads } else { 1 };
            let first = step.inputs[0];
            let taken = if step.takes_first { numbers[first].take() } else { None };
            let first = self.input_of(first, taken.unwrap_or_else(|| borrowed(numbers, first)));
            let other = step.inputs.get(1).map(|other| self.input_of(*other, borrowed(numbers, *other)));
            let out = step.layer.forward(self.path, count, first, other, threads);
            for input in &step.frees {
                if let Some(Cow::Owned(free)) = numbers[*input].take() {
                    buffers::recycle(free);
                }
            }
            numbers[step.output] = Some(Cow::Owned(out));
        }
    }

    fn input_of<'a>(&self, value: usize, numbers: Cow<'a, [f32]>) -> Input<'a> {
        let Value { features, is_channels_last } = self.values[value];
        Input { numbers, features, is_channels_last }
    }
}

fn borrowed<'a>(numbers: &'a [Option<Cow<'a, [f32]>>], value: usize) -> Cow<'a, [f32]> {
    numbers[value].as_deref().map_or_else(|| unreachable!("a step comes after what it takes"), Cow::Borrowed)
}

impl Prefix {
    fn of(steps: &[Step], values: &[Value], last: usize) -> Option<Self> {
        // The sums of a dense layer depend on the number of images.
        let is_small = |step: &Step| !matches!(step.layer, Layer::Dense { .. }) && step.layer.weights() <= WEIGHTS_OF_PIECE;
        let most = steps.iter().position(|step| !is_small(step)).unwrap_or(steps.len());
        // One value goes on.
        let goes_on = |first: usize| {
            let (before, after) = steps.split_at(first);
            let is_needed = |value: usize| value == last || after.iter().any(|step| step.inputs.contains(&value));
            let mut needed = std::iter::once(0).chain(before.iter().map(|step| step.output)).filter(|value| is_needed(*value));
            needed.next().filter(|_| needed.next().is_none())
        };
        let size = |value: usize| values[value].features.size();
        let (steps_of, value) = (1..=most).rev().find_map(|count| Some((count, goes_on(count)?)).filter(|(_, value)| *value != 0))?;
        let largest = steps[..steps_of].iter().map(|step| size(step.output)).max()?;
        let images = (NUMBERS_OF_PIECE / largest).max(1);
        (images <= CHUNK / 4).then_some(Self { steps: steps_of, value, images })
    }

    /// Whether so many images are in enough pieces for all threads.
    const fn is_worthwhile(&self, count: usize, threads: usize) -> bool {
        let pieces = count.div_ceil(self.images);
        pieces >= 4 * threads || (pieces > 1 && pieces.is_multiple_of(threads))
    }
}

impl Step {
    /// Whether more than one thread pays.
    fn is_worthwhile(&self, count: usize) -> bool {
        self.work * count as u64 / self.layer.multiplications_per_microsecond(count) >= WORTHWHILE
    }
}

/// The multiplications of a stage for one image; the numbers it reads, where it has none.
fn work(graph: &Graph, stage: &Stage) -> u64 {
    graph.multiplications(stage.first()).max(graph.input_of(stage.first()).size() as u64)
}
