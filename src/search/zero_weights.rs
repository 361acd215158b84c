//! The smallest λ with which all penalized weights are 0.

use regulus_model::graph::{Op, Role};

use crate::config::number::Samples;
use crate::config::{Penalty, PenaltyKind};
use crate::session::Session;

/// The smallest λ with which the minimum of the objective of a linear network has only weights of 0, for a penalty whose derivative jumps there. Returns `None`
/// for other networks and penalties.
///
/// With weights of 0 the biases give every image the frequencies f of the classes. The gradient of the mean cross-entropy is then
/// `G[c, j] = 1/m·Σ (f[c] − y[i, c])·x[i, j]`, and 0 is the minimum as long as no weight or group gains by leaving it: |G| ≤ λ/m for L1, |G| ≤ ρ·λ/m for the elastic
/// net, ‖G(g)‖ ≤ √|g|·λ/m for the group lasso (Friedman, Hastie and Tibshirani 2010, *Regularization Paths for Generalized Linear Models via Coordinate
/// Descent*, section 2.5).
pub(super) fn smallest_lambda_of_zeros(session: &Session, penalty: &Penalty) -> Option<f64> {
    let graph = session.graph();
    let is_linear = graph.nodes().iter().filter(|node| !matches!(node.op, Op::Flatten(_))).count() == 1
        && graph.nodes().iter().any(|node| matches!(node.op, Op::Dense(_)));
    let in_scope = |role: Role| graph.parameters().filter(|parameter| parameter.role == role).any(|parameter| penalty.scope.has(parameter));
    if !is_linear || !in_scope(Role::Kernel) || in_scope(Role::Bias) {
        return None;
    }
    let gradient = gradient_at_zero(session, graph.parameters().any(|parameter| parameter.role == Role::Bias));
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let absolutes = || largest(&mut gradient.iter().flatten().map(|value| value.abs()));
    let norm = |row: &Vec<f64>| row.iter().map(|value| value * value).sum::<f64>().sqrt() / (row.len() as f64).sqrt();
    let per_sample = match penalty.kind {
        PenaltyKind::L1 => absolutes(),
        PenaltyKind::ElasticNet { l1_ratio } if l1_ratio.get() > 0.0 => absolutes() / l1_ratio.get(),
        PenaltyKind::GroupLasso => largest(&mut gradient.iter().map(norm)),
        _ => return None,
    };
    let m = match penalty.samples {
        Samples::Train => session.data().train.count(),
        Samples::Batch => session.experiment().train.batch(session.data().train.count()),
        Samples::Number(count) => count.get(),
    };
    Some(m as f64 * per_sample)
}

/// G, `[class][pixel]`, over all training images.
fn gradient_at_zero(session: &Session, has_bias: bool) -> Vec<Vec<f64>> {
    let data = session.data();
    let (train, tables) = (&data.train, data.normalizer.table());
    let area = train.shape().height * train.shape().width;
    let classes = data.classes.len();
    let (mut sums, mut counts) = (vec![vec![0.0; train.shape().size()]; classes], vec![0.0; classes]);
    let indices: Vec<usize> = (0..train.count()).collect();
    for chunk in indices.chunks(64) {
        for (index, pixels) in chunk.iter().zip(train.pixels_of_all(chunk)) {
            let class = train.label(*index) as usize;
            counts[class] += 1.0;
            let values =
                pixels.chunks_exact(area).zip(&tables).flat_map(|(plane, table)| plane.iter().map(|pixel| table[usize::from(*pixel)]));
            sums[class].iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(value));
        }
    }
    let m = train.count() as f64;
    let all: Vec<f64> = (0..train.shape().size()).map(|pixel| sums.iter().map(|sum| sum[pixel]).sum()).collect();
    let of_class = |(sum, count): (Vec<f64>, f64)| {
        let share = if has_bias { count / m } else { 1.0 / classes as f64 };
        sum.iter().zip(&all).map(|(own, all)| (share * all - own) / m).collect()
    };
    sums.into_iter().zip(counts).map(of_class).collect()
}

#[cfg(test)]
mod tests {
    use regulus_model::Weights;

    use super::super::lambda_grid;
    use crate::config::{Experiment, Values};
    use crate::data;
    use crate::session::Session;
    use crate::train::Silent;

    /// The share of weights that are 0 after training with a part of `λ_max`.
    fn zeros(kind: &str, part: f64) -> f64 {
        let text = |lambda: f64| {
            format!(
                "name = \"a\"\n[data]\nsource = \"mnist_mini\"\ntrain_limit = 200\nvalidation = 0\n[model]\nkind = \"linear\"\n\
                 [[penalty]]\n{kind}\nlambda = {lambda}\nproximal = true\n[optimizer]\nkind = \"sgd\"\nlearning_rate = 0.05\n\
                 [train]\nepochs = 400\nbatch_size = \"full\"\n"
            )
        };
        let experiment = Experiment::from_toml(&text(1.0)).unwrap();
        let data = data::load(&experiment).unwrap();
        let Values::List(values) = lambda_grid(&experiment, &data).unwrap().values else { unreachable!("a list") };
        let largest = values.last().unwrap().as_float().unwrap();
        let mut session = Session::new(Experiment::from_toml(&text(part * largest)).unwrap(), data).unwrap();
        session.train(&mut Silent).unwrap();
        let weights: Weights = session.network().weights();
        let kernel = &weights.get("dense1.weight").unwrap().numbers;
        kernel.iter().filter(|weight| **weight == 0.0).count() as f64 / kernel.len() as f64
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "all weights are exactly 0")]
    fn all_weights_are_zero_from_the_largest_lambda_on_and_not_below() {
        for kind in ["kind = \"l1\"", "kind = \"elastic_net\"\nl1_ratio = 0.5", "kind = \"group_lasso\""] {
            assert_eq!(zeros(kind, 1.05), 1.0, "{kind}");
            assert!(zeros(kind, 0.8) < 1.0, "{kind}");
        }
    }
}
