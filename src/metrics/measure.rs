//! Evaluation of a network on a subset.

use super::{Measures, Scored, Tally};
use crate::backend::keep_awake;
use crate::data::Subset;
use crate::network::Predictor;

/// The largest batch size.
const BATCH: usize = 500;
/// The largest number of activations of one layer in a batch: 64 MiB of float32.
const ACTIVATION: usize = 1 << 24;

/// Measures a network on all samples of `subset`. Losses are summed in float64 on the host, so that they do not depend on a backend's order of
/// summation.
#[must_use]
pub fn measure(predictor: &Predictor, subset: &Subset) -> Measures {
    measure_with_progress(predictor, subset, &mut |_| true).unwrap_or_else(|| unreachable!("the callback never stops it"))
}

/// As [`measure`]. Calls `goes_on` with the number of completed samples. Returns `None` if it returns `false`.
pub fn measure_with_progress(predictor: &Predictor, subset: &Subset, goes_on: &mut (dyn FnMut(u64) -> bool + Send)) -> Option<Measures> {
    measure_each(predictor, subset, &mut |_, _| {}, goes_on)
}

/// As [`measure_with_progress`]. Also calls `each` with the index and the result of every sample, in order.
pub fn measure_each(
    predictor: &Predictor,
    subset: &Subset,
    each: &mut (dyn FnMut(usize, Scored) + Send),
    goes_on: &mut (dyn FnMut(u64) -> bool + Send),
) -> Option<Measures> {
    predictor.threads().run(|| {
        let classes = predictor.graph().output_features().size();
        let mut tally = Tally::new(classes);
        let batch = (ACTIVATION / predictor.graph().largest_features()).clamp(1, BATCH);
        let indices: Vec<usize> = (0..subset.count()).collect();
        let mut done = 0;
        for chunk in indices.chunks(batch) {
            keep_awake();
            let images: Vec<&[u8]> = chunk.iter().map(|index| subset.pixels(*index)).collect();
            for (index, logits) in chunk.iter().zip(predictor.logits(&images).chunks_exact(classes)) {
                each(*index, tally.add(logits, subset.label(*index) as usize));
            }
            done += chunk.len() as u64;
            if !goes_on(done) {
                return None;
            }
        }
        Some(tally.measures())
    })
}
