//! The split into training and validation samples.

use rand::seq::SliceRandom;

use super::{DataError, Subset};
use crate::config::Fold;
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
    let (train, validation) = (selected(all, &held_out, false), selected(all, &held_out, true));
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

/// Holds out one of some folds, which are stratified by class: each has as many samples of a class as the others, or one more. Returns the training and the
/// validation subset, both in the order of `all`. The folds of one seed have no sample in common, and together all samples.
///
/// # Errors
///
/// When there are fewer samples than folds.
pub(super) fn fold(all: &Subset, classes: usize, fold: Fold, seed: Seed) -> Result<(Subset, Subset), DataError> {
    let (number, count) = (fold.number.get(), fold.count.get());
    if all.count() < count {
        let problem = format!(
            "there are only {} samples for {count} folds (`--folds`, or `data.validation = \"{fold}\"`); use fewer folds",
            all.count()
        );
        return Err(DataError::Dataset(problem));
    }
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, label) in all.labels().enumerate() {
        by_class[label as usize].push(index);
    }
    let mut order = Vec::with_capacity(all.count());
    for (class, indices) in (0..).zip(&mut by_class) {
        indices.shuffle(&mut seed.stream("folds", class));
        order.append(indices);
    }
    // The classes follow each other, so that the folds of small classes are different ones.
    let mut held_out = vec![false; all.count()];
    order.iter().skip(number - 1).step_by(count).for_each(|index| held_out[*index] = true);
    Ok([false, true].map(|is_held_out| selected(all, &held_out, is_held_out)).into())
}

/// The samples of `all` with this mark, in order.
fn selected(all: &Subset, held_out: &[bool], is_held_out: bool) -> Subset {
    let chosen = all.indices().iter().zip(held_out).filter(|(_, held_out)| **held_out == is_held_out).map(|(index, _)| *index);
    all.select(chosen.collect())
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

    #[test]
    fn folds_are_stratified_and_every_sample_is_held_out_once() {
        let labels: Vec<u32> = (0..103).map(|i| u32::from(i % 4 == 0)).collect();
        let images = Images::new(Shape { channels: 1, height: 1, width: 1 }, (0..103).collect(), labels);
        let subset = Subset::all(Arc::new(images));
        let of = |number, seed| fold(&subset, 2, Fold::new(number, 5).unwrap(), Seed(seed)).unwrap();
        let mut all = Vec::new();
        for number in 1..=5 {
            let (train, validation) = of(number, 1);
            assert_eq!(train.count() + validation.count(), 103);
            let counts = validation.class_counts(2);
            // 77 and 26 samples.
            assert!((15..=16).contains(&counts[0]) && (5..=6).contains(&counts[1]), "{counts:?}");
            all.extend(validation.indices().to_vec());
        }
        all.sort_unstable();
        assert_eq!(all, (0..103).collect::<Vec<u32>>());
        assert_ne!(of(1, 1).1.indices(), of(1, 2).1.indices());
        assert!(Fold::new(0, 5).is_none() && Fold::new(6, 5).is_none() && Fold::new(1, 1).is_none());
        let few = subset.select((0..4).collect());
        assert!(fold(&few, 2, Fold::new(1, 5).unwrap(), Seed(1)).is_err());
    }
}
