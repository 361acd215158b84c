//! The trials of grids and of random search.

use rand::RngExt;

use crate::config::{ConfigError, Dimension, MAX_TRAININGS, Values};
use crate::seed::Seed;

/// The settings of a trial: a value for each key.
pub type Settings = Vec<(String, toml::Value)>;

/// Every combination of the values, the last dimension fastest.
///
/// # Errors
///
/// As [`Dimension::grid`].
pub(super) fn grid(space: &[Dimension]) -> Result<Vec<Settings>, ConfigError> {
    space.iter().try_fold(vec![Vec::new()], |points, dimension| {
        let values = dimension.grid()?;
        if points.len() * values.len() > MAX_TRAININGS {
            let problem = format!("there are more than {MAX_TRAININGS} combinations; use fewer values, or `--random TRIALS`");
            return Err(ConfigError::Grid { argument: dimension.key.clone(), problem });
        }
        let with = |point: &Settings| {
            let (point, key) = (point.clone(), dimension.key.clone());
            values.clone().into_iter().map(move |value| [point.as_slice(), &[(key.clone(), value)]].concat()).collect::<Vec<_>>()
        };
        Ok(points.iter().flat_map(with).collect())
    })
}

/// `count` random combinations. The first are the same for any count.
pub(super) fn random(space: &[Dimension], count: usize, seed: Seed) -> Vec<Settings> {
    (0..count).map(|index| random_point(space, &mut seed.stream("random search", index as u64))).collect()
}

/// A random combination: of a list with equal probabilities, of a range uniformly, or log-uniformly.
pub(super) fn random_point(space: &[Dimension], rng: &mut impl RngExt) -> Settings {
    let mut value = |values: &Values| match values {
        Values::List(list) => list[rng.random_range(0..list.len())].clone(),
        range @ Values::Range { .. } => range.at(rng.random_range(0.0..=1.0)).unwrap_or_else(|| unreachable!("a range has numbers")),
    };
    space.iter().map(|dimension| (dimension.key.clone(), value(&dimension.values))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_combination_and_random_points_lie_in_the_space() {
        let space = [Dimension::parse("a=1,2").unwrap(), Dimension::parse("b=log:0.1:10:3").unwrap()];
        let points = grid(&space).unwrap();
        assert_eq!(points.len(), 6);
        assert_eq!(points[1], [("a".to_owned(), 1.into()), ("b".to_owned(), 1.0.into())]);
        let drawn = random(&space, 200, Seed(3));
        assert_eq!(random(&space, 5, Seed(3)), drawn[..5]);
        let below = drawn.iter().filter(|point| point[1].1.as_float().is_some_and(|value| value < 1.0)).count();
        assert!((70..130).contains(&below), "half of them is below the geometric mean: {below}");
        assert!(drawn.iter().all(|point| (0.0999..10.01).contains(&point[1].1.as_float().unwrap())));
    }
}
