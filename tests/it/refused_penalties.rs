//! Penalties that are not built in and can't be used.

use burn::prelude::*;
use regulus::config::number::{Count, Fraction};
use regulus::config::{Decay, Method, Schedule};
use regulus::objective::{OwnPenalty, Regularizer};

use crate::objective_fixture::Setting;
use crate::own_penalties::{Absolutes, MaxNorm, Squares, strings};
use crate::support::cpu_backends;

/// A regularizer whose value is not one number.
#[derive(Debug)]
struct Unsummed;

impl Regularizer for Unsummed {
    fn name(&self) -> &'static str {
        "unsummed"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.square().sum_dim(1).squeeze_dim(1)
    }
}

/// A regularizer with a gradient and steps of the wrong shape.
#[derive(Debug)]
struct Transposed;

impl Regularizer for Transposed {
    fn name(&self) -> &'static str {
        "transposed"
    }

    fn value(&self, weights: Tensor<2>) -> Tensor<1> {
        weights.sum()
    }

    fn proximal_step(&self, weights: Tensor<2>, _step: f64) -> Option<Tensor<2>> {
        Some(weights.transpose())
    }
}

#[test]
fn a_penalty_that_cannot_be_used_is_refused_with_a_message() {
    let proximal_l1 = ["penalty.0.kind=l1", "penalty.0.lambda=1", "penalty.0.proximal=true", "optimizer.kind=sgd"];
    let plateau = Decay::Plateau {
        patience: Count::try_from(1).unwrap(),
        factor: Fraction::try_from(0.5).unwrap(),
        min_delta: 0.0.try_into().unwrap(),
    };
    let cases: [(&[&str], OwnPenalty, &str); 11] = [
        (
            &[],
            OwnPenalty::new(Squares, 1.0).scope("dense9.*"),
            "`squares.scope` is \"dense9.*\", which matches no parameter; expected `kernels`, `biases`, `all`, or one of `conv1.weight`, \
             `conv1.bias`, `conv2.weight`, `conv2.bias`, `dense1.weight`, `dense1.bias`, `dense2.weight`, `dense2.bias`, with `*` for any characters",
        ),
        (&[], OwnPenalty::new(Squares, -1.0), "`squares.lambda` is -1; expected a finite number >= 0"),
        (&[], OwnPenalty::new(Squares, f64::NAN), "`squares.lambda` is NaN; expected a finite number >= 0"),
        (
            &[],
            OwnPenalty::new(Squares, 1.0).schedule(Schedule { warmup_steps: 0, decay: plateau }),
            "`squares.schedule` is \"plateau\", which is for the learning rate; expected constant, step, cosine or linear",
        ),
        (
            &proximal_l1,
            OwnPenalty::new(Absolutes, 1.0).scope("dense1.weight").proximal(),
            "`absolutes.proximal` is true, but `dense1.weight` has a penalty with `proximal` already; give them different scopes",
        ),
        (
            &["optimizer.kind=rmsprop"],
            OwnPenalty::new(Absolutes, 1.0).proximal(),
            "`absolutes.proximal` is true, but there is no proximal step for `optimizer.kind` = \"rmsprop\"; use sgd with or without momentum, adam \
             or adamw",
        ),
        (
            &["optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"],
            OwnPenalty::new(Absolutes, 1.0).proximal(),
            "`absolutes.proximal` is true, but there is no proximal step for `optimizer.nesterov` = true; use sgd with or without momentum, adam or \
             adamw",
        ),
        (
            &["optimizer.kind=sgd"],
            OwnPenalty::new(Squares, 1.0).proximal(),
            "`squares.proximal` is true, but there is no `proximal_step`, which this optimizer needs; implement it, or use the gradient, without \
             `proximal`",
        ),
        (
            &["optimizer.kind=adam"],
            OwnPenalty::new(MaxNorm, 1.0).proximal(),
            "`max_norm.proximal` is true, but there is no `scaled_proximal_step`, which this optimizer needs; implement it, or use `optimizer.kind` = \
             \"sgd\"",
        ),
        (&[], OwnPenalty::new(Unsummed, 1.0).scope("conv1.*"), "`unsummed.value` is of shape [3] for `conv1.weight`; expected [1]"),
        (
            &["optimizer.kind=sgd"],
            OwnPenalty::new(Transposed, 1.0).proximal().scope("conv2.weight"),
            "`transposed.proximal_step` is of shape [27, 4] for `conv2.weight`; expected [4, 27]",
        ),
    ];
    for (sets, penalty, expected) in cases {
        let Setting { experiment, network, mut penalties, .. } = Setting::new(cpu_backends()[0], &strings(sets));
        let (before, method): (_, Method) = (penalties.clone(), experiment.optimizer.method);
        assert_eq!(penalties.add(penalty, network.graph(), &method).unwrap_err().to_string(), expected);
        assert!(penalties == before, "nothing is added");
    }
}
