//! Measuring a network on a part of the data.

use super::{Measures, Scored, Tally};
use crate::backend::{keep_awake, numbers, on_threads};
use crate::data::{Prefetch, Batcher, Subset};
use crate::model::Network;

/// Images computed at once, at most.
const BATCH: usize = 500;
/// Numbers in the largest activation of a batch, at most: 64 MiB of float32.
const ACTIVATION: usize = 1 << 24;

/// Runs `network` over every sample of `part`. Losses are summed in float64 on the host, so that they do not depend on a
/// backend's order of summation.
#[must_use]
pub fn measure(network: &Network, part: &Subset, batcher: &Batcher) -> Measures {
    measure_watched(network, part, batcher, &mut |_| true).unwrap_or_else(|| unreachable!("nobody stops it"))
}

/// The same, watched: `goes_on` hears how many samples are done, and says whether to go on; none if it said no.
pub fn measure_watched(
    network: &Network,
    part: &Subset,
    batcher: &Batcher,
    goes_on: &mut (dyn FnMut(u64) -> bool + Send),
) -> Option<Measures> {
    measure_each(network, part, batcher, &mut |_, _| {}, goes_on)
}

/// The same, and calls `each` with the index and the result of every sample, in order.
pub fn measure_each(
    network: &Network,
    part: &Subset,
    batcher: &Batcher,
    each: &mut (dyn FnMut(usize, Scored) + Send),
    goes_on: &mut (dyn FnMut(u64) -> bool + Send),
) -> Option<Measures> {
    on_threads(network.kernels(), || {
        let classes = network.architecture().classes;
        let mut tally = Tally::new(classes);
        let mut ahead = Prefetch::default();
        let count = u32::try_from(part.count()).unwrap_or(u32::MAX);
        let indices: Vec<u32> = (0..count).collect();
        let batch = (ACTIVATION / network.architecture().largest_activation()).clamp(1, BATCH);
        let mut done = 0;
        let mut chunks = indices.chunks(batch).peekable();
        while let Some(chunk) = chunks.next() {
            keep_awake();
            let assemble = |indices: &[u32]| batcher.assemble(part, indices);
            let upcoming = chunks.peek().copied();
            let logits = ahead.during(batcher, assemble, chunk, upcoming, |batch| network.forward(batch.images, None));
            let logits = numbers(logits);
            for (index, logits) in chunk.iter().zip(logits.chunks_exact(classes)) {
                let index = *index as usize;
                each(index, tally.add(logits, part.label(index) as usize));
            }
            done += chunk.len() as u64;
            if !goes_on(done) {
                return None;
            }
        }
        Some(tally.measures())
    })
}
