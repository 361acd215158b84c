//! Class-balanced sampling.

use std::collections::HashMap;

use rand::seq::SliceRandom;

use super::Subset;
use crate::seed::Seed;

/// A drawn sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The index of the sample.
    pub index: u32,
    /// How many times all samples of its class were drawn before. A sample is drawn once in each pass through its class.
    pub pass: u64,
}

/// The draws of `epoch` (from 0), as many as there are samples.
///
/// Draws of all epochs are numbered t = 0, 1, 2, …; epoch e has those from e·m to (e + 1)·m − 1. K draws one after another are a round: round r has every class once, in
/// the order of the stream "balanced classes" at r. So no two classes differ by more than one draw at any time. Draw r of a class is the sample at place r mod n of
/// its pass ⌊r/n⌋, n being the number of its samples: each pass goes through all of them, in the order of the stream "balanced class k" at the number of the pass. The
/// draws depend on seed and epoch alone, so that a resumed run has the same.
#[must_use]
pub fn balanced_draws(subset: &Subset, classes: usize, seed: Seed, epoch: u64) -> Vec<Draw> {
    let mut by_class: Vec<Vec<u32>> = vec![Vec::new(); classes];
    for (index, label) in (0..).zip(subset.labels()) {
        by_class[label as usize].push(index);
    }
    by_class.retain(|samples| !samples.is_empty());
    let (count, classes) = (subset.count() as u64, by_class.len() as u64);
    let mut orders: HashMap<usize, (u64, Vec<u32>)> = HashMap::new();
    let (mut round, mut in_round) = (u64::MAX, Vec::new());
    let draw = |number: u64| {
        if number / classes != round {
            round = number / classes;
            in_round = (0..by_class.len()).collect();
            in_round.shuffle(&mut seed.stream("balanced classes", round));
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than the number of classes or samples")]
        let at = |place: u64| place as usize;
        let class = in_round[at(number % classes)];
        let samples = &by_class[class];
        let (pass, place) = (round / samples.len() as u64, at(round % samples.len() as u64));
        let order = orders.entry(class).or_insert((u64::MAX, Vec::new()));
        if order.0 != pass {
            *order = (pass, samples.clone());
            order.1.shuffle(&mut seed.stream(&format!("balanced class {class}"), pass));
        }
        Draw { index: order.1[place], pass }
    };
    (epoch * count..(epoch + 1) * count).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Images, Shape};

    /// 20 samples: 13 of class 0, 5 of class 1, none of class 2, 2 of class 3.
    fn subset() -> Subset {
        let labels: Vec<u32> = (0..20).map(|index| if index < 13 { 0 } else { [1, 3][usize::from(index >= 18)] }).collect();
        Subset::all(Arc::new(Images::new(Shape { channels: 1, height: 1, width: 1 }, vec![0; 20], labels)))
    }

    #[test]
    fn classes_are_drawn_equally_often_and_samples_of_a_class_too() {
        let subset = subset();
        let draws: Vec<Draw> = (0..39).flat_map(|epoch| balanced_draws(&subset, 4, Seed(3), epoch)).collect();
        assert_eq!(draws.len(), 39 * 20);
        let mut counts = [0_u32; 20];
        for (number, draw) in (1..).zip(&draws) {
            counts[draw.index as usize] += 1;
            let of_class = [&counts[..13], &counts[13..18], &counts[18..]];
            let totals = of_class.map(|counts| counts.iter().sum::<u32>());
            assert!(totals.iter().max().unwrap() - totals.iter().min().unwrap() <= 1, "{totals:?} after {number} draws");
            // Without replacement until a class is used up.
            assert!(of_class.iter().all(|counts| counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1), "{counts:?}");
        }
        // 39·20 draws are 260 of each of the 3 classes: 20, 52 and 130 of each of their samples.
        assert_eq!(counts, [vec![20; 13], vec![52; 5], vec![130; 2]].concat()[..]);
        let mut all: Vec<(u32, u64)> = draws.iter().map(|draw| (draw.index, draw.pass)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), draws.len(), "a sample is drawn once in each pass");
    }

    #[test]
    fn draws_depend_on_seed_and_epoch_alone() {
        let (subset, of) = (subset(), |seed, epoch| balanced_draws(&subset(), 4, Seed(seed), epoch));
        assert_eq!(balanced_draws(&subset, 4, Seed(1), 7), of(1, 7));
        assert_ne!(of(1, 7), of(2, 7));
        assert_ne!(of(1, 7), of(1, 8));
    }
}
