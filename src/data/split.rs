//! The split into training and validation samples.

use rand::seq::SliceRandom;

use super::{DataError, Subset};
use crate::seed::Seed;

/// Holds out a random `fraction` of every class. Returns the training and the validation subset, both in the order of `all`. With `spares_last` the
/// last sample of a class always stays in training; version 0.1.0 held it out, too.
///
/// # Errors
///
/// When a subset would be empty.
pub(super) fn hold_out(all: &Subset, classes: usize, fraction: f64, seed: Seed, spares_last: bool) -> Result<(Subset, Subset), DataError> {
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, label) in all.labels().enumerate() {
        by_class[label as usize].push(index);
    }
    let mut held_out = vec![false; all.count()];
    for (class, indices) in (0..).zip(&mut by_class) {
        indices.shuffle(&mut seed.stream("hold out", class));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a count")]
        let count = ((indices.len() as f64 * fraction).round() as usize).min(indices.len().saturating_sub(usize::from(spares_last)));
        indices.iter().take(count).for_each(|index| held_out[*index] = true);
    }
    let select = |is_held_out: bool| {
        let chosen = all.indices().iter().zip(&held_out).filter(|(_, held_out)| **held_out == is_held_out).map(|(index, _)| *index);
        all.select(chosen.collect())
    };
    let (train, validation) = (select(false), select(true));
    if train.count() == 0 || validation.count() == 0 {
        let message = format!(
            "`data.validation` = {fraction} of {} samples leaves {} to train on and {} to validate on; change it, or use more samples",
            all.count(),
            train.count(),
            validation.count()
        );
        return Err(DataError::Dataset(message));
    }
    Ok((train, validation))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Images, Shape};

    #[test]
    fn the_split_is_stratified_and_every_sample_is_in_one_subset() {
        let labels: Vec<u32> = (0..100).map(|i| u32::from(i % 4 == 0)).collect();
        let images = Images::new(Shape { channels: 1, height: 1, width: 1 }, (0..100).collect(), labels);
        let subset = Subset::all(Arc::new(images));
        let (train, validation) = hold_out(&subset, 2, 0.2, Seed(1), true).unwrap();
        assert_eq!(train.class_counts(2), [60, 20]);
        assert_eq!(validation.class_counts(2), [15, 5]);
        let mut all: Vec<u32> = train.indices().iter().chain(validation.indices()).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u32>>());
        let (most, _) = hold_out(&subset, 2, 0.999, Seed(1), true).unwrap();
        assert_eq!(most.class_counts(2), [1, 1], "the last sample of a class stays");
        let (again, _) = hold_out(&subset, 2, 0.2, Seed(1), true).unwrap();
        assert_eq!(again.indices(), train.indices());
        let (other, _) = hold_out(&subset, 2, 0.2, Seed(2), true).unwrap();
        assert_ne!(other.indices(), train.indices());
    }
}
