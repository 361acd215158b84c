//! Dividing the training samples.

use rand::seq::SliceRandom;

use super::{DataError, Subset};
use crate::seed::Seed;

/// Takes `fraction` of every class off `part`, by chance: the part to train on, and the part held out. Both keep the order of `part`. With
/// `spares_last` the last sample of a class is never taken; version 0.1.0 took it.
///
/// # Errors
///
/// When a part would be left without a sample.
pub(super) fn hold_out(part: &Subset, classes: usize, fraction: f64, seed: Seed, spares_last: bool) -> Result<(Subset, Subset), DataError> {
    let mut by_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (place, label) in part.labels().enumerate() {
        by_class[label as usize].push(place);
    }
    let mut held = vec![false; part.count()];
    for (class, places) in (0..).zip(&mut by_class) {
        places.shuffle(&mut seed.stream("hold out", class));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a count")]
        let count = ((places.len() as f64 * fraction).round() as usize).min(places.len().saturating_sub(usize::from(spares_last)));
        places.iter().take(count).for_each(|place| held[*place] = true);
    }
    let select = |wanted: bool| {
        let chosen = part.indices().iter().zip(&held).filter(|(_, held)| **held == wanted).map(|(index, _)| *index);
        part.select(chosen.collect())
    };
    let (train, validation) = (select(false), select(true));
    if train.count() == 0 || validation.count() == 0 {
        let message = format!(
            "`data.validation` = {fraction} of {} samples leaves {} to train on and {} to validate on; change it, or use more samples",
            part.count(),
            train.count(),
            validation.count()
        );
        return Err(DataError::Set(message));
    }
    Ok((train, validation))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Images, Shape};

    #[test]
    fn every_class_gives_its_share_and_every_sample_is_in_one_part() {
        let labels: Vec<u32> = (0..100).map(|i| u32::from(i % 4 == 0)).collect();
        let images = Images { shape: Shape { channels: 1, height: 1, width: 1 }, pixels: (0..100).collect(), labels, files: Vec::new() };
        let part = Subset::all(Arc::new(images));
        let (train, validation) = hold_out(&part, 2, 0.2, Seed(1), true).unwrap();
        assert_eq!(train.class_counts(2), [60, 20]);
        assert_eq!(validation.class_counts(2), [15, 5]);
        let mut all: Vec<u32> = train.indices().iter().chain(validation.indices()).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u32>>());
        let (most, _) = hold_out(&part, 2, 0.999, Seed(1), true).unwrap();
        assert_eq!(most.class_counts(2), [1, 1], "the last sample of a class stays");
        let (again, _) = hold_out(&part, 2, 0.2, Seed(1), true).unwrap();
        assert_eq!(again.indices(), train.indices());
        let (other, _) = hold_out(&part, 2, 0.2, Seed(2), true).unwrap();
        assert_ne!(other.indices(), train.indices());
    }
}
