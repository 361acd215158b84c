//! A range of λ that is found from the data.

use std::sync::Arc;

use burn::module::ParamId;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use regulus_model::graph::Parameter;

use super::zero_weights::smallest_lambda_of_zeros;
use crate::backend::numbers;
use crate::config::number::NonNegative;
use crate::config::{Dimension, Experiment, Lambda, Penalty, PenaltyKind, Schedule, Values, rounded};
use crate::data::{Batcher, Data, DataLoader};
use crate::error::Error;
use crate::launch::session_of;
use crate::network::ParamVisitor;
use crate::objective::Penalties;
use crate::schedule::RunLength;
use crate::session::Session;
use crate::train::{StepContext, Stepper};

/// The values above 0 of a grid.
const COUNT: usize = 12;
/// The largest λ divided by the smallest above 0.
const RANGE: f64 = 1e5;
/// The samples of the gradient of the data loss, or a batch.
const SAMPLES: usize = 1000;

/// λ of the first penalty: 0, and 12 values with the same ratio up to `λ_max`, five powers of ten. For L1, elastic net and group lasso on a linear network, `λ_max`
/// is the smallest λ with which all weights are 0, from all samples. Otherwise it is the λ at which, with the initial weights, the gradient of the penalty is as large as
/// that of the data loss over the penalized parameters, computed for up to 1,000 samples.
///
/// # Errors
///
/// When the session can't be made, or there is no such λ.
pub fn lambda_grid(experiment: &Experiment, data: &Data) -> Result<Dimension, Error> {
    let key = "penalty.0.lambda".to_owned();
    let largest = largest_lambda(experiment, data)?;
    if !largest.is_finite() || largest <= 0.0 {
        return Err(Error::Usage(format!(
            "no range of λ can be found from the data; name values, such as `--grid {key}=0,log:0.01:100:9`"
        )));
    }
    let ratio = RANGE.powf(-1.0 / (COUNT - 1) as f64);
    let above = (0..COUNT).rev().map(|index| largest * ratio.powi(i32::try_from(index).unwrap_or(0)));
    let values = std::iter::once(0.0).chain(above.map(rounded)).map(toml::Value::Float).collect();
    Ok(Dimension { key, values: Values::List(values) })
}

fn largest_lambda(experiment: &Experiment, data: &Data) -> Result<f64, Error> {
    let mut experiment = experiment.clone();
    let mut penalty = experiment.penalty.first().cloned().ok_or_else(|| {
        Error::Usage("the config has no penalty whose λ could be searched; add one, or name other keys with `--grid`".to_owned())
    })?;
    if !matches!(penalty.schedule, Lambda::Scheduled(_)) {
        let problem = "the schedule of the first penalty finds λ itself; name other keys with `--grid`, or remove `penalty.0.schedule`";
        return Err(Error::Usage(problem.to_owned()));
    }
    penalty.schedule = Lambda::Scheduled(Schedule::default());
    penalty.proximal = false;
    penalty.lambda = NonNegative::try_from(1.0).map_err(Error::Usage)?;
    if penalty.kind == PenaltyKind::Decoupled {
        let problem = "the range of λ can't be found for `decoupled`, which adds nothing to the gradient; name values, such as `--grid penalty.0.lambda=0,log:1:10000:9`";
        return Err(Error::Usage(problem.to_owned()));
    }
    experiment.penalty = Vec::new();
    experiment.optimizer.sam_rho = None;
    experiment.optimizer.clip_norm = None;
    let data = data.for_any_experiment(&experiment)?;
    let session = session_of(experiment, data)?;
    if let Some(found) = smallest_lambda_of_zeros(&session, &penalty) {
        return Ok(found);
    }
    session.opened().device.threads.clone().run(|| ratio_of_gradients(&session, &penalty))
}

/// The ratio of the norms of the gradients of data loss and penalty. That of the data loss is the mean over batches of evenly spaced samples.
fn ratio_of_gradients(session: &Session, penalty: &Penalty) -> Result<f64, Error> {
    let (network, data, experiment) = (session.network(), session.data(), session.experiment());
    let device = session.opened().device.clone().autodiff().device;
    let (all, batch) = (data.train.count(), experiment.train.batch(data.train.count()));
    let count = all.min(SAMPLES.max(batch));
    let order: Vec<u32> = (0..count).map(|index| u32::try_from(index * all / count).unwrap_or(u32::MAX)).collect();
    let task = session.task();
    let assemble = task.assembler(&data.train, &Batcher::new(&data.normalizer, &device), 0);
    let mut loader = DataLoader::in_order(experiment, assemble, &order, batch);
    let length = RunLength::new(&experiment.train, all);
    let mut none = Penalties::new(&[], session.graph(), length)?;
    let stepper = Stepper::new(experiment, Arc::clone(task), &device);
    let mut accumulator = GradientsAccumulator::new();
    let batches = count.div_ceil(batch);
    for index in 0..batches {
        let mut batch = loader.batch(index);
        let context = StepContext { samples: batch.samples(), rate: 0.0, step: 0 };
        accumulator.accumulate(network, stepper.gradients(network, &mut none, &mut batch, context).gradients);
    }
    data.train.check_decoded()?;
    let of_data = accumulator.grads();
    let penalties = Penalties::new(std::slice::from_ref(penalty), session.graph(), length)?;
    let Some(value) = penalties.on(network, batch) else { return Ok(f64::NAN) };
    let of_penalty = GradientsParams::from_grads(value.backward(), network);
    let mut norms = Norms { of_data: &of_data, of_penalty: &of_penalty, squares: [0.0; 2] };
    network.visit_parameters(&mut norms);
    Ok((norms.squares[0] / norms.squares[1]).sqrt() / batches as f64)
}

/// The sums of squares of both gradients over the penalized parameters.
struct Norms<'a> {
    of_data: &'a GradientsParams,
    of_penalty: &'a GradientsParams,
    squares: [f64; 2],
}

impl ParamVisitor for Norms<'_> {
    fn visit<const D: usize>(&mut self, _parameter: &Parameter, id: ParamId, _tensor: Tensor<D>) {
        let (Some(data), Some(penalty)) = (self.of_data.get::<D>(id), self.of_penalty.get::<D>(id)) else { return };
        let square = |gradient: Tensor<D>| numbers(gradient).iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        self.squares[0] += square(data);
        self.squares[1] += square(penalty);
    }
}
